"""The folder of an archive: what was measured, and a journal of it that survives whatever dies."""

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
    """What is known of one camera, measured in one way: ``measured/<camera>/<digest>``.

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
        """Whether nothing was measured in this way yet."""
        return not self._done

    @property
    def others(self) -> list[Path]:
        """What was measured of this camera in other ways, and is kept."""
        return [folder for folder in sorted(self._camera.iterdir()) if folder != self.folder]

    def plan_of(self, clip: Clip) -> SegmentPlan | None:
        """What was planned before, unless the file is another one now."""
        try:
            plan = _plan.validate_json(self._plan_path(clip.name).read_bytes())
            stat = Path(clip.path).stat()
        except (OSError, ValidationError):
            return None
        return plan if (plan.size_bytes, plan.mtime_ns) == (stat.st_size, stat.st_mtime_ns) else None

    def plans(self) -> list[SegmentPlan]:
        """Of every clip that was ever planned here, by name: also of recordings that are gone since."""
        found = []
        for path in self.folder.glob("*/plan.json"):
            with suppress(OSError, ValidationError):
                found.append(_plan.validate_json(path.read_bytes()))
        return sorted(found, key=lambda plan: plan.name)

    def keep_plan(self, plan: SegmentPlan) -> None:
        with atomic_write(self._plan_path(plan.name), INTACT) as partial:
            partial.write_bytes(_plan.dump_json(plan))

    def path_of(self, plan: SegmentPlan, segment: Segment) -> Path:
        """Where the segment is kept once it is measured; the name changes with the clip's file."""
        version = hashlib.sha256(f"{plan.size_bytes} {plan.mtime_ns}".encode()).hexdigest()[:8]
        return self._folder(plan.name) / f"{version}-{segment.stem}.npz"

    def done(self, path: Path) -> Measured | None:
        """What is known of a segment that is done and still there."""
        known = self._done.get(self._key(path))
        try:
            return known if known is not None and path.stat().st_size == known.bytes else None
        except OSError:
            return None

    def note(self, path: Path, measured: Measured) -> None:
        """The segment is done. Raises EdgesegError where its file is not here."""
        if not path.is_file():
            raise EdgesegError(
                f"{path}: a worker has written it, but not here; every worker needs the archive's folder "
                "under the same path: name a shared folder with --output"
            )
        assert self._stream is not None, "use ArchiveStore as a context manager"
        said = {"segment": self._key(path), **_measured.dump_python(measured)}
        with write_errors(self.folder, INTACT):
            self._stream.write(json.dumps(said, ensure_ascii=False) + "\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())
        self._done[self._key(path)] = measured

    def _read(self, path: Path) -> int:
        """How many bytes of the journal are whole lines."""
        if not path.exists():
            return 0
        whole = 0
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                said = json.loads(line)
                key = said.pop("segment")
                measured = _measured.validate_python(said)
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
        # Names of clips in two folders may be the same.
        mark = hashlib.sha256(name.encode()).hexdigest()[:8]
        return self.folder / f"{PurePosixPath(name).stem}-{mark}"

    def _plan_path(self, name: str) -> Path:
        return self._folder(name) / "plan.json"


class OneAtATime:
    """A context manager: no second run works on the archive meanwhile. Raises EdgesegError where one does."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._stream: TextIO | None = None

    def __enter__(self) -> OneAtATime:
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
