"""What the rules of a camera were shown, kept without a picture, and shown to them again.

A recording is a text file of JSON lines. The first one is the ``Header``: whose it is, and what has to be
the same for it to be of use. Then one line for each moment at which the rules were asked:

    {"t", "utc", "seq", "zones": {zone: [coverage, uncertain, dominant, confidence]}}    a picture's
    {"t", "utc", "still": true}                nothing had moved since: what that one showed holds
    {"t", "utc", "seq", "unknown": "stale"}    every zone is unknown, and why

A zone that is unknown by itself, for the network is not sure of it, has its reason in place of the list.
A zone whose ground is known has one more: {class or group: [square metres, nearest, farthest metre]}.
``t`` is camera time, ``utc`` seconds since the Unix epoch; ``seq`` stands where the moment was published.
Coverage leaves out what is 0, but for the first time that it is named. A day of one zone at 5 frames a
second is about 50 MB where everything moves, and 16 MB where nothing does.
"""
