"""What a database holds, and how a file of an older version becomes one of this."""

from __future__ import annotations

from pathlib import Path

from edgeseg.errors import StateError

# What turns a file of one version into the next. Version 1 was the outbox alone.
MIGRATIONS = (
    (
        """
        CREATE TABLE IF NOT EXISTS waiting (
            id INTEGER PRIMARY KEY,
            alert_id TEXT NOT NULL,
            seq INTEGER NOT NULL,
            topic TEXT NOT NULL,
            payload BLOB NOT NULL,
            enqueued_at REAL NOT NULL
        )
        """,
    ),
    (
        "CREATE TABLE dropped (cause TEXT PRIMARY KEY, count INTEGER NOT NULL)",
        "CREATE TABLE memory (camera TEXT PRIMARY KEY, body TEXT NOT NULL)",
        "CREATE TABLE wish (camera TEXT PRIMARY KEY, enabled INTEGER, rate REAL, rate_of_file REAL)",
        """
        CREATE TABLE life (
            id INTEGER PRIMARY KEY,
            boot TEXT NOT NULL,
            began_at REAL NOT NULL,
            alive_at REAL NOT NULL,
            alive_s REAL NOT NULL,
            ended TEXT
        )
        """,
    ),
    (
        """
        CREATE TABLE history (
            resolution TEXT NOT NULL,
            camera TEXT NOT NULL,
            zone TEXT NOT NULL,
            at INTEGER NOT NULL,
            body TEXT NOT NULL,
            PRIMARY KEY (resolution, camera, zone, at)
        )
        """,
        "CREATE INDEX history_at ON history (at)",
        "CREATE TABLE past_alert (row INTEGER PRIMARY KEY, id TEXT UNIQUE, camera TEXT, body TEXT NOT NULL)",
    ),
    ("CREATE TABLE view (camera TEXT, grey INTEGER, body TEXT NOT NULL, PRIMARY KEY (camera, grey))",),
)
SCHEMA_VERSION = len(MIGRATIONS)
# What must not be lost where the disk fails; the rest stays there, and what comes meanwhile is not kept.
TABLES = ("waiting", "dropped", "memory", "wish", "life")
# Where SQLite's file format keeps ``user_version`` (https://www.sqlite.org/fileformat.html#the_database_header).
_VERSION_AT = slice(60, 64)


def version_on_disk(path: Path) -> int:
    """From the file itself, which is not opened as a database; 0 for none. Raises OSError."""
    try:
        with path.open("rb") as file:
            return int.from_bytes(file.read(_VERSION_AT.stop)[_VERSION_AT], "big")
    except FileNotFoundError:
        return 0


def refuse_newer(path: Path, version: int) -> None:
    """Raises StateError for a version that this edgeseg does not know."""
    # What is no database at all has any number there.
    if SCHEMA_VERSION < version < 1_000_000:
        raise StateError(
            f"state {path}: schema version {version} is newer than {SCHEMA_VERSION}, the newest this"
            " edgeseg knows: upgrade edgeseg, or move the file away"
        )
