"""Recording: the occupancies of a camera in a file, without pictures, for replays.

A recording is a text file of JSON lines. The first one is the ``Header``: the camera, and what has to be
the same for a replay. Then one line for each observation:

    {"t", "utc", "seq", "zones": {zone: [coverage, uncertain, dominant, confidence]}}    a picture's
    {"t", "utc", "still": true}                nothing has moved since the last picture
    {"t", "utc", "seq", "unknown": "stale"}    every zone is unknown, and why

A zone that alone is unknown, because the network is not confident, has its reason in place of the list.
A zone whose ground is known has one more: {class or group: [square metres, nearest, farthest metre]}.
``t`` is camera time, ``utc`` seconds since the Unix epoch; ``seq`` stands where the moment was published.
Coverage leaves out what is 0, but for the first time that it is named. A day of one zone at 5 frames a
second is about 50 MB where everything moves, and 16 MB where nothing does.
"""
