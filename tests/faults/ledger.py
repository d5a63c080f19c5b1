"""What each fault cost, as a table and as JSON."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

COLUMNS = ("fault", "noticed", "recovered", "lost", "unmarked", "leaks", "what happened")


@dataclass(frozen=True)
class Row:
    """One fault.

    noticed_s: from the fault until a subscriber or the log was told; None where nothing is to be noticed.
    recovered_s: from the end of the fault until the first result; None where nothing had stopped.
    lost, unmarked: alert messages that never came, and that came twice without ``replayed``.
    leaks: descriptors, threads, processes and shared memory that stayed behind.
    """

    area: str
    fault: str
    noticed_s: float | None
    recovered_s: float | None
    lost: int
    unmarked: int
    leaks: int
    note: str
    passed: bool = True


def table(rows: list[Row]) -> str:
    """Markdown, as docs/faults.md has it."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in rows:
        what = row.note if row.passed else f"**failed** {row.note}"
        numbers = [_seconds(row.noticed_s), _seconds(row.recovered_s), row.lost, row.unmarked, row.leaks]
        lines.append("| " + " | ".join(map(str, (f"{row.area}: {row.fault}", *numbers, what))) + " |")
    return "\n".join(lines)


def save(rows: list[Row], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine(), "faults": [asdict(row) for row in rows]}
    path.write_text(json.dumps(document, indent=1) + "\n")


def machine() -> dict[str, object]:
    return {
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"
