"""The definitions of the FCN paper, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseg.zoo.metrics import Confusion


def test_scores_by_hand() -> None:
    truth = np.array([[0, 0, 0, 1], [1, 1, 2, 255]], np.uint8)
    predicted = np.array([[0, 0, 1, 1], [1, 0, 2, 2]], np.uint8)
    confusion = Confusion(3)
    confusion.add(predicted, truth)
    scores = confusion.scores()
    assert confusion.counts.tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 1]]
    assert scores.iou.tolist() == pytest.approx([2 / 4, 2 / 4, 1.0])
    assert scores.mean_iou == pytest.approx(2 / 3)
    assert scores.pixel_accuracy == pytest.approx(5 / 7)
    assert scores.frequency_weighted_iou == pytest.approx((3 * 0.5 + 3 * 0.5 + 1.0) / 7)


def test_one_matrix_over_the_set_and_not_a_mean_of_pictures() -> None:
    confusion = Confusion(2)
    confusion.add(np.zeros((1, 8), np.uint8), np.zeros((1, 8), np.uint8))
    confusion.add(np.zeros((1, 2), np.uint8), np.ones((1, 2), np.uint8))
    assert confusion.scores().mean_iou == pytest.approx((8 / 10 + 0) / 2)


def test_a_class_that_never_occurs_does_not_count() -> None:
    confusion = Confusion(3)
    confusion.add(np.array([0, 1], np.uint8), np.array([0, 1], np.uint8))
    scores = confusion.scores()
    assert np.isnan(scores.iou[2])
    assert scores.mean_iou == 1.0


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2, 3, 255])), min_size=1, max_size=60))
def test_counts_are_the_labelled_pixels(pairs: list[tuple[int, int]]) -> None:
    predicted, truth = (np.array(side, np.uint8) for side in zip(*pairs, strict=True))
    confusion = Confusion(4)
    confusion.add(predicted, truth)
    assert confusion.counts.sum() == (truth != 255).sum()
    assert 0.0 <= confusion.scores().mean_iou <= 1.0
