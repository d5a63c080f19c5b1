"""Read the tables of the ground truth: boxes, the state of the sampled frames, and visits."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# Width and height in pixels of the source, by the stem of the clip's tables.
SIZES_PX = {
    "one-by-one-person-detection": (768, 432),
    "vtest": (768, 576),
    "car-detection": (768, 432),
    "cdnet_highway": (320, 240),
}


@dataclass(frozen=True, slots=True)
class Box:
    """The visible part of one object, in pixels of the source frame; x1 and y1 are the first outside."""

    frame: int
    name: str
    x0: int
    y0: int
    x1: int
    y1: int
    occluded: bool


@dataclass(frozen=True, slots=True)
class Visit:
    """One object from its first to its last visible frame, both included."""

    name: str
    start_s: float
    end_s: float
    start_frame: int
    end_frame: int


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def boxes(clip: str) -> list[Box]:
    """Return the boxes of a clip, in the order of the frames."""
    return [
        Box(
            int(row["frame"]),
            row["class"],
            int(row["x0"]),
            int(row["y0"]),
            int(row["x1"]),
            int(row["y1"]),
            row["occluded"] == "1",
        )
        for row in _rows(FOLDER / "boxes" / f"{clip}.csv")
    ]


def frame_states(clip: str) -> dict[int, str]:
    """Return the sampled frames of a clip: `objects`, `empty` (no person, no vehicle) or `doubtful`."""
    rows = _rows(FOLDER / "boxes" / "frames.csv")
    return {int(row["frame"]): row["state"] for row in rows if row["clip"] == clip}


def visits(clip: str) -> list[Visit]:
    """Return the visits of a clip, by their start."""
    return [
        Visit(
            row["class"],
            float(row["start_s"]),
            float(row["end_s"]),
            int(row["start_frame"]),
            int(row["end_frame"]),
        )
        for row in _rows(FOLDER / "visits" / f"{clip}.csv")
    ]
