"""Many nodes at once: what they tell of themselves, new files stage by stage, and what they add up to.

``view`` gathers the retained topics of all nodes; ``devices`` reaches a device by ssh or as a folder;
``rollout`` brings a file to devices and back; ``costs`` counts what one camera says; ``capacity`` adds that
up for many.
"""
