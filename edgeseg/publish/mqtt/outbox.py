"""Alerts on disk until the broker has acknowledged them.

A row that ``append`` returned for survives SIGKILL and a power cut, see ``state.database``. Bounded by age
and by count; what is dropped is counted by its cause, on disk as well, so that no drop goes untold.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from types import TracebackType

from edgeseg.clock import Clock
from edgeseg.state.database import Database, Execute

log = logging.getLogger(__name__)

DAY_S = 86_400.0
# Rows beyond cannot be numbered on from: SQLite's integers end at 2**63.
_LARGEST_ROW = 1 << 62


@dataclass(frozen=True, slots=True)
class Waiting:
    """One alert message that the broker has not acknowledged. ``row`` grows in the order of ``append``.

    age_s, left_s: how long it has been waiting, and how much longer it may.
    """

    row: int
    alert_id: str
    seq: int
    topic: str
    payload: bytes
    age_s: float
    left_s: float


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """waiting: messages now. The others count since the file began: too old, pushed out by newer ones,
    refused for good by the broker (too large), not to be read back from a failing disk."""

    waiting: int = 0
    expired: int = 0
    overflowed: int = 0
    rejected: int = 0
    lost: int = 0

    @property
    def dropped(self) -> int:
        return self.expired + self.overflowed + self.rejected + self.lost


_CAUSES = tuple(field.name for field in fields(OutboxCounts))[1:]


class Outbox:
    """A first-in first-out queue on disk. Thread-safe.

    place: the database to share, whose owner opens and closes it; or the path of one of its own; None keeps
        everything in memory.
    ttl_s: alerts older than this are dropped. Age within this process is monotonic time, so that a clock
        set by NTP long after boot expires nothing; what an earlier process left is aged by UTC once.
    capacity: beyond it the oldest is dropped.

    Where the disk fails, alerts go on in memory; see ``Database``.
    """

    def __init__(
        self, place: Database | Path | None, clock: Clock, *, ttl_s: float = DAY_S, capacity: int = 10_000
    ) -> None:
        self._owned = not isinstance(place, Database)
        self._database = place if isinstance(place, Database) else Database(place, clock)
        self._clock = clock
        self._ttl_s = ttl_s
        self._capacity = capacity
        self._expires_s: dict[int, float] = {}
        self._next_row = 1
        self._counts = OutboxCounts()

    @property
    def durable(self) -> bool:
        """Whether what waits is on disk."""
        return self._database.durable

    def open(self) -> None:
        """Find what an earlier process left. Raises StateError for a database of a newer edgeseg."""
        if self._owned:
            self._database.open()
        with self._lock:
            counts: dict[str, int] = dict(self._database.read("SELECT cause, count FROM dropped"))
            known = {cause: counts.get(cause, 0) for cause in _CAUSES}
            self._counts = OutboxCounts(
                **{cause: n if isinstance(n, int) else 0 for cause, n in known.items()}
            )
            self._expires_s.clear()
            self._adopt()
            self._database.moved.append(self._reconcile)

    def append(
        self,
        alert_id: str,
        seq: int,
        topic: str,
        payload: bytes,
        stored: Callable[[], None] | None = None,
    ) -> None:
        """Store one message at the end; it is on disk when this returns, or, inside of the database's
        ``together``, when that ends. stored: called then."""
        row = 0

        def change(execute: Execute) -> None:
            nonlocal row
            # A number that is skipped where the disk failed does no harm.
            row, self._next_row = self._next_row, self._next_row + 1
            values = (row, alert_id, seq, topic, payload, self._clock.utc_s())
            execute("INSERT INTO waiting VALUES (?, ?, ?, ?, ?, ?)", values)

        def done() -> None:
            self._expires_s[row] = self._clock.monotonic_s() + self._ttl_s
            self._expire()
            while len(self._expires_s) > self._capacity:
                self._forget(next(iter(self._expires_s)), "overflowed")
            if stored is not None:
                stored()

        self._database.write(change, done)

    def after(self, row: int) -> Waiting | None:
        """The oldest message beyond ``row`` (0 for the very first), or None."""
        with self._lock:
            if not self._expires_s or not self._database.is_open:
                return None
            self._expire()
            statement = (
                "SELECT id, alert_id, seq, topic, payload FROM waiting WHERE id > ? ORDER BY id LIMIT 1"
            )
            for number, alert_id, seq, topic, payload in self._database.read(statement, row):
                left_s = self._expires_s.get(number, self._fresh_s()) - self._clock.monotonic_s()
                return Waiting(number, alert_id, seq, topic, payload, self._ttl_s - left_s, left_s)
            return None

    def delete(self, row: int) -> None:
        """The message was delivered. A row that is gone already is fine."""
        with self._lock:
            self._forget(row)

    def reject(self, row: int) -> None:
        """The message can never be delivered: drop and count it."""
        with self._lock:
            self._forget(row, "rejected")

    @property
    def last_row(self) -> int:
        """The newest row ever appended or found, 0 before the first."""
        return self._next_row - 1

    @property
    def counts(self) -> OutboxCounts:
        with self._lock:
            if self._database.is_open:
                self._expire()
            return replace(self._counts, waiting=len(self._expires_s))

    def close(self) -> None:
        """Idempotent. What waits on disk is found by the next ``open``."""
        with self._lock:
            if self._reconcile in self._database.moved:
                self._database.moved.remove(self._reconcile)
        if self._owned:
            self._database.close()

    def __enter__(self) -> Outbox:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _lock(self) -> threading.RLock:
        # The database's: it calls back while it holds it.
        return self._database.lock

    def _fresh_s(self) -> float:
        return self._clock.monotonic_s() + self._ttl_s

    def _adopt(self) -> None:
        now_s, utc_s = self._clock.monotonic_s(), self._clock.utc_s()
        for row, *values in self._database.read("SELECT * FROM waiting ORDER BY id"):
            self._expires_s[row] = now_s + self._ttl_s
            if not _is_whole(row, *values):
                log.error("outbox: the alert in row %d is damaged and cannot be sent; check the disk", row)
                self._forget(row, "lost")
                continue
            self._expires_s[row] -= max(0.0, utc_s - values[-1])
            self._next_row = row + 1

    def _expire(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._expires_s and next(iter(self._expires_s.values())) <= now_s:
            for row in [row for row, expires_s in self._expires_s.items() if expires_s <= now_s]:
                self._forget(row, "expired")

    def _forget(self, row: int, cause: str | None = None) -> None:
        if row not in self._expires_s:
            return

        def change(execute: Execute) -> None:
            execute("DELETE FROM waiting WHERE id = ?", (row,))
            if cause is not None:
                _count_more(cause, 1, execute)

        def done() -> None:
            # Not before: where the disk fails, the rows found there are taken over, this one among them.
            self._expires_s.pop(row, None)
            if cause is not None:
                self._count(cause, 1)

        self._database.write(change, done)

    def _count(self, cause: str, more: int) -> None:
        self._counts = replace(self._counts, **{cause: getattr(self._counts, cause) + more})

    def _reconcile(self) -> None:
        """The disk failed: what could be read from it is in memory now."""
        kept = [row for (row,) in self._database.read("SELECT id FROM waiting ORDER BY id")]
        lost = len(self._expires_s.keys() - set(kept))
        if lost:
            self._count("lost", lost)
            self._database.write(partial(_count_more, "lost", lost))
        self._expires_s = {row: self._expires_s.get(row, self._fresh_s()) for row in kept}
        self._next_row = max([self._next_row, *(row + 1 for row in kept)])


def _is_whole(
    row: object, alert_id: object, seq: object, topic: object, payload: object, enqueued_at: object
) -> bool:
    """Whether ``append`` may have written this. SQLite's own check sees a damaged page, not a damaged value;
    and what cannot be sent would end the daemon again at each start."""
    kinds = ((row, int), (alert_id, str), (seq, int), (topic, str), (payload, bytes), (enqueued_at, float))
    if not all(isinstance(value, kind) for value, kind in kinds):
        return False
    assert isinstance(row, int)
    assert isinstance(topic, str)
    return 0 < row < _LARGEST_ROW and bool(topic) and not set(topic) & set("+#\0")


def _count_more(cause: str, more: int, execute: Execute) -> None:
    statement = (
        "INSERT INTO dropped VALUES (?, ?) ON CONFLICT (cause) DO UPDATE SET count = count + excluded.count"
    )
    execute(statement, (cause, more))
