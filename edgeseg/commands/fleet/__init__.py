"""``edgeseg fleet``: shows, updates and plans many nodes at once."""

from edgeseg.commands.fleet.command import add_parser

__all__ = ["add_parser"]
