"""Fleet: many nodes at once.

``collect`` and ``node_status`` gather the retained topics of all nodes. ``devices`` reaches a device by ssh,
or as a folder. ``rollout`` brings a file to devices and back. ``message_cost`` counts one camera's messages,
and ``capacity`` adds them up for many.
"""
