"""``edgeseg models``: lists, describes, downloads and verifies networks."""

from edgeseg.commands.models.command import JSON_SCHEMA, add_parser

__all__ = ["JSON_SCHEMA", "add_parser"]
