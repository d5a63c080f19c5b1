"""Finds what travels with edgeseg beside its code: model folders, pipeline files, units."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """``models``, ``pipelines`` or ``systemd``: inside the installed wheel, or of the source checkout."""
    inside = _PACKAGE / "share" / name
    return inside if inside.is_dir() else _PACKAGE.parent / name
