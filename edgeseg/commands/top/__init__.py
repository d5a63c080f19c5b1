"""``edgeseg top``: nodes live in the terminal, as their broker tells."""

from edgeseg.commands.top.command import add_parser

__all__ = ["add_parser"]
