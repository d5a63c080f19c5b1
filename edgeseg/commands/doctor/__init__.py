"""``edgeseg doctor``: is this machine fit for its task, and what would mend what is wrong?"""

from edgeseg.commands.doctor.command import JSON_SCHEMA, add_parser

__all__ = ["JSON_SCHEMA", "add_parser"]
