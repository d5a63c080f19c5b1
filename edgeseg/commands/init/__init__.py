"""``edgeseg init``: from a camera's address to a pipeline file that runs."""

from edgeseg.commands.init.command import add_parser

__all__ = ["add_parser"]
