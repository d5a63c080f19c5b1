"""``edgeseg install-service``: installs a pipeline file as a systemd service."""

from edgeseg.commands.install_service.command import add_parser

__all__ = ["add_parser"]
