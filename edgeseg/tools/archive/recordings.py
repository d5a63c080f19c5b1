"""Recordings: finds clips below a folder, and their cameras."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeseg.errors import EdgesegError
from edgeseg.tools.archive.plan import Clip

SUFFIXES = frozenset(
    {".mp4", ".mkv", ".avi", ".mov", ".m4v", ".ts", ".mts", ".webm", ".flv", ".mpg", ".3gp", ".h264", ".h265"}
)


@dataclass(frozen=True, slots=True)
class FoundRecordings:
    """clips: by name. unassigned: files that belong to no camera of the pipeline file."""

    clips: tuple[Clip, ...]
    unassigned: tuple[str, ...]


def find(recordings: Path, cameras: Sequence[str], chosen: str | None) -> FoundRecordings:
    """Return the clips below a folder, or those that a list names.

    A list has a path on each line, relative to the list; a tab and a camera's name may follow; lines that
    begin with # are left out.

    A clip is of the camera whose name is one of its folders, or begins its file's name. chosen: all are of
    this camera; so they are where there is but one. Raises EdgesegError where nothing is found.
    """
    only = chosen or (cameras[0] if len(cameras) == 1 else None)
    clips, unassigned = {}, []
    for path, name, listed in _files(recordings):
        camera = listed or only or camera_of(name, cameras)
        if camera is None or camera not in cameras:
            unassigned.append(name)
        elif name not in clips:
            clips[name] = Clip(name, str(path), camera)
    if not clips and not unassigned:
        kinds = ", ".join(sorted(SUFFIXES))
        raise EdgesegError(f"{recordings}: no recording in it; expected files ending in {kinds}")
    return FoundRecordings(tuple(clips[name] for name in sorted(clips)), tuple(unassigned))


def camera_of(name: str, cameras: Sequence[str]) -> str | None:
    """Return a clip's camera by its path: the last folder that names one counts, of several the longest."""
    *folders, file = name.split("/")
    for folder in reversed(folders):
        if folder in cameras:
            return folder
    begins = [one for one in cameras if re.match(re.escape(one) + r"(?![A-Za-z0-9])", file)]
    return max(begins, key=len, default=None)


def _files(recordings: Path) -> Iterator[tuple[Path, str, str | None]]:
    """Yield absolute path, name, and the camera that a list names."""
    if recordings.is_dir():
        root = recordings.resolve()
        for folder, folders, files in os.walk(root):
            folders.sort()
            for file in sorted(files):
                path = Path(folder) / file
                if path.suffix.lower() in SUFFIXES and not file.startswith("."):
                    yield path, path.relative_to(root).as_posix(), None
        return
    if recordings.suffix.lower() in SUFFIXES:
        yield recordings.resolve(), recordings.name, None
        return
    try:
        lines = recordings.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not text"
        raise EdgesegError(
            f"{recordings}: {reason}; expected a folder of recordings, or a list with a path on each line"
        ) from None
    for line in lines:
        name, _, camera = line.partition("\t")
        if name.strip() and not name.startswith("#"):
            yield (recordings.parent / name.strip()).resolve(), name.strip(), camera.strip() or None
