"""Find and read the pictures that the ground truth describes. No picture is part of this repository.

Frame N of a clip is the N-th picture that PyAV decodes, counted from 0. `cdnet_highway` is a folder: frame N
is `in00NNNN.jpg`. A still picture has the one frame 0.
"""

from __future__ import annotations

import os
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]

HIGHWAY = "cdnet_highway"
_FOLDERS = ("video", "samples", "scenes/unlabelled/images", "opencv-doc")
# Where Debian's package opencv-doc puts vtest.avi, tree.avi and the still pictures.
_OPENCV_DOC = Path("/usr/share/doc/opencv-doc/examples/data")
_SUFFIXES = ("", ".mp4", ".avi")


def find_clip(clip: str, data: Path) -> Path | None:
    """Return the file or folder of a clip, named with or without its suffix; None where it is not to be had.

    `data` is the folder of test data. Clips of the package opencv-doc are sought in `data/opencv-doc`, in the
    folder that EDGESEG_OPENCV_DOC names, and where the package puts them.
    """
    if clip == HIGHWAY:
        folder = data / HIGHWAY / "input"
        return folder if folder.is_dir() else None
    folders = [data / name for name in _FOLDERS] + [_OPENCV_DOC]
    if named := os.environ.get("EDGESEG_OPENCV_DOC"):
        folders.append(Path(named))
    candidates = (folder / (clip + suffix) for folder in folders for suffix in _SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def read_frames(path: Path, frames: set[int]) -> dict[int, Picture]:
    """Return the wanted frames, each uint8 (height, width, 3) RGB. Raise ValueError if the clip lacks one."""
    if path.is_dir():
        found = {frame: _read_still(path / f"in{frame:06d}.jpg") for frame in frames}
    elif path.suffix in (".jpg", ".png", ".bmp"):
        found = {0: _read_still(path)}
    else:
        found = _decode(path, frames)
    if lacking := sorted(frames - set(found)):
        raise ValueError(
            f"{path}: has no frame {lacking[0]}; is this the clip that the ground truth was drawn on?"
        )
    return found


def _decode(path: Path, frames: set[int]) -> dict[int, Picture]:
    found: dict[int, Picture] = {}
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in frames:
                found[index] = frame.to_ndarray(format="rgb24")
            if len(found) == len(frames):
                break
    return found


def _read_still(path: Path) -> Picture:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"{path}: cannot be read as a picture")
    return np.asarray(picture[..., ::-1], np.uint8)
