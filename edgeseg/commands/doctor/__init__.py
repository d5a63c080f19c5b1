"""``edgeseg doctor``: checks this machine, its cameras and its broker, and measures its engines."""

from edgeseg.commands.doctor.command import JSON_SCHEMA, add_parser

__all__ = ["JSON_SCHEMA", "add_parser"]
