"""Pictures source: folders of pictures, as data sets and time-lapse cameras leave them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from edgeseg.errors import SourceError
from edgeseg.frames import FrameTime, Picture

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


class PicturesSource:
    """The pictures of a folder (not its subfolders), or one picture file.

    In the order of their names, numbers by value (``in9`` before ``in10``), ``rate_fps`` pictures to the
    second of camera time: by default one a second, so that every picture of a data set is analysed at
    any rate from 1 up and durations in rules count pictures. epoch_s: UTC of the first picture.
    """

    live = False
    corrupt_packets = 0
    notice = None

    def __init__(
        self, path: Path, *, shown: str | None = None, rate_fps: float = 1.0, epoch_s: float | None = None
    ) -> None:
        self.shown = shown or str(path)
        self.rate_fps: float | None = rate_fps
        self._path = path
        self._interval_s = 1 / rate_fps
        self._epoch_s = epoch_s or 0.0
        self._files: list[Path] = []

    @property
    def duration_s(self) -> float | None:
        """One interval for each picture. Open it first."""
        return len(self._files) * self._interval_s

    def __enter__(self) -> PicturesSource:
        if not self._path.exists():
            raise SourceError("not_found", f"{self.shown}: no such file or folder")
        self._files = pictures_in(self._path)
        if not self._files:
            raise SourceError(
                "not_found",
                f"{self.shown}: no picture in this folder ({', '.join(sorted(PICTURE_SUFFIXES))})",
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files = []

    def __iter__(self) -> Iterator[Picture]:
        for index, path in enumerate(self._files):
            time_s = index * self._interval_s
            try:
                data = np.fromfile(path, np.uint8)
            except OSError as error:
                raise SourceError("not_found", f"{path}: {error.strerror}") from None
            try:
                bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
            except cv2.error:
                bgr = None
            if bgr is None:
                raise SourceError("codec", f"{path}: not a picture that can be decoded")
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            yield Picture((rgb,), "rgb", True, "bt601", FrameTime(time_s, self._epoch_s + time_s, time_s))


def pictures_in(path: Path) -> list[Path]:
    """The pictures of a folder in their order, or the one picture that ``path`` is; none for a clip."""
    inside = path.iterdir() if path.is_dir() else [path]
    return sorted((file for file in inside if file.suffix.lower() in PICTURE_SUFFIXES), key=_by_number)


def _by_number(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]
