"""Labelled pictures: CamVid's own folders, or any folder with ``images/`` and ``labels/``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.errors import ModelError
from edgeseg.frames import U8

VOID = 255
"""Label value of pixels that count neither in training nor in scores."""

PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp")


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture file and its label file: one uint8 channel of the same size, class index or void.

    labels None: nothing is known, all is void; only a teacher's answers can be learned from it.
    soft: a file of soft targets (see soft_targets.py), where there is one.
    """

    picture: Path
    labels: Path | None
    soft: Path | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """Which samples train and which validate."""

    train: tuple[Sample, ...]
    val: tuple[Sample, ...]


def find_split(
    data: Path, *, leave_out: str | None = None, every: int = 5, unlabelled: Sequence[Path] = ()
) -> Split:
    """Find the samples of ``data``, sorted by file name.

    CamVid (``train``, ``trainannot``, ``val``, ``valannot``) brings its own split. In a folder with
    ``images/`` and ``labels/`` every ``every``-th sample validates; ``DIR/train`` and ``DIR/val``, each
    with these two, keep that split.
    leave_out: pictures of the training part whose name starts with this validate, and nothing else does.
    unlabelled: folders of pictures that train too, without labels.
    Raises ModelError if there is nothing to train or to validate on, or labels are missing.
    """
    if (data / "trainannot").is_dir():
        train, val = pairs(data / "train", data / "trainannot"), pairs(data / "val", data / "valannot")
    elif (data / "train" / "images").is_dir():
        train, val = (pairs(data / part / "images", data / part / "labels") for part in ("train", "val"))
    elif (data / "images").is_dir():
        both = pairs(data / "images", data / "labels")
        val = both[every - 1 :: every]
        train = tuple(sample for sample in both if sample not in val)
    else:
        raise ModelError(f"{data}: neither images/ and labels/ nor CamVid's train/ and trainannot/")
    if leave_out is not None:
        val = tuple(sample for sample in train if sample.picture.name.startswith(leave_out))
        train = tuple(sample for sample in train if sample not in val)
    if not train or not val:
        raise ModelError(
            f"{data}: {len(train)} pictures to train and {len(val)} to validate on; need at least one of each"
        )
    extra = [Sample(path, None) for folder in unlabelled for path in _pictures(folder)]
    return Split((*train, *extra), val)


def pairs(pictures: Path, labels: Path) -> tuple[Sample, ...]:
    """Every picture of one folder with the label PNG of the same name in the other. Raises ModelError."""
    if not labels.is_dir():
        raise ModelError(f"{labels}: not a folder; the labels of {pictures} belong there")
    found = []
    for picture in _pictures(pictures):
        label = labels / f"{picture.stem}.png"
        if not label.is_file():
            raise ModelError(f"{label}: missing; {picture} needs a label PNG of the same name")
        found.append(Sample(picture, label))
    return tuple(found)


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ModelError(f"{folder}: not a folder of pictures")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_ENDINGS)


def read_picture(path: Path) -> U8:
    """uint8 (h, w, 3) RGB. Raises ModelError if the file cannot be decoded."""
    picture = _decode(path, cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _decode(path: Path, flags: int) -> npt.NDArray[np.generic]:
    # Not cv2.imread, which writes a line of its own about a file that it cannot open.
    try:
        stored = np.fromfile(path, np.uint8)
        decoded = cv2.imdecode(stored, flags) if stored.size else None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from None
    except cv2.error:
        decoded = None
    if decoded is None:
        raise ModelError(f"{path}: cannot be decoded as a picture")
    return np.asarray(decoded)


def read_labels(path: Path, classes: int) -> U8:
    """uint8 (h, w), class index or VOID. The value ``classes`` means void too, as in CamVid's files.

    Raises ModelError if the file is not one channel of such values.
    """
    stored = _decode(path, cv2.IMREAD_UNCHANGED)
    if stored.ndim != 2 or stored.dtype != np.uint8:
        raise ModelError(
            f"{path}: shape {stored.shape}, {stored.dtype}; labels are one 8-bit channel of class indices"
        )
    labels: U8 = np.where(stored == classes, VOID, stored).astype(np.uint8)
    wrong = labels[(labels > classes) & (labels != VOID)]
    if wrong.size:
        raise ModelError(
            f"{path}: class {int(wrong.max())}, but the list has {classes} (0-{classes - 1}; {classes} and"
            f" {VOID} are void)"
        )
    return labels


def read_sample(sample: Sample, classes: int) -> tuple[U8, U8]:
    """Picture uint8 (h, w, 3) RGB and labels uint8 (h, w). Raises ModelError if their sizes differ."""
    picture = read_picture(sample.picture)
    if sample.labels is None:
        return picture, np.full(picture.shape[:2], VOID, np.uint8)
    labels = read_labels(sample.labels, classes)
    if picture.shape[:2] != labels.shape:
        raise ModelError(
            f"{sample.labels}: {labels.shape[1]} x {labels.shape[0]}, but {sample.picture.name} is"
            f" {picture.shape[1]} x {picture.shape[0]}; label the picture at its own size"
        )
    return picture, labels


@dataclass(frozen=True, slots=True, eq=False)
class ClassIndex:
    """pixels: int64 (samples, classes), how many pixels of each class each sample has."""

    pixels: npt.NDArray[np.int64]

    def frequencies(self) -> npt.NDArray[np.float64]:
        """Share of each class among all labelled pixels."""
        total = self.pixels.sum(axis=0)
        return np.asarray(total / max(int(total.sum()), 1))

    def samples_with(self, label: int) -> npt.NDArray[np.int64]:
        return np.flatnonzero(self.pixels[:, label])


def index_classes(samples: Sequence[Sample], classes: int) -> ClassIndex:
    """Count pixels by reading every sample once, which also proves that all of them are right: a mistake
    in the last one is said before training begins, not in the middle of it. Raises ModelError.
    """
    counts = []
    for sample in samples:
        _, labels = read_sample(sample, classes)
        counts.append(np.bincount(labels.ravel(), minlength=256)[:classes])
    return ClassIndex(np.asarray(counts, np.int64))


def to_input(picture: U8) -> npt.NDArray[np.float32]:
    """uint8 (..., 3) to float32 in [-1, 1]: the normalisation that MobileNetV2 was trained with."""
    return np.asarray(picture.astype(np.float32) / 127.5 - 1.0, np.float32)
