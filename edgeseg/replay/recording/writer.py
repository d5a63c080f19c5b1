"""Recording writer: writes the occupancies of one camera, in bounded space."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO

from edgeseg.errors import EdgesegError
from edgeseg.events import ZoneOccupancy
from edgeseg.replay.recording.lines import Header, header_line, moment_line


def older_name(path: Path) -> Path:
    """Return the path of the older half of a bounded recording: ``yard.jsonl`` -> ``yard.1.jsonl``."""
    return path.with_name(f"{path.stem}.1{path.suffix}")


class RecordingWriter:
    """Writes observations to a file. A context manager; ``on_observation`` may be called from any thread.

    most_bytes: how much disk to use. At half of it the file becomes the older one, in place of the one
    before, and a new one begins, with a header of its own: what stays is the newest. None: no bound.
    A write error is stored in ``failure``, since the callers of ``on_observation`` cannot handle it.
    Raises EdgesegError where the file cannot be opened.
    """

    def __init__(self, path: Path, header: Header, most_bytes: int | None = None) -> None:
        self.failure: EdgesegError | None = None
        self.moments = 0
        self._path = path
        self._header = header
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._stream: TextIO | None = None
        self._written_bytes = 0
        self._longest_bytes = 0
        self._named: dict[str, set[str]] = {}

    def __enter__(self) -> RecordingWriter:
        try:
            self._begin()
        except OSError as error:
            self._end()
            raise self._write_error(error) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._end()

    def on_observation(self, occupancies: tuple[ZoneOccupancy, ...]) -> None:
        """Write one observation; nothing after a failure or the end."""
        if not occupancies:
            return
        with self._lock:
            if self._stream is None or self.failure is not None:
                return
            try:
                self._make_room()
                self._write(moment_line(occupancies, self._named) + "\n")
            except OSError as error:
                self.failure = self._write_error(error)
                return
            self.moments += 1

    def _make_room(self) -> None:
        if self._most_bytes is None or self._written_bytes + self._longest_bytes <= self._most_bytes // 2:
            return
        assert self._stream is not None
        self._stream.close()
        self._path.replace(older_name(self._path))
        self._begin()

    def _begin(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self._path.open("w", encoding="utf-8")
        self._written_bytes = 0
        # Each file can be read without the one before.
        self._named.clear()
        self._write(header_line(self._header) + "\n")

    def _end(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            # What could not be written before cannot be now, and was reported.
            with suppress(OSError):
                stream.close()

    def _write(self, text: str) -> None:
        assert self._stream is not None
        # Flushed, so that a recording which is killed ends with a whole line.
        self._stream.write(text)
        self._stream.flush()
        written_bytes = len(text.encode())
        self._written_bytes += written_bytes
        self._longest_bytes = max(self._longest_bytes, written_bytes)

    def _write_error(self, error: OSError) -> EdgesegError:
        return EdgesegError(f"{self._path}: cannot be written: {error.strerror or error}")
