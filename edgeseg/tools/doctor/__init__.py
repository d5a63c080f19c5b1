"""Doctor: checks whether this machine is fit for its task.

Each file checks one subject and returns findings: a plain sentence each, and for a problem the command that
mends it. Nothing here prints.
"""
