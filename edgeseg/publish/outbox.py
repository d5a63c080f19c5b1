"""Alerts on disk until the broker has acknowledged them.

SQLite in WAL mode with ``synchronous=FULL``: a row that ``append`` returned for survives SIGKILL and a
power cut (https://www.sqlite.org/pragma.html#pragma_synchronous). Bounded by age and by count; what is
dropped is counted by its cause.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from edgeseg.clock import Clock
from edgeseg.errors import PublishError
from edgeseg.publish.outbox_file import advice, set_aside

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
_TABLE = """
CREATE TABLE IF NOT EXISTS waiting (
    id INTEGER PRIMARY KEY,
    alert_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    enqueued_at REAL NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One alert message that the broker has not acknowledged. ``row`` grows in the order of ``append``."""

    row: int
    alert_id: str
    seq: int
    topic: str
    payload: bytes
    enqueued_at_s: float


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """waiting: messages now. The others count since the start: too old, pushed out by newer ones, refused
    for good by the broker (too large), not to be read back from a failing disk."""

    waiting: int = 0
    expired: int = 0
    overflowed: int = 0
    rejected: int = 0
    lost: int = 0

    @property
    def dropped(self) -> int:
        return self.expired + self.overflowed + self.rejected + self.lost


class Outbox:
    """A first-in first-out queue on disk. Thread-safe.

    path: the database; its folder is made where missing. None keeps everything in memory.
    ttl_s: alerts older than this are dropped. Age within this process is monotonic time, so that a clock
        set by NTP long after boot expires nothing; what an earlier process left is aged by UTC once.
    capacity: beyond it the oldest is dropped.

    A database that is found damaged at ``open`` is set aside and a new one begun. One that is locked by
    another process, cannot be written or fails later is replaced by memory, with a log line that says so:
    alerts then still go out, but do not survive the process.
    """

    def __init__(
        self, path: Path | None, clock: Clock, *, ttl_s: float = 86_400.0, capacity: int = 10_000
    ) -> None:
        self._path = path
        self._clock = clock
        self._ttl_s = ttl_s
        self._capacity = capacity
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._expires_s: dict[int, float] = {}
        self._next_row = 1
        self._counts = OutboxCounts()
        self.durable = False

    def open(self) -> None:
        """Raises PublishError for a database of a newer edgeseg."""
        with self._lock:
            if self._path is None:
                self._database = _open_memory()
                return
            try:
                try:
                    self._open_file(self._path)
                except sqlite3.DatabaseError as error:
                    if not _is_damage(error):
                        raise
                    self._begin_anew(self._path, error)
            except (sqlite3.Error, OSError) as error:
                self._use_memory(self._path, error)

    def append(self, alert_id: str, seq: int, topic: str, payload: bytes) -> int:
        """Store one message at the end; it is on disk when this returns. Returns its row."""
        with self._lock:
            self._expire()
            while len(self._expires_s) >= self._capacity:
                self._forget(next(iter(self._expires_s)))
                self._counts = replace(self._counts, overflowed=self._counts.overflowed + 1)
            row = self._next_row
            self._next_row += 1
            self._write(
                "INSERT INTO waiting VALUES (?, ?, ?, ?, ?, ?)",
                (row, alert_id, seq, topic, payload, self._clock.utc_s()),
            )
            self._expires_s[row] = self._clock.monotonic_s() + self._ttl_s
            return row

    def after(self, row: int) -> Waiting | None:
        """The oldest message beyond ``row`` (0 for the very first), or None."""
        with self._lock:
            self._expire()
            if not self._expires_s:
                return None
            found = self._read("SELECT * FROM waiting WHERE id > ? ORDER BY id LIMIT 1", row)
            return next(found, None)

    def delete(self, row: int) -> None:
        """The message was delivered. A row that is gone already is fine."""
        with self._lock:
            self._forget(row)

    def reject(self, row: int) -> None:
        """The message can never be delivered: drop and count it."""
        with self._lock:
            if row in self._expires_s:
                self._forget(row)
                self._counts = replace(self._counts, rejected=self._counts.rejected + 1)

    @property
    def last_row(self) -> int:
        """The newest row ever appended or found, 0 before the first."""
        return self._next_row - 1

    @property
    def counts(self) -> OutboxCounts:
        with self._lock:
            self._expire()
            return replace(self._counts, waiting=len(self._expires_s))

    def close(self) -> None:
        """Idempotent. What waits on disk is found by the next ``open``."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def __enter__(self) -> Outbox:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open_file(self, path: Path) -> None:
        self._database = open_file(path)
        self.durable = True
        self._adopt()

    def _begin_anew(self, path: Path, error: sqlite3.DatabaseError) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        self.durable = False
        self._expires_s.clear()
        aside = set_aside(path)
        log.error(
            "outbox %s: damaged (%s): set aside as %s, a new one begins; alerts that waited in it are not"
            " sent. Check the disk",
            path,
            error,
            aside.name,
        )
        self._open_file(path)

    def _adopt(self) -> None:
        now_s, utc_s = self._clock.monotonic_s(), self._clock.utc_s()
        for waiting in self._rows("SELECT * FROM waiting ORDER BY id"):
            age_s = max(0.0, utc_s - waiting.enqueued_at_s)
            self._expires_s[waiting.row] = now_s + self._ttl_s - age_s
            self._next_row = waiting.row + 1

    def _expire(self) -> None:
        now_s = self._clock.monotonic_s()
        while self._expires_s and self._expires_s[row := next(iter(self._expires_s))] <= now_s:
            self._forget(row)
            self._counts = replace(self._counts, expired=self._counts.expired + 1)

    def _forget(self, row: int) -> None:
        if row in self._expires_s:
            self._write("DELETE FROM waiting WHERE id = ?", (row,))
            # Not before: where the disk fails, the rows found there are taken over, this one among them.
            self._expires_s.pop(row, None)

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            self._open_database().execute(statement, values)
        except sqlite3.Error as error:
            if self._path is None or not self.durable:
                raise
            self._use_memory(self._path, error)
            self._open_database().execute(statement, values)

    def _read(self, statement: str, row: int) -> Iterator[Waiting]:
        try:
            return iter(list(self._rows(statement, row)))
        except sqlite3.Error as error:
            if self._path is None or not self.durable:
                raise
            self._use_memory(self._path, error)
            return self._rows(statement, row)

    def _rows(self, statement: str, *values: object) -> Iterator[Waiting]:
        for row in self._open_database().execute(statement, values):
            yield Waiting(*row)

    def _open_database(self) -> sqlite3.Connection:
        if self._database is None:
            raise PublishError(f"outbox {self._path or 'in memory'}: used before open() or after close()")
        return self._database

    def _use_memory(self, path: Path, error: Exception) -> None:
        log.warning(
            "outbox %s: %s; alerts wait in memory instead and are lost if edgeseg ends before the broker"
            " has them. %s",
            path,
            error,
            advice(path, error, damaged=_is_damage(error)),
        )
        memory = _open_memory()
        kept = []
        if self._database is not None:
            with closing(self._database):
                try:
                    kept = self._database.execute("SELECT * FROM waiting ORDER BY id").fetchall()
                except sqlite3.Error as unreadable:
                    log.warning("outbox %s: the waiting alerts cannot be read: %s", path, unreadable)
        memory.executemany("INSERT INTO waiting VALUES (?, ?, ?, ?, ?, ?)", kept)
        lost = len(self._expires_s.keys() - {row[0] for row in kept})
        self._counts = replace(self._counts, lost=self._counts.lost + lost)
        fresh_s = self._clock.monotonic_s() + self._ttl_s
        self._expires_s = {row[0]: self._expires_s.get(row[0], fresh_s) for row in kept}
        self._next_row = max([self._next_row, *(row + 1 for row in self._expires_s)])
        self._database = memory
        self.durable = False


def _open_memory() -> sqlite3.Connection:
    """An empty database that ends with the process."""
    connection = _connect(":memory:")
    connection.execute(_TABLE)
    return connection


def open_file(path: Path) -> sqlite3.Connection:
    """The database at ``path``, made where missing, locked for this process, every statement on disk when it
    returns. Raises PublishError for one of a newer edgeseg, sqlite3.Error or OSError for an unusable one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = _connect(str(path))
    try:
        # Two daemons with one outbox would send each other's alerts. Exclusive also spares the -shm file.
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise PublishError(
                f"outbox {path}: schema version {version} is newer than {SCHEMA_VERSION}, the newest this"
                " edgeseg knows: upgrade edgeseg, or move the file away"
            )
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"damaged: {verdict}")
        connection.execute(_TABLE)
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    except (sqlite3.Error, PublishError):
        connection.close()
        raise
    return connection


def _is_damage(error: Exception) -> bool:
    """Whether the content is at fault. A lock, a permission or a full disk is an OperationalError; SQLite's
    CORRUPT and NOTADB come as the plain base class."""
    return type(error) is sqlite3.DatabaseError


def _connect(database: str) -> sqlite3.Connection:
    # The lock of Outbox serialises its callers, so the connection may move between threads.
    # isolation_level=None: each statement commits by itself.
    return sqlite3.connect(database, timeout=1.0, isolation_level=None, check_same_thread=False)
