"""``edgeseg top``: shows running nodes live in the terminal."""

from edgeseg.commands.top.command import add_parser

__all__ = ["add_parser"]
