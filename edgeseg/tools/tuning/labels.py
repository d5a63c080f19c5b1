"""Event labels: when a rule should raise an alert, as a person noted it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edgeseg.clock import parse_utc
from edgeseg.errors import EdgesegError
from edgeseg.tools.tuning.scoring import Occasion

_COLUMNS = ("begin", "end")
_EXPECTED = "expected a header line with begin and end, and with clip, zone and rule where there are several"


@dataclass(frozen=True, slots=True)
class Label:
    """One line. clip, zone, rule: None where the file has no such column, for all of them."""

    clip: str | None
    zone: str | None
    rule: str | None
    begin: float | datetime
    end: float | datetime

    def is_for(self, clip: Path, zone: str, rule: str) -> bool:
        pairs = ((self.clip, clip.name), (self.zone, zone), (self.rule, rule))
        return all(value is None or value == name for value, name in pairs)

    def occasion(self, began_at_s: float) -> Occasion:
        """began_at_s: UTC of the clip's beginning, from which plain numbers count."""
        return Occasion(_utc_s(self.begin, began_at_s), _utc_s(self.end, began_at_s))


def read_labels(path: Path) -> list[Label]:
    """Read a CSV file with a header. begin and end: seconds of the clip (12.5 or 1:02.5), or ISO 8601.

    Raises EdgesegError with the number of the first line that is wrong.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            if not set(_COLUMNS) <= set(rows.fieldnames or ()):
                raise EdgesegError(
                    f"{path}:1: got {', '.join(rows.fieldnames or ()) or 'nothing'}, {_EXPECTED}"
                )
            return [_label(path, rows.line_num, row) for row in rows]
    except (OSError, UnicodeDecodeError) as error:
        raise EdgesegError(f"{path}: cannot be read: {error}") from None


def check_names(path: Path, labels: Sequence[Label], known: Mapping[str, Sequence[str]]) -> None:
    """Raises EdgesegError for a label that belongs to nothing. known: column -> names that there are."""
    for column, names in known.items():
        for label in labels:
            value = getattr(label, column)
            if value is not None and value not in names:
                raise EdgesegError(f"{path}: {column} {value!r} is none of {', '.join(names)}")


def _label(path: Path, line: int, row: Mapping[str, str | None]) -> Label:
    def named(column: str) -> str | None:
        return (row.get(column) or "").strip() or None

    try:
        begin, end = (_moment(row.get(column) or "") for column in _COLUMNS)
        label = Label(named("clip"), named("zone"), named("rule"), begin, end)
        if label.occasion(0.0).ended_s < label.occasion(0.0).began_s:
            raise ValueError("ends before it begins")
    except ValueError as error:
        raise EdgesegError(f"{path}:{line}: {error}") from None
    return label


def _moment(text: str) -> float | datetime:
    minutes, _, seconds = text.strip().rpartition(":")
    try:
        return 60 * float(minutes or 0) + float(seconds)
    except ValueError:
        pass
    try:
        return datetime.fromtimestamp(parse_utc(text.strip()), tz=UTC)
    except ValueError:
        raise ValueError(f"got {text!r}, expected seconds of the clip, m:ss or a time in ISO 8601") from None


def _utc_s(moment: float | datetime, began_at_s: float) -> float:
    return moment.timestamp() if isinstance(moment, datetime) else began_at_s + moment
