"""``edgeseg init``: writes a pipeline file from a camera's address."""

from edgeseg.commands.init.command import add_parser

__all__ = ["add_parser"]
