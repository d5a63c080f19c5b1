"""The gate lets a faithful artefact pass, and names what is wrong with another."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgeseg.errors import ModelError
from edgeseg.frames import U8
from edgeseg.zoo.gate import Thresholds, judge

CLASSES = 4


def scene(seed: int, shift: tuple[float, float] = (0.0, 0.0)) -> U8:
    """A label map of smooth areas on a 96 x 120 grid, moved by ``shift`` (x, y) cells before rounding."""
    random = np.random.default_rng(seed)
    scores = random.normal(size=(CLASSES, 12, 15)).astype(np.float32)
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    large = [cv2.resize(one, (120, 96), interpolation=cv2.INTER_CUBIC) for one in scores]
    moved = [cv2.warpAffine(one, move, (120, 96), borderMode=cv2.BORDER_REPLICATE) for one in large]
    return np.argmax(moved, axis=0).astype(np.uint8)


def test_the_same_maps_are_perfect() -> None:
    maps = [scene(seed) for seed in range(3)]
    verdict = judge(maps, maps, CLASSES)
    assert verdict.agreement == 1.0
    assert verdict.class_iou == (1.0,) * CLASSES
    assert (verdict.occupancy_mean, verdict.occupancy_p95) == (0.0, 0.0)
    assert verdict.shift_cells == pytest.approx((0.0, 0.0), abs=0.01)
    assert verdict.refusals(Thresholds()) == ()


@pytest.mark.parametrize("shift", [(0.6, 0.0), (0.0, -0.7), (0.25, 0.25), (-1.0, 0.5)])
def test_a_shift_is_measured_in_cells(shift: tuple[float, float]) -> None:
    maps, moved = ([scene(seed, by) for seed in range(6)] for by in ((0.0, 0.0), shift))
    verdict = judge(maps, moved, CLASSES)
    assert verdict.shift_cells == pytest.approx(shift, abs=0.15)
    refused = [line for line in verdict.refusals(Thresholds()) if "shifted" in line]
    assert bool(refused) == (max(map(abs, shift)) >= 0.5)


def test_noise_is_no_shift() -> None:
    random = np.random.default_rng(0)
    maps = [scene(seed) for seed in range(4)]
    noisy = [
        np.where(random.random(one.shape) < 0.1, random.integers(0, CLASSES, one.shape), one) for one in maps
    ]
    verdict = judge(maps, [one.astype(np.uint8) for one in noisy], CLASSES)
    assert max(map(abs, verdict.shift_cells)) < 0.1
    assert verdict.agreement == pytest.approx(0.925, abs=0.01)
    assert any("labels agree on 92" in line for line in verdict.refusals(Thresholds()))


def test_occupancy_error_by_hand() -> None:
    reference = np.zeros((6, 8), np.uint8)
    candidate = reference.copy()
    # One zone of 2 x 2 cells: a quarter of it becomes class 1.
    candidate[0, 0] = 1
    verdict = judge([reference], [candidate], CLASSES)
    # Twelve zones with class 0, and class 1 in one of them: 25 points twice, else none.
    assert verdict.occupancy_mean == pytest.approx(2 * 25.0 / 13)
    assert "zone occupancy differs by 3.85" in " ".join(verdict.refusals(Thresholds()))


def test_grids_that_differ() -> None:
    with pytest.raises(ModelError, match=r"grids \(6, 8\) and \(3, 4\) differ"):
        judge([np.zeros((6, 8), np.uint8)], [np.zeros((3, 4), np.uint8)], CLASSES)


def test_no_pictures() -> None:
    with pytest.raises(ModelError, match="no pictures to compare on"):
        judge([], [], CLASSES)
