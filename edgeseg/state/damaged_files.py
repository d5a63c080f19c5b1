"""The files of a database: set aside when damaged, and what to do where they cannot be used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

# A card that damages a file a week must not fill itself with them.
KEPT_DAMAGED = 2
# The database last: one that is found without its log is only damaged again; a log that is found beside a
# new database would be replayed into it.
_SUFFIXES = ("-wal", "-shm", "-journal", "")


def set_aside(path: Path) -> Path:
    """Move a damaged database away with its log, to ``<name>.damaged-1``; the one before becomes
    ``-2`` and older ones are deleted. Returns the new path. Raises OSError."""
    for number in range(KEPT_DAMAGED, 1, -1):
        _move(_damaged(path, number - 1), _damaged(path, number))
    _move(path, _damaged(path, 1))
    return _damaged(path, 1)


def advice(path: Path, error: Exception, *, damaged: bool) -> str:
    """What to do about an ``error`` that opening or using the database at ``path`` raised."""
    if "locked" in str(error):
        return (
            "Another process has the file open: end it, or give this file a `node:` of its own, and restart"
        )
    folder = path.parent
    while not os.access(folder, os.F_OK) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        return f"{folder} is no folder: move it away, and restart"
    files = [Path(f"{path}{suffix}") for suffix in _SUFFIXES]
    for place in (folder, *files):
        needed = os.W_OK | (os.X_OK if place == folder else os.R_OK)
        if not os.access(place, os.F_OK) or os.access(place, needed):
            continue
        if os.statvfs(place).f_flag & os.ST_RDONLY:
            return f"{place} is on a read-only file system: mount it writable, or choose another state folder"
        found = place.stat()
        return (
            f"{place} belongs to uid {found.st_uid}, gid {found.st_gid} with mode"
            f" {stat.filemode(found.st_mode)}, and edgeseg runs as uid {os.getuid()}, which may not write"
            " there: chown it, or choose another state folder, and restart"
        )
    if damaged:
        return "Check the disk; the next start sets the file aside and begins a new one"
    return "Check the disk, or move the file away, and restart"


def _damaged(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.damaged-{number}")


def _move(old: Path, new: Path) -> None:
    # Suffixes stay at the end: SQLite's own tools then find the log of a file that was set aside.
    for suffix in _SUFFIXES:
        source, target = Path(f"{old}{suffix}"), Path(f"{new}{suffix}")
        if source.exists():
            source.replace(target)
        else:
            target.unlink(missing_ok=True)
