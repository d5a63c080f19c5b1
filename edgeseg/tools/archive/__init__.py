"""Days of recordings -> occupancy and alerts as tables, on as many cores and machines as there are.

    find -> plan -> measure -> conclude -> tables

``plan`` reads the packets of each clip: which pictures are due, and at which keyframes it can be cut.
``measure`` segments one cut and counts its zones; it knows nothing of the cuts beside it, so that whoever
does it, wherever and however often, gets the same. ``conclude`` takes a camera's cuts in their order and asks
the rules, once and in one place. What was measured is kept, by a digest of everything that decides it.
"""
