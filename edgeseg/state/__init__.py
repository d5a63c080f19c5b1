"""What must survive a restart, SIGKILL and a power cut: one database for each node.

``database`` stores, ``books`` knows what: what rules remember, what commands wished, and how earlier lives
of the process ended. The outbox of ``publish`` keeps its alerts in the same file, so that what a rule
knows and what it has said are stored together or not at all.
"""
