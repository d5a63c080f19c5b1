"""Evidence on disk: whole files within a budget, in folders that no name leads out of."""

from __future__ import annotations

import errno
import mmap
import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeseg.clock import Clock
from edgeseg.settings import EvidenceBudget

Part = Literal["before", "after", "clip"]
_KINDS: tuple[tuple[Part, str], ...] = (("before", "jpg"), ("after", "jpg"), ("clip", "mp4"), ("clip", "mkv"))

_FILE = re.compile(r"([0-9a-f]{16})-(?:(before|after)\.jpg|(clip)\.(?:mp4|mkv))")
_PARTIAL = re.compile(r"\.[0-9a-f]{16}\.partial")
_DAY_S = 86_400.0
# A machine without a battery for its clock starts in the past: what it kept then has no age.
_CLOCK_IS_RIGHT_FROM_S = 1_700_000_000.0
# Whoever may read the state folder of a service, these are pictures of people.
_FOLDER_MODE, _FILE_MODE = 0o700, 0o600
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class KeptFile:
    """One file of evidence. part: which picture of its alert it is. kept_at_s: UTC."""

    camera: str
    alert_id: str
    part: Part
    name: str
    size_bytes: int
    kept_at_s: float


def file_name(alert_id: str, part: Part, suffix: str = "jpg") -> str:
    """``0123456789abcdef-before.jpg``. Raises ValueError for an id that is none, and a suffix."""
    name = f"{alert_id}-{part}.{suffix}"
    if not _FILE.fullmatch(name):
        raise ValueError(f"{alert_id!r} is not the id of an alert: expected 16 digits of 0-9 a-f")
    return name


class EvidenceFiles:
    """``<path>/<camera>/<alert id>-<part>.jpg``, folders with mode 0700 and files with 0600.

    Nothing is made before the first file is kept. Other files that lie there are left alone and do not
    count. ``open``, ``keep`` and ``tidy`` belong to one thread, ``of_alert`` and ``read`` to any. sync: makes
    what was written to a descriptor survive a power cut.
    """

    def __init__(self, path: Path, clock: Clock, sync: Callable[[int], None] = os.fsync) -> None:
        self.path = path
        self._clock = clock
        self._sync = sync
        # By name, which is that of one alert of one camera. Changed by one thread; others only look names up.
        self._files: dict[str, KeptFile] = {}

    def open(self) -> None:
        """Look at what earlier processes left; what they left half is removed. Raises OSError."""
        try:
            cameras = [entry.name for entry in os.scandir(self.path) if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return
        for camera in cameras:
            for entry in os.scandir(self.path / camera):
                if _PARTIAL.fullmatch(entry.name):
                    Path(entry.path).unlink()
                named = _FILE.fullmatch(entry.name)
                if named is None or not entry.is_file(follow_symlinks=False):
                    continue
                about = entry.stat(follow_symlinks=False)
                part: Part = "clip" if named[3] else "before" if named[2] == "before" else "after"
                self._files[entry.name] = KeptFile(
                    camera, named[1], part, entry.name, about.st_size, about.st_mtime
                )

    def keep(
        self,
        camera: str,
        alert_id: str,
        part: Part,
        data: bytes | mmap.mmap,
        budget: EvidenceBudget,
        suffix: str = "jpg",
    ) -> KeptFile:
        """Write a file, whole or not at all; the oldest make room for it. Raises OSError, and ValueError for
        a name that is none."""
        name = file_name(alert_id, part, suffix)
        if len(data) > budget.keep_bytes:
            raise OSError(errno.EFBIG, f"{name} alone is larger than all that may be kept")
        self._files.pop(name, None)
        self._make_room(budget, len(data))
        kept = KeptFile(camera, alert_id, part, name, len(data), self._clock.utc_s())
        self._write(kept, data)
        self._files[name] = kept
        return kept

    def tidy(self, budget: EvidenceBudget) -> None:
        """Remove what is too old or too much. Raises OSError."""
        self._make_room(budget, 0)

    def of_alert(self, alert_id: str) -> tuple[KeptFile, ...]:
        """What is kept of an alert, in the order of ``Part``. Raises ValueError for an id that is none."""
        found = (self._files.get(file_name(alert_id, *kind)) for kind in _KINDS)
        return tuple(kept for kept in found if kept is not None)

    def read(self, kept: KeptFile) -> bytes | None:
        """A file's content; None where it is gone. Raises OSError, for a link in its place too."""
        try:
            folder = self._open_folder(kept.camera, create=False)
            try:
                file = os.open(kept.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            finally:
                os.close(folder)
        except FileNotFoundError:
            return None
        with os.fdopen(file, "rb") as stream:
            return stream.read()

    def place_of(self, kept: KeptFile) -> Path:
        """Where the file is."""
        return self.path / kept.camera / kept.name

    def _make_room(self, budget: EvidenceBudget, needed_bytes: int) -> None:
        too_old_s = self._clock.utc_s() - budget.days * _DAY_S
        total_bytes = needed_bytes + sum(kept.size_bytes for kept in self._files.values())
        for kept in sorted(self._files.values(), key=lambda kept: (kept.kept_at_s, kept.name)):
            aged = _CLOCK_IS_RIGHT_FROM_S < kept.kept_at_s < too_old_s
            if total_bytes <= budget.keep_bytes and not aged:
                continue
            with suppress(FileNotFoundError):
                self.place_of(kept).unlink()
            del self._files[kept.name]
            total_bytes -= kept.size_bytes

    def _write(self, kept: KeptFile, data: bytes | mmap.mmap) -> None:
        partial = f".{secrets.token_hex(8)}.partial"
        folder = self._open_folder(kept.camera, create=True)
        try:
            file = os.open(
                partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE, dir_fd=folder
            )
            try:
                with os.fdopen(file, "wb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.utime(stream.fileno(), (kept.kept_at_s, kept.kept_at_s))
                    self._sync(stream.fileno())
                os.replace(partial, kept.name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(partial, dir_fd=folder)
                raise
        finally:
            os.close(folder)

    def _open_folder(self, camera: str, *, create: bool) -> int:
        """A descriptor of the camera's folder, which is one itself and no link to one. Raises OSError, and
        ValueError for a name that leads elsewhere."""
        if camera in ("", ".", "..") or "/" in camera or "\0" in camera:
            raise ValueError(f"{camera!r} cannot be a folder of evidence")
        if create:
            self.path.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
        root = os.open(self.path, _OPEN_FOLDER)
        try:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(camera, _FOLDER_MODE, dir_fd=root)
            return os.open(camera, _OPEN_FOLDER, dir_fd=root)
        finally:
            os.close(root)
