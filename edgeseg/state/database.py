"""SQLite as this project needs it: whole transactions, files that migrate, and a disk that may fail.

WAL with ``synchronous=FULL``: what ``write`` returned for survives SIGKILL at any point, and by SQLite's
own promise a power cut (https://www.sqlite.org/pragma.html#pragma_synchronous), which we do not test.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from edgeseg.clock import Clock
from edgeseg.errors import StateError
from edgeseg.state.damaged_files import advice, set_aside
from edgeseg.state.schema import MIGRATIONS, SCHEMA_VERSION, TABLES, refuse_newer, version_on_disk

log = logging.getLogger(__name__)

Value = str | int | float | bytes | None
Rows = list[tuple[Any, ...]]
Execute = Callable[[str, tuple[Value, ...]], object]
Change = Callable[[Execute], None]

_BACK_TO_DISK_EVERY_S = 60.0


class Database:
    """One connection for all threads. path: its folder is made where missing; None keeps all in memory.

    A file that is found damaged at ``open`` is set aside and a new one begun. One that is locked by another
    process, cannot be written or fails later is replaced by memory, with a log line that says so; ``mend``
    goes back to the disk as soon as that takes everything.
    """

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self.lock = threading.RLock()
        self.durable = False
        self.moved: list[Callable[[], None]] = []
        self._path = path
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._mend_due_s = 0.0
        self._local = threading.local()

    def open(self) -> None:
        """Raises StateError for a file of a newer edgeseg, which stays as it is."""
        with self.lock:
            if self._path is None:
                self._connection = _open_memory()
                return
            try:
                self._connection = _open_or_begin(self._path)
                self.durable = True
            except (sqlite3.Error, OSError) as error:
                self._use_memory(self._path, error)

    def close(self) -> None:
        """Idempotent. What is on disk is found by the next ``open``."""
        with self.lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    def read(self, statement: str, *values: Value) -> Rows:
        with self.lock:
            try:
                return self._opened().execute(statement, values).fetchall()
            except sqlite3.Error as error:
                self._move(error)
                return self._opened().execute(statement, values).fetchall()

    def write(self, change: Change, stored: Callable[[], None] | None = None) -> None:
        """Store all that ``change`` executes, or nothing; it is on disk when this returns.

        Inside ``together`` it is stored later. change: may run a second time, in memory, where the disk
        failed. stored: called once when it is stored, while ``lock`` is held.
        """
        batch: list[tuple[Change, Callable[[], None] | None]] | None = getattr(self._local, "batch", None)
        if batch is None:
            self._store([(change, stored)])
        else:
            batch.append((change, stored))

    @contextmanager
    def together(self) -> Iterator[None]:
        """What this thread writes inside is stored at the end, all of it or nothing. Holds no lock."""
        if getattr(self._local, "batch", None) is not None:
            yield
            return
        batch: list[tuple[Change, Callable[[], None] | None]] = []
        self._local.batch = batch
        try:
            yield
        finally:
            self._local.batch = None
        if batch:
            self._store(batch)

    def mend(self) -> None:
        """Where the disk failed, try to go back to it, once a minute."""
        with self.lock:
            now_s = self._clock.monotonic_s()
            if self._path is None or self.durable or self._connection is None or now_s < self._mend_due_s:
                return
            self._mend_due_s = now_s + _BACK_TO_DISK_EVERY_S
            try:
                found = _open_or_begin(self._path)
            except (sqlite3.Error, OSError, StateError) as error:
                log.debug("state %s: still not usable: %s", self._path, error)
                return
            try:
                _copy(self._connection, found, anew=True)
            except sqlite3.Error as error:
                log.debug("state %s: still not usable: %s", self._path, error)
                found.close()
                return
            self._connection.close()
            self._connection, self.durable = found, True
            log.warning("state %s: on disk again", self._path)

    def _store(self, batch: list[tuple[Change, Callable[[], None] | None]]) -> None:
        with self.lock:
            try:
                _transact(self._opened(), batch)
            except sqlite3.Error as error:
                self._move(error)
                _transact(self._opened(), batch)
            for _, stored in batch:
                if stored is not None:
                    stored()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StateError(f"state {self._path or 'in memory'}: used before open() or after close()")
        return self._connection

    def _move(self, error: sqlite3.Error) -> None:
        """To memory, where the disk is at fault; else raises the error."""
        if self._path is None or not self.durable:
            raise error
        self._use_memory(self._path, error)
        for told in self.moved:
            told()

    def _use_memory(self, path: Path, error: Exception) -> None:
        log.warning(
            "state %s: %s; alerts wait in memory instead, and with what rules know they are lost if edgeseg"
            " ends before the disk is well. %s",
            path,
            error,
            advice(path, error, damaged=_is_damage(error)),
        )
        memory = _open_memory()
        if self._connection is not None:
            with closing(self._connection):
                for table in TABLES:
                    try:
                        _copy(self._connection, memory, (table,))
                    except sqlite3.Error as unreadable:
                        log.warning("state %s: %s cannot be read: %s", path, table, unreadable)
        self._connection = memory
        self.durable = False
        self._mend_due_s = self._clock.monotonic_s() + _BACK_TO_DISK_EVERY_S


def take_over(old: Path, new: Path) -> None:
    """Give a database its new name. Killed at any point, either the old one or the new one is there, whole.
    One that cannot be opened stays where it is. Raises OSError."""
    if not old.exists() or new.exists():
        return
    with suppress(sqlite3.Error), closing(_connect(str(old))) as database:
        # Its log becomes part of it: two files cannot be renamed at once.
        if database.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",):
            old.replace(new)


def open_file(path: Path) -> sqlite3.Connection:
    """The database at ``path``, made where missing, locked for this process, every statement on disk when it
    returns. Raises StateError for one of a newer edgeseg, sqlite3.Error or OSError for an unusable one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # From the file itself: SQLite would already write to what it opens.
    refuse_newer(path, version_on_disk(path))
    connection = _connect(str(path))
    try:
        # Two daemons with one outbox would send each other's alerts. Exclusive also spares the -shm file.
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        refuse_newer(path, version)
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"damaged: {verdict}")
        _migrate(connection, version)
    except UnicodeDecodeError:
        # sqlite3 stumbles over its own message where that quotes a damaged name.
        connection.close()
        raise sqlite3.DatabaseError("damaged: a name in its schema is no text") from None
    except (sqlite3.Error, StateError):
        connection.close()
        raise
    return connection


