"""Soak: runs the daemon for minutes or days amid faults, and observes it from outside.

Its cameras and its broker are the soak's own, each behind a relay that can cut the line. Nothing here reaches
into the daemon: its resources are read from /proc, its messages are received at the broker.
"""
