"""``edgeseg demo``: the main job on a real clip with a real network, in front of your eyes."""

from edgeseg.commands.demo.command import add_parser

__all__ = ["add_parser"]
