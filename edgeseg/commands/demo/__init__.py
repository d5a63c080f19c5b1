"""``edgeseg demo``: shows segmentation, zones and alerts on a real clip with a real network."""

from edgeseg.commands.demo.command import add_parser

__all__ = ["add_parser"]
