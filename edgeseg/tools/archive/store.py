"""Archive store: the folder of measured segments, with a journal that survives a crash."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from contextlib import ExitStack, suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import TextIO

from pydantic import TypeAdapter, ValidationError

from edgeseg.errors import EdgesegError
from edgeseg.system.atomic_files import INTACT, atomic_write, write_errors
from edgeseg.tools.archive.measure import Measured
from edgeseg.tools.archive.plan import Clip, Segment, SegmentPlan

MEASURED = "measured"
_JOURNAL = "journal.jsonl"
_plan = TypeAdapter(SegmentPlan)
_measured = TypeAdapter(Measured)


class ArchiveStore:
    """The measurements of one camera with one settings digest: ``measured/<camera>/<digest>``.

    A context manager. One line of the journal for each segment that is done, on the disk before it counts;
    a last line that was cut short does not count.
    """

    def __init__(self, archive: Path, camera: str, digest: str) -> None:
        self.folder = archive / MEASURED / camera / digest
        self._camera = archive / MEASURED / camera
        self._done: dict[str, Measured] = {}
        self._stream: TextIO | None = None
        self._opened = ExitStack()

    def __enter__(self) -> ArchiveStore:
        path = self.folder / _JOURNAL
        with write_errors(self.folder, INTACT):
            self.folder.mkdir(parents=True, exist_ok=True)
            whole = self._read(path)
            self._stream = self._opened.enter_context(
                path.open("r+" if path.exists() else "w+", encoding="utf-8")
            )
            self._stream.truncate(whole)
            self._stream.seek(whole)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    @property
    def fresh(self) -> bool:
        """Whether nothing was measured with this digest yet."""
        return not self._done

    @property
    def others(self) -> list[Path]:
        """The folders of this camera's measurements with other digests."""
        return [folder for folder in sorted(self._camera.iterdir()) if folder != self.folder]

    def plan_of(self, clip: Clip) -> SegmentPlan | None:
        """Return the saved plan of a clip; None where there is none, or where the file has changed."""
        try:
            plan = _plan.validate_json(self._plan_path(clip.name).read_bytes())
            stat = Path(clip.path).stat()
        except (OSError, ValidationError):
            return None
        return plan if (plan.size_bytes, plan.mtime_ns) == (stat.st_size, stat.st_mtime_ns) else None

    def plans(self) -> list[SegmentPlan]:
        """Return the plans of all clips, by name, those of deleted recordings included."""
        found = []
        for path in self.folder.glob("*/plan.json"):
            with suppress(OSError, ValidationError):
                found.append(_plan.validate_json(path.read_bytes()))
        return sorted(found, key=lambda plan: plan.name)

    def save_plan(self, plan: SegmentPlan) -> None:
        """Save a clip's plan. Raises EdgesegError where it cannot be written."""
        with atomic_write(self._plan_path(plan.name), INTACT) as partial:
            partial.write_bytes(_plan.dump_json(plan))

    def path_of(self, plan: SegmentPlan, segment: Segment) -> Path:
        """Return the file of a measured segment; the name changes with the clip's file."""
        version = hashlib.sha256(f"{plan.size_bytes} {plan.mtime_ns}".encode()).hexdigest()[:8]
        return self._folder(plan.name) / f"{version}-{segment.stem}.npz"

    def done(self, path: Path) -> Measured | None:
        """Return the result of a measured segment whose file is there; else None."""
        known = self._done.get(self._key(path))
        try:
            return known if known is not None and path.stat().st_size == known.bytes else None
        except OSError:
            return None

    def add_measured(self, path: Path, measured: Measured) -> None:
        """Add a measured segment to the journal. Raises EdgesegError where its file is not here."""
        if not path.is_file():
            raise EdgesegError(
                f"{path}: a worker has written it, but not here; every worker needs the archive's folder "
                "under the same path: name a shared folder with --output"
            )
        assert self._stream is not None, "use ArchiveStore as a context manager"
        entry = {"segment": self._key(path), **_measured.dump_python(measured)}
        with write_errors(self.folder, INTACT):
            self._stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())
        self._done[self._key(path)] = measured

    def _read(self, path: Path) -> int:
        """Read the journal. Return how many bytes of it are whole lines."""
        if not path.exists():
            return 0
        whole = 0
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                entry = json.loads(line)
                key = entry.pop("segment")
                measured = _measured.validate_python(entry)
            except (ValueError, KeyError, TypeError, AttributeError):
                break
            if not line.endswith(b"\n"):
                break
            self._done[key] = measured
            whole += len(line)
        return whole

    def _key(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _folder(self, name: str) -> Path:
        # Clips in two folders may have the same name.
        mark = hashlib.sha256(name.encode()).hexdigest()[:8]
        return self.folder / f"{PurePosixPath(name).stem}-{mark}"

    def _plan_path(self, name: str) -> Path:
        return self._folder(name) / "plan.json"


class ArchiveLock:
    """A lock, as a context manager: one run at a time. Raises EdgesegError where another one works."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._stream: TextIO | None = None

    def __enter__(self) -> ArchiveLock:
        with write_errors(self._archive):
            self._archive.mkdir(parents=True, exist_ok=True)
            self._stream = (self._archive / ".lock").open("w")
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._stream.close()
            raise EdgesegError(
                f"{self._archive}: another run works on this archive; wait for its end, or name another "
                "folder"
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()
