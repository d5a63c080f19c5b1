"""Render the hand-drawn scenes: polygons in `scenes/NAME.json` -> label map in `scenes/NAME.png`.

    python -m tests.ground_truth.render            write every PNG anew
    python -m tests.ground_truth.render --check    exit 1 if a PNG differs from its polygons

A polygon covers the pixels whose centre (x + .5, y + .5) lies inside it by the even-odd rule. Later polygons
cover earlier ones. Afterwards every pixel whose upper, lower, left or right neighbour has another label
becomes `UNKNOWN`, so that a band of two pixels along each border is not scored. Pixels that no polygon covers
are `UNKNOWN` as well. See README.md for the format of the JSON files.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

SCENES = Path(__file__).resolve().parent / "scenes"
UNKNOWN = 255
CLASSES = (
    "other",
    "person",
    "bicycle",
    "motorcycle",
    "car",
    "bus",
    "truck",
    "boat",
    "animal",
    "furniture",
    "road",
    "pavement",
    "floor",
    "grass",
    "tree",
    "building",
    "wall",
    "sky",
    "water",
    "ground",
)
LABELS = {name: index for index, name in enumerate(CLASSES)} | {"unknown": UNKNOWN}

Points = npt.NDArray[np.float64]
LabelMap = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Polygon:
    """One region: its label and its corners, float64 (n, 2), x and y in pixels of the source frame."""

    label: int
    points: Points


@dataclass(frozen=True, slots=True)
class Scene:
    """One hand-drawn frame: where the picture is found, its size in pixels, polygons from back to front."""

    clip: str
    frame: int
    width_px: int
    height_px: int
    training: bool
    polygons: tuple[Polygon, ...]


def load_scene(path: Path) -> Scene:
    """Read `scenes/NAME.json`. Raise ValueError for a class or a polygon that cannot be."""
    raw = json.loads(path.read_text("utf-8"))
    polygons = []
    for number, item in enumerate(raw["polygons"]):
        place = f"{path.name}: polygon {number}"
        if item["class"] not in LABELS:
            raise ValueError(f"{place}: got class {item['class']!r}, expected one of {', '.join(LABELS)}")
        points = np.asarray(item["points"], np.float64)
        if points.ndim != 2 or len(points) < 3:
            raise ValueError(f"{place}: got {len(points)} points, need at least 3")
        polygons.append(Polygon(LABELS[item["class"]], points))
    width_px, height_px = raw["size"]
    return Scene(raw["clip"], raw["frame"], width_px, height_px, raw["training"], tuple(polygons))


def inside(points: Points, width_px: int, height_px: int) -> npt.NDArray[np.bool_]:
    """Return a mask, bool (height, width): pixel centres inside the polygon by the even-odd rule."""
    mask = np.zeros((height_px, width_px), np.bool_)
    left, top = np.clip(np.floor(points.min(axis=0)), 0, (width_px, height_px)).astype(int)
    right, bottom = np.clip(np.ceil(points.max(axis=0)), 0, (width_px, height_px)).astype(int)
    part = mask[top:bottom, left:right]
    x, y = np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        rows = np.flatnonzero((y0 > y) != (y1 > y))
        if len(rows):
            crossing = x0 + (y[rows] - y0) * (x1 - x0) / (y1 - y0)
            part[rows] ^= x[np.newaxis, :] < crossing[:, np.newaxis]
    return mask


def render(scene: Scene) -> LabelMap:
    """Return the label map, uint8 (height, width): class ids; `UNKNOWN` on borders and elsewhere."""
    labels = np.full((scene.height_px, scene.width_px), UNKNOWN, np.uint8)
    for polygon in scene.polygons:
        labels[inside(polygon.points, scene.width_px, scene.height_px)] = polygon.label
    border = np.zeros(labels.shape, np.bool_)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    labels[border] = UNKNOWN
    return labels


def read_labels(path: Path) -> LabelMap:
    """Return a rendered label map, uint8 (height, width). Raise ValueError if the file is none."""
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if labels is None or labels.dtype != np.uint8 or labels.ndim != 2:
        raise ValueError(f"{path}: expected a grey PNG of 8 bits; run python -m tests.ground_truth.render")
    return labels


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Render the polygons of the hand-drawn scenes.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing; 1 on a difference")
    parser.add_argument("--scenes", type=Path, default=SCENES, help="folder of NAME.json and NAME.png")
    options = parser.parse_args(arguments)
    differing = 0
    for path in sorted(options.scenes.glob("*.json")):
        labels, target = render(load_scene(path)), path.with_suffix(".png")
        if not options.check:
            cv2.imwrite(str(target), labels, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        elif not target.is_file() or not np.array_equal(read_labels(target), labels):
            print(f"{target}: differs from {path.name}; run python -m tests.ground_truth.render")
            differing += 1
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
