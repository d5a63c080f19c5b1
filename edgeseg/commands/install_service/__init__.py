"""``edgeseg install-service``: a pipeline file becomes a systemd service."""

from edgeseg.commands.install_service.command import add_parser

__all__ = ["add_parser"]
