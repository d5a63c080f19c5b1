"""The gate: may this artefact replace the float model? Judged on the user's own pictures, without labels.

Three questions. Does it say the same class, class by class? Would zones fill by the same shares? And does
it say it in the same place: a runtime that resizes by another convention shifts every label by half a
cell, which no agreement figure shows clearly but every thin object feels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.errors import ModelError
from edgeseg.frames import U8
from edgeseg.zoo.metrics import Confusion

ZONE_ROWS, ZONE_COLUMNS = 3, 4
"""Zones of the check: the picture cut into a grid, about the size of zones that people draw."""

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What an artefact must reach. occupancy in percentage points, shift in grid cells."""

    agreement: float = 0.97
    occupancy_mean: float = 1.0
    shift_cells: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """How a candidate compares with the reference.

    pictures: how many were judged. agreement: share of equal labels, 0-1. class_iou: intersection over
    union of each class's area in both (nan where neither has it). occupancy_mean and occupancy_p95:
    difference of a class's share of a zone, percentage points, over pictures, zones and the classes that
    either finds there. shift_cells: (x, y).
    """

    pictures: int
    agreement: float
    class_iou: tuple[float, ...]
    occupancy_mean: float
    occupancy_p95: float
    shift_cells: tuple[float, float]

    def refusals(self, wanted: Thresholds) -> tuple[str, ...]:
        """What speaks against the candidate, one line each; empty if nothing does."""
        said = []
        if self.agreement < wanted.agreement:
            said.append(f"labels agree on {self.agreement:.2%}, need {wanted.agreement:.2%}")
        if self.occupancy_mean > wanted.occupancy_mean:
            said.append(
                f"zone occupancy differs by {self.occupancy_mean:.2f} percentage points on average,"
                f" at most {wanted.occupancy_mean:.2f} is allowed"
            )
        if max(map(abs, self.shift_cells)) >= wanted.shift_cells:
            x, y = self.shift_cells
            said.append(
                f"labels are shifted by {x:+.2f}, {y:+.2f} cells, need less than {wanted.shift_cells}"
            )
        return tuple(said)


def judge(reference: Sequence[U8], candidate: Sequence[U8], classes: int) -> Verdict:
    """Label maps uint8 (h, w) of the same pictures from both, on the same grid.

    Raises ModelError if there are none or their grids differ.
    """
    if not reference:
        raise ModelError("gate: no pictures to compare on; give a folder of pictures or a clip with some")
    confusion = Confusion(classes)
    errors: list[Shares] = []
    lost = np.zeros((3, 3))
    for truth, found in zip(reference, candidate, strict=True):
        if truth.shape != found.shape:
            raise ModelError(f"gate: grids {truth.shape} and {found.shape} differ; compare at one input size")
        confusion.add(found, truth)
        before, after = _occupancy(truth, classes), _occupancy(found, classes)
        errors.append(np.abs(before - after)[(before > 0) | (after > 0)])
        lost += _disagreement(truth, found)
    every = 100.0 * np.concatenate(errors)
    scores = confusion.scores()
    return Verdict(
        pictures=len(reference),
        agreement=scores.pixel_accuracy,
        class_iou=tuple(float(value) for value in scores.iou),
        occupancy_mean=float(every.mean()),
        occupancy_p95=float(np.percentile(every, 95)),
        shift_cells=(_vertex(lost[1]), _vertex(lost[:, 1])),
    )


def _occupancy(labels: U8, classes: int) -> Shares:
    """Share of each class in each zone: (zones, classes)."""
    height, width = labels.shape
    rows = np.arange(height) * ZONE_ROWS // height
    columns = np.arange(width) * ZONE_COLUMNS // width
    zone = (rows[:, None] * ZONE_COLUMNS + columns[None, :]).ravel()
    zones = ZONE_ROWS * ZONE_COLUMNS
    counts = np.bincount(zone * classes + labels.ravel(), minlength=zones * classes).reshape(zones, classes)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def _disagreement(truth: U8, found: U8) -> Shares:
    """How many cells differ if ``found`` is moved by -1, 0 or 1 cells: (3, 3) by y and x, border left out."""
    inner = truth[1:-1, 1:-1]
    height, width = truth.shape
    return np.array(
        [
            [(inner != found[1 + y : height - 1 + y, 1 + x : width - 1 + x]).mean() for x in (-1, 0, 1)]
            for y in (-1, 0, 1)
        ]
    )


def _vertex(lost: Shares) -> float:
    """Where the disagreement is least, in cells: between three samples of a V, not of a parabola.

    Labels are constant along borders, so what disagrees grows with the distance moved, not with its square.
    """
    left, middle, right = (float(value) for value in lost)
    steepest = max(left, right) - middle
    if steepest <= 0:
        return 0.0 if left == right else (-1.0 if left < right else 1.0)
    return (left - right) / (2 * steepest)
