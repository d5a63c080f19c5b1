"""The classes for monitoring cameras, and which pictures of the training set judge instead of train."""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources
from pathlib import Path

from edgeseg.errors import ModelError
from edgeseg.zoo.data import PICTURE_ENDINGS, Sample, Split

CLASSES = (
    *("other", "person", "bicycle", "motorcycle", "car", "bus", "truck", "boat", "animal", "furniture"),
    *("road", "pavement", "floor", "grass", "tree", "building", "wall", "sky", "water", "ground"),
)
"""In the order of the label values."""

OBJECTS = tuple(range(1, 9))
"""person to animal: what has human labels, and what object scores are a mean of."""

STUFF = (0, *range(9, 20))
"""All the rest."""

VEHICLES = (4, 5, 6)
"""car, bus, truck: teachers tell them apart badly."""

PASCAL_ROWS: tuple[tuple[int, ...], ...] = (
    *((), (15,), (2,), (14,), (7,), (6,), (), (4,), (3, 8, 10, 12, 13, 17), (9, 11, 18)),
    *((), (), (), (), (16,), (), (), (), (), ()),
)
"""For each class the outputs of a Pascal VOC network that it is made of."""

JUDGES = ("intel_one-by-one-person-detection_", "intel_car-detection_", "vtest_")
"""Pictures of clips that judge the finished networks: their names begin so."""

SOURCES = "sources.csv"
"""File of the scenes: where each picture is from, and whether its licence is permissive."""

HELD_OUT = "scenes_held_out.txt"
"""File of this package: one picture's stem, or the beginning of stems and ``*``, a line."""


@cache
def held_out_names() -> tuple[str, ...]:
    """The entries of the held-out list, in its order."""
    text = resources.files("edgeseg.zoo").joinpath(HELD_OUT).read_text()
    return tuple(line for line in text.split("\n") if line and not line.startswith("#"))


def is_held_out(stem: str) -> bool:
    """Whether the labelled picture of this name (without ending) judges during training."""
    return stem in _exact() or stem.startswith(_beginnings())


def is_judge(stem: str) -> bool:
    """Whether the picture of this name belongs to a clip that judges the finished networks."""
    return stem.startswith(JUDGES)


def held_out_samples(scenes: Path, prefix: str = "") -> tuple[Sample, ...]:
    """The held-out pictures with human labels below ``scenes``, sorted by name. Raises ModelError if none."""
    folder = scenes / "labelled"
    found = [
        Sample(path, folder / "labels" / f"{path.stem}.png")
        for path in _pictures(folder / "images")
        if path.stem.startswith(prefix) and is_held_out(path.stem)
    ]
    if not found:
        raise ModelError(f"{folder / 'images'}: none of the held-out pictures {prefix}* is in it")
    return tuple(found)


def training_samples(
    scenes: Path, agreed: Path, permissive: frozenset[str] | None = None
) -> tuple[Sample, ...]:
    """Every picture below ``scenes`` that may train and has labels by agreement in ``agreed``.

    agreed: what ``edgeseg.zoo.pseudo_label`` wrote. permissive: if given, only pictures named there
    (``labelled/images/NAME.jpg``). Raises ModelError if there is none.
    """
    found = []
    for part in ("labelled", "unlabelled"):
        for path in _pictures(scenes / part / "images"):
            if is_judge(path.stem) or (part == "labelled" and is_held_out(path.stem)):
                continue
            if permissive is not None and f"{part}/images/{path.name}" not in permissive:
                continue
            labels = agreed / part / f"{path.stem}.png"
            soft = agreed / part / f"{path.stem}.npz"
            if labels.is_file() and soft.is_file():
                found.append(Sample(path, labels, soft))
    if not found:
        raise ModelError(
            f"{agreed}: no labels for the pictures of {scenes}; run edgeseg.zoo.pseudo_label first"
        )
    return tuple(found)


def find_scenes(scenes: Path, agreed: Path, *, permissive: bool = False) -> Split:
    """All that may train, and the held-out COCO pictures to validate on.

    permissive: leave out pictures whose licence does not allow commercial use of what is made of them.
    Raises ModelError.
    """
    allowed = permissive_pictures(scenes) if permissive else None
    return Split(training_samples(scenes, agreed, allowed), held_out_samples(scenes, "coco_"))


def permissive_pictures(scenes: Path) -> frozenset[str]:
    """Files below ``scenes`` that its ``sources.csv`` calls permissive. Raises ModelError."""
    path = scenes / SOURCES
    try:
        with path.open(newline="") as file:
            return frozenset(row["file"] for row in csv.DictReader(file) if row["permissive"] == "yes")
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise ModelError(f"{path}: expected columns file and permissive ({error})") from error


def source_of(stem: str) -> str:
    """``coco_000000000139`` -> ``coco``."""
    return stem.partition("_")[0]


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ModelError(f"{folder}: not a folder of pictures")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_ENDINGS)


@cache
def _exact() -> frozenset[str]:
    return frozenset(name for name in held_out_names() if not name.endswith("*"))


@cache
def _beginnings() -> tuple[str, ...]:
    return tuple(name[:-1] for name in held_out_names() if name.endswith("*"))
