"""``edgeseg fleet``: many nodes at once."""

from edgeseg.commands.fleet.command import add_parser

__all__ = ["add_parser"]
