"""Bench report: a table for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeseg.system.atomic_files import atomic_write
from edgeseg.tools.bench import workload
from edgeseg.tools.bench.statistics import Figure

HEADER = ("what", "median", "quartiles", "unit", "bar", "")


def rows(figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    """The table, section by section."""
    found: list[tuple[str, ...]] = []
    for section in dict.fromkeys(figure.section for figure in figures):
        found.append((section.upper(), "", "", "", "", ""))
        found += [_row(figure) for figure in figures if figure.section == section]
    return found


def _row(figure: Figure) -> tuple[str, ...]:
    spread, bar = figure.spread, figure.bar
    quartiles = "" if spread.count == 1 else f"{_text(spread.low)} - {_text(spread.high)}"
    wanted = "" if bar is None else f"{bar.kind} {bar.limit:g}"
    return (f"  {figure.what}", _text(spread.median), quartiles, figure.unit, wanted, figure.verdict or "")


def write(
    path: Path, figures: Sequence[Figure], notes: Sequence[str], described: dict[str, Any],
    options: dict[str, Any], **more: Any,
) -> None:  # fmt: skip
    """described: of ``machine.describe`` before the run. more: curves, points. Raises EdgesegError."""
    content = {
        "v": 1,
        "machine": described,
        "workload": {
            "seed": workload.SEED,
            "zones": workload.ZONES,
            "rate_fps": workload.RATE_FPS,
            "options": options,
        },
        "figures": [figure.as_json() for figure in figures],
        "notes": list(notes),
        **more,
    }
    with atomic_write(path, "name another folder with --out") as partial:
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def title(described: dict[str, Any]) -> str:
    """One line on the machine."""
    return (
        f"{described['cpu']}, {described['cores']} cores, {described['memory_gb']:g} GB; "
        f"{described['system']}, Python {described['python']}; load before: {described['load_before'][0]:g}"
    )


def _text(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"
