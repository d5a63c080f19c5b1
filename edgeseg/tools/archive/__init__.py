"""Archive: turns days of recordings into tables of occupancy and alerts, on many cores and machines.

    find -> plan -> measure -> conclude -> tables

``plan`` reads the packets of each clip: which pictures are due, and at which keyframes it can be cut.
``measure`` segments one cut and counts its zones. It does not depend on other cuts, so the result is the same
on every machine and at every try. ``conclude`` takes a camera's cuts in order and runs the rules once. A
measurement is reused while the digest of everything that decides it stays the same.
"""
