"""Plotting: makes and saves matplotlib figures. matplotlib is imported when the first figure is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeseg.errors import EdgesegError

_DPI = 110


def figure(width_inches: float, height_inches: float, extra: str = "bench") -> Any:
    """Return an empty figure.

    extra: of edgeseg, which installs matplotlib. Raises EdgesegError where matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise EdgesegError(
            f"matplotlib is not installed; install it with pip install 'edgeseg[{extra}]'"
        ) from None
    return Figure(figsize=(width_inches, height_inches), layout="constrained")


def save(drawn: Any, path: Path, dpi: int = _DPI) -> None:
    """Write a figure, as PNG, SVG or PDF by the ending of ``path``."""
    drawn.savefig(path, dpi=dpi)
