"""Soft targets on disk: probabilities of the classes at a quarter of the picture's size, as bytes."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.errors import ModelError
from edgeseg.frames import U8
from edgeseg.system.atomic_files import INTACT, atomic_write

STRIDE = 4


def save(path: Path, soft: npt.NDArray[np.float32], known: npt.NDArray[np.float32]) -> None:
    """Write whole or not at all. soft: (classes, h, w), sums to 1; known: 0-1 (h, w)."""
    height, width = known.shape
    size = (-(-width // STRIDE), -(-height // STRIDE))
    present = [index for index, channel in enumerate(soft) if channel.max() > 1 / 64]
    channels = [cv2.resize(soft[index], size, interpolation=cv2.INTER_AREA) for index in present]
    counted = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    levels = np.round(np.stack([*channels, counted]) * 255).astype(np.uint8)
    with atomic_write(path, INTACT) as partial, partial.open("wb") as file:
        np.savez_compressed(file, levels=levels, present=np.array(present, np.uint8))


def load(path: Path, classes: int) -> tuple[U8, U8]:
    """Levels uint8 (h, w, classes), about 255 in sum, and known uint8 (h, w). Raises ModelError."""
    try:
        with np.load(path) as arrays:
            levels, present = arrays["levels"], arrays["present"]
        rows, columns = levels.shape[1:]
        full = np.zeros((rows, columns, classes), np.uint8)
        full[..., present] = levels[:-1].transpose(1, 2, 0)
    except (OSError, ValueError, KeyError, IndexError, BadZipFile) as error:
        raise ModelError(f"{path}: not a file of soft targets ({error})") from error
    return full, np.ascontiguousarray(levels[-1])
