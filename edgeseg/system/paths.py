"""Paths: the folders that edgeseg may write to by default."""

from __future__ import annotations

import os
from pathlib import Path

from edgeseg.errors import EdgesegError


def cache_dir() -> Path:
    """For what can be fetched again: EDGESEG_CACHE, else systemd's StateDirectory, else XDG's cache folder.

    It may not exist yet. Raises EdgesegError where there is no home folder to put it in.
    """
    if chosen := os.environ.get("EDGESEG_CACHE"):
        return Path(chosen)
    # A service has no home of its own to keep a cache in.
    return _of_systemd() or _of_xdg("XDG_CACHE_HOME", ".cache", "EDGESEG_CACHE")


def state_dir() -> Path:
    """For what must survive a restart: systemd's StateDirectory, or XDG's state folder.

    It may not exist yet. Raises EdgesegError where there is no home folder to put it in.
    """
    return _of_systemd() or _of_xdg("XDG_STATE_HOME", ".local/state", "STATE_DIRECTORY")


def _of_systemd() -> Path | None:
    # Several folders are separated by colons (systemd.exec); ours is the first.
    first = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    return Path(first) if first else None


def _of_xdg(variable: str, in_home: str, instead: str) -> Path:
    base = Path(os.environ.get(variable, ""))
    if not base.is_absolute():
        # XDG's specification has relative ones ignored.
        try:
            base = Path.home() / in_home
        except RuntimeError:
            raise EdgesegError(
                f"this user has no home folder; name a folder to write to in {instead}"
            ) from None
    return base / "edgeseg"


_PACKAGE = Path(__file__).resolve().parent.parent


def folder(name: str) -> Path:
    """``models``, ``pipelines`` or ``systemd``: inside the installed wheel, or of the source checkout."""
    inside = _PACKAGE / "share" / name
    return inside if inside.is_dir() else _PACKAGE.parent / name
