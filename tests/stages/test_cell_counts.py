"""The two ways of counting cells give the same shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseg.stages.cell_counts import CellCounter, CellWeights
from tests.support.examples import examples

CLASSES = 7
ROWS, COLUMNS = 24, 31


@st.composite
def zones(draw: st.DrawFn) -> list[CellWeights]:
    """1 to 6 overlapping boxes of whole cells, some with an edge of cut cells."""
    found = []
    for _ in range(draw(st.integers(1, 6))):
        top, left = draw(st.integers(0, ROWS - 5)), draw(st.integers(0, COLUMNS - 5))
        height, width = draw(st.integers(1, ROWS - top)), draw(st.integers(1, COLUMNS - left))
        area = np.zeros((ROWS, COLUMNS))
        area[top : top + height, left : left + width] = draw(st.sampled_from([1.0, 1 / 3, 0.7]))
        if draw(st.booleans()):
            area[top, left : left + width] = np.linspace(0.05, 0.95, width)
        index = np.flatnonzero(area)
        found.append(CellWeights(index, area.ravel()[index] / area.sum()))
    return found


@settings(deadline=None, max_examples=examples(60))
@given(zones(), st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([0, 100, 255]))
def test_regions_count_what_cells_count(
    some: list[CellWeights], seed: int, confident: bool, floor: int
) -> None:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, CLASSES, (ROWS // 4 + 1, COLUMNS // 4 + 1)).astype(np.uint8)
    labels = np.kron(coarse, np.ones((4, 4), np.uint8))[:ROWS, :COLUMNS].reshape(-1)
    confidence = random.integers(0, 256, ROWS * COLUMNS).astype(np.uint8) if confident else None
    answers = []
    for by_regions in (False, True):
        counter = CellCounter(some, [floor] * len(some), ROWS * COLUMNS, CLASSES, by_regions)
        counts = counter.count(labels, confidence)
        shares = counts.shares
        np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-9)
        answers.append((shares, counts.confidence))
    (one_by_one, mean), (in_regions, mean_in_regions) = answers
    np.testing.assert_allclose(in_regions, one_by_one, atol=1e-9)
    if mean is not None:
        np.testing.assert_allclose(mean_in_regions, mean, atol=1e-7)


def test_floors_that_differ() -> None:
    whole = CellWeights(np.arange(400), np.full(400, 1 / 400))
    labels, confidence = np.zeros(400, np.uint8), np.full(400, 128, np.uint8)
    shares = CellCounter([whole, whole], [128, 129], 400, CLASSES).count(labels, confidence).shares
    assert shares[0, 0] == pytest.approx(1.0)
    assert shares[1, CLASSES] == pytest.approx(1.0)


@pytest.mark.parametrize("floor", [0, 200])
def test_as_many_classes_as_a_label_can_name(floor: int) -> None:
    labels = np.arange(256, dtype=np.uint8).repeat(4)
    confidence = np.full(1024, 100, np.uint8)
    whole = CellWeights(np.arange(1024), np.full(1024, 1 / 1024))
    shares = CellCounter([whole], [floor], 1024, 256).count(labels, confidence).shares
    if floor:
        assert shares[0, 256] == pytest.approx(1.0)
    else:
        np.testing.assert_allclose(shares[0, :256], 1 / 256)
