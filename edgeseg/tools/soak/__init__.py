"""``edgeseg soak``: the daemon for as long as one likes, amid faults, watched from outside.

Its cameras and its broker are the soak's own, each behind a relay that can cut the line. Nothing here reaches
into the daemon: what it holds is read from /proc, what it says is heard at the broker.
"""
