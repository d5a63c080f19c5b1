"""File source: clips on disk."""

from __future__ import annotations

from pathlib import Path

from edgeseg.errors import SourceError
from edgeseg.settings import DecodeName
from edgeseg.sources.decode import Opening
from edgeseg.sources.video_source import VideoSource

_MP4_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".3gp"})


class FileSource(VideoSource):
    """A clip. ``epoch_s``: UTC of its beginning; None takes its own creation time, or else 0."""

    def __init__(
        self,
        path: Path,
        *,
        shown: str | None = None,
        epoch_s: float | None = None,
        decode: DecodeName = "software",
    ) -> None:
        # ``file:`` keeps a colon in a name from being read as a protocol, and nothing that a playlist
        # names may be fetched from elsewhere.
        only_files = {"protocol_whitelist": "file"}
        opening = Opening(f"file:{path}", shown or str(path), options=only_files, decode=decode)
        super().__init__(opening, live=False, epoch_s=epoch_s)
        self._path = path

    def __enter__(self) -> FileSource:
        try:
            super().__enter__()
        except SourceError as error:
            if error.reason == "codec" and self._path.stat().st_size == 0:
                raise SourceError("truncated", f"{self.shown}: the file is empty") from None
            if error.reason == "codec" and self._path.suffix.lower() in _MP4_SUFFIXES:
                self._check_index()
            raise
        return self

    def _check_index(self) -> None:
        """MP4 boxes (ISO/IEC 14496-12, 4.2): a recording cut off before its ``moov`` has no index."""
        kinds = set()
        size_of_file = self._path.stat().st_size
        with self._path.open("rb") as file:
            position = 0
            while position + 8 <= size_of_file:
                file.seek(position)
                head = file.read(16)
                size, kind = int.from_bytes(head[:4], "big"), head[4:8]
                if size == 1:
                    size = int.from_bytes(head[8:16], "big")
                kinds.add(kind)
                if size < 8:
                    break
                position += size
        if b"ftyp" in kinds and b"moov" not in kinds:
            raise SourceError(
                "truncated",
                f"{self.shown}: cut off before its index (moov) was written, {size_of_file} bytes are left; "
                "get the whole file",
            ) from None