def _open_or_begin(path: Path) -> sqlite3.Connection:
    try:
        return open_file(path)
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        aside = set_aside(path)
        log.error(
            "state %s: damaged (%s): set aside as %s, a new one begins; alerts that waited in it are not"
            " sent, and alerts that were on begin anew. Check the disk",
            path,
            error,
            aside.name,
        )
        return open_file(path)


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    if version == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _open_memory() -> sqlite3.Connection:
    """An empty database that ends with the process."""
    connection = _connect(":memory:")
    _migrate(connection, 0)
    return connection


def _transact(connection: sqlite3.Connection, batch: list[tuple[Change, Callable[[], None] | None]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for change, _ in batch:
            change(connection.execute)
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may have rolled back already.
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def _copy(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    tables: tuple[str, ...] = TABLES,
    *,
    anew: bool = False,
) -> None:
    """anew: what the target's tables hold goes."""

    def change(execute: Execute) -> None:
        for table in tables:
            if anew:
                execute(f"DELETE FROM {table}", ())
            for row in _all_of(source, table):
                execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)

    _transact(target, [(change, None)])


def _all_of(source: sqlite3.Connection, table: str) -> Rows:
    try:
        return source.execute(f"SELECT * FROM {table}").fetchall()
    except UnicodeDecodeError:
        # As in ``open_file``: of a column.
        raise sqlite3.DatabaseError("damaged: a name in its schema is no text") from None


def _is_damage(error: Exception) -> bool:
    """Whether the content is at fault. A lock, a permission or a full disk is an OperationalError; SQLite's
    CORRUPT and NOTADB come as the plain base class."""
    return type(error) is sqlite3.DatabaseError


def _connect(database: str) -> sqlite3.Connection:
    # The lock of Database serialises its callers, so the connection may move between threads.
    # isolation_level=None: no transactions but those that are begun here.
    return sqlite3.connect(database, timeout=1.0, isolation_level=None, check_same_thread=False)
