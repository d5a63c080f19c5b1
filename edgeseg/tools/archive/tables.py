"""Archive tables: Parquet files of ``occupancy`` and ``alerts``, a folder a camera and a day.

The only place that knows pyarrow (extra ``archive``). Files are named as Hive does, for example
``camera=yard/day=2026-11-22``, so that DuckDB, pandas, Spark and the rest see two columns more.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import EdgesegError
from edgeseg.events import Alert
from edgeseg.system.atomic_files import INTACT, atomic_write, write_errors
from edgeseg.tools.archive.timeline import TimelineEntry

OCCUPANCY, ALERTS = "occupancy", "alerts"
# Of the table of occupancy; at is UTC. Then comes a column for each class and group.
FIXED = ("at", "local_time", "zone", "state", "reason", "dominant", "uncertain", "confidence", "clip")
# A day of one zone at 5 a second has six groups of rows; memory holds one.
_GROUP_ROWS = 1 << 16


def arrow() -> Any:
    """Import and return pyarrow. Raises EdgesegError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise EdgesegError(
            "pyarrow is not installed; install it with pip install 'edgeseg[archive]'"
        ) from None
    return pyarrow


def share_column(name: str) -> str:
    """Return the column of a class or group: its own name, unless that is taken."""
    return f"share_{name}" if name in {*FIXED, "camera", "day"} else name


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The table of occupancy of one camera. zones: of each row. utc_us, local_us: int64 (rows,), microseconds
    since 1970, in UTC and by the archive's own clock. shares: column -> float64 (rows,), 0-1, NaN while
    unknown, which ``unknown``, bool (rows,), says."""

    zones: list[str]
    utc_us: npt.NDArray[np.int64]
    local_us: npt.NDArray[np.int64]
    unknown: npt.NDArray[np.bool_]
    shares: dict[str, npt.NDArray[np.float64]]


def read_occupancy(archive: Path, camera: str) -> Seen:
    """Raises EdgesegError without pyarrow, or where there is no such table."""
    table = _read(archive, OCCUPANCY, camera)
    shares = {name: table[name] for name in table.column_names if name not in FIXED}
    return Seen(
        table["zone"].to_pylist(),
        _microseconds(table["at"]),
        _microseconds(table["local_time"]),
        np.array([state == "unknown" for state in table["state"].to_pylist()]),
        {name: column.to_numpy().astype(np.float64) for name, column in shares.items()},
    )


def read_alerts(archive: Path, camera: str) -> list[dict[str, Any]]:
    """One dictionary for each alert, by its beginning. Raises EdgesegError as ``read_occupancy`` does."""
    rows: list[dict[str, Any]] = _read(archive, ALERTS, camera).to_pylist()
    return sorted(rows, key=lambda row: (row["began_at"], row["id"]))


def _microseconds(column: Any) -> npt.NDArray[np.int64]:
    times: npt.NDArray[np.int64] = column.to_numpy().astype("datetime64[us]").astype(np.int64)
    return times


def _read(archive: Path, kind: str, camera: str) -> Any:
    pa = arrow()
    files = sorted((archive / kind / f"camera={camera}").glob(f"day=*/{kind}.parquet"))
    if not files:
        raise EdgesegError(
            f"{archive}: has no table of {kind} of camera {camera}; run `edgeseg archive` again"
        )
    try:
        tables = [pa.parquet.ParquetFile(file).read() for file in files]
    except (OSError, pa.ArrowException) as error:
        raise EdgesegError(f"{archive}: {kind}: {error}; run `edgeseg archive` again") from None
    # Words are numbered differently in each file.
    return pa.concat_tables(tables).unify_dictionaries()


class Tables:
    """Writes both tables of one camera, in the order of time. A context manager.

    A file gets its name when its day is over; files of days that no longer exist are removed at the end.
    rows: of occupancy, so far.

    Args:
        archive: the folder.
        camera: its name.
        shares: the classes and groups that have a column, in the table's order, the same for all cameras.
        own: the classes and groups that this camera's model knows; the others stay empty.
        zone: of days.

    Raises EdgesegError where they cannot be written.
    """

    def __init__(
        self, archive: Path, camera: str, shares: Sequence[str], own: Collection[str], zone: tzinfo
    ) -> None:
        self.rows = 0
        self.days: list[str] = []
        self._roots = {kind: archive / kind / f"camera={camera}" for kind in (OCCUPANCY, ALERTS)}
        self._shares = shares
        self._own = frozenset(own)
        self._zone = zone
        self._day = ""
        self._columns: dict[str, list[object]] = {}
        self._alerts: dict[str, dict[str, Any]] = {}
        self._writer: Any = None
        self._opened = ExitStack()

    def __enter__(self) -> Tables:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._opened.__exit__(kind, error, trace)
            return
        self._end_day()
        self._write_alerts()
        self._delete_other_days()

    @property
    def alerts(self) -> int:
        """How many alerts there were."""
        return len(self._alerts)

    def add(self, entry: TimelineEntry) -> None:
        """Add the zones and alerts of one entry."""
        at_s = entry.occupancies[0].time.captured_at_s
        at, local = _moment(at_s, UTC), _moment(at_s, self._zone)
        day = self._day_of(at_s)
        if day != self._day:
            self._end_day()
            self._begin_day(day)
        for one in entry.occupancies:
            coverage = one.coverage or {}
            known = one.coverage is not None
            row = (
                *(at, local, one.zone, one.state, one.reason, one.dominant, one.uncertain, one.confidence),
                entry.clip,
                *(coverage.get(name, 0.0) if known and name in self._own else None for name in self._shares),
            )
            for column, value in zip(self._columns.values(), row, strict=True):
                column.append(value)
            self.rows += 1
        if len(self._columns["at"]) >= _GROUP_ROWS:
            self._flush()
        for alert in entry.alerts:
            self._add_alert(alert)

    def _begin_day(self, day: str) -> None:
        pa = arrow()
        self._day = day
        self.days.append(day)
        partial = self._opened.enter_context(atomic_write(self._path(OCCUPANCY, day), INTACT))
        self._writer = self._opened.enter_context(
            pa.parquet.ParquetWriter(partial, _occupancy_schema(pa, self._shares), compression="zstd")
        )
        self._columns = {name: [] for name in (*FIXED, *map(share_column, self._shares))}

    def _end_day(self) -> None:
        if self._day:
            self._flush()
            self._opened.close()
        self._day = ""

    def _flush(self) -> None:
        pa = arrow()
        with write_errors(self._path(OCCUPANCY, self._day), INTACT):
            self._writer.write_table(pa.table(self._columns, schema=self._writer.schema))
        self._columns = {name: [] for name in self._columns}

    def _add_alert(self, alert: Alert) -> None:
        """Merge a message into the row of its alert."""
        row = self._alerts.setdefault(alert.id, {"id": alert.id, "messages": 0})
        row["messages"] += 1
        if alert.event == "new":
            evidence = alert.evidence
            row.update(
                zone=alert.zone,
                rule=alert.rule,
                kind=alert.kind,
                began_at=_moment(alert.began_at_s),
                raised_at=_moment(alert.at_s),
                classes=list(evidence.classes) if evidence else [],
                value=evidence.value if evidence else None,
                threshold=evidence.threshold if evidence else None,
                dominant_before=alert.dominant_before,
                dominant_after=alert.dominant_after,
                day=self._day_of(alert.began_at_s),
            )
        if alert.ended_at_s is not None:
            row.update(
                ended_at=_moment(alert.ended_at_s),
                seconds=round(alert.ended_at_s - alert.began_at_s, 6),
                end_reason=alert.end_reason,
            )

    def _write_alerts(self) -> None:
        pa = arrow()
        schema = _alerts_schema(pa)
        # Without a row, too: a query over all days must find files.
        by_day: dict[str, list[dict[str, Any]]] = {day: [] for day in self.days}
        for row in self._alerts.values():
            by_day.setdefault(row["day"], []).append(row)
        for day, rows in by_day.items():
            table = {name: [row.get(name) for row in rows] for name in schema.names}
            with atomic_write(self._path(ALERTS, day), INTACT) as partial:
                pa.parquet.write_table(pa.table(table, schema=schema), partial, compression="zstd")

    def _delete_other_days(self) -> None:
        current = {self._path(kind, day).parent for kind in self._roots for day in self.days}
        current |= {self._path(ALERTS, row["day"]).parent for row in self._alerts.values()}
        for root in self._roots.values():
            for folder in root.glob("day=*"):
                if folder not in current:
                    shutil.rmtree(folder)

    def _path(self, kind: str, day: str) -> Path:
        return self._roots[kind] / f"day={day}" / f"{kind}.parquet"

    def _day_of(self, utc_s: float) -> str:
        return datetime.fromtimestamp(utc_s, self._zone).strftime("%Y-%m-%d")


def _moment(utc_s: float, zone: tzinfo = UTC) -> datetime:
    # Without its zone: DuckDB hands those that have one to Python only where pytz is installed.
    return datetime.fromtimestamp(utc_s, zone).replace(tzinfo=None)


def _occupancy_schema(pa: Any, shares: Iterable[str]) -> Any:
    text = pa.dictionary(pa.int32(), pa.string())
    fixed = {name: text for name in FIXED}
    fixed |= dict.fromkeys(("at", "local_time"), pa.timestamp("us"))
    fixed |= dict.fromkeys(("uncertain", "confidence"), pa.float64())
    return pa.schema([*fixed.items(), *((share_column(name), pa.float64()) for name in shares)])


def _alerts_schema(pa: Any) -> Any:
    text, moment, number = pa.string(), pa.timestamp("us"), pa.float64()
    return pa.schema(
        {
            **dict.fromkeys(("id", "zone", "rule", "kind"), text),
            **dict.fromkeys(("began_at", "raised_at", "ended_at"), moment),
            "seconds": number,
            "end_reason": text,
            "classes": pa.list_(text),
            **dict.fromkeys(("value", "threshold"), number),
            **dict.fromkeys(("dominant_before", "dominant_after"), text),
            "messages": pa.int64(),
        }
    )
