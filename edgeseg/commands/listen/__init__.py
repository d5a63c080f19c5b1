"""``edgeseg listen``: shows what nodes publish, as a live table, as lines, or as JSON lines."""

from edgeseg.commands.listen.command import add_parser

__all__ = ["add_parser"]
