"""``edgeseg models``: which networks there are, what they are, their weights fetched and verified."""

from edgeseg.commands.models.command import JSON_SCHEMA, add_parser

__all__ = ["JSON_SCHEMA", "add_parser"]
