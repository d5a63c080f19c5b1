"""``edgeseg listen``: what nodes publish, as a live table, as lines, or as JSON lines."""

from edgeseg.commands.listen.command import PASSWORD_VARIABLE, USER_VARIABLE, add_parser

__all__ = ["PASSWORD_VARIABLE", "USER_VARIABLE", "add_parser"]
