"""The fine-tuning demonstration: what it labels, and what the network it starts from can do there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeseg.zoo import fine_tune_demo
from edgeseg.zoo.data import VOID, find_split, index_classes


def test_the_labelled_folder_is_one_that_trains(data_dir: Path, tmp_path: Path) -> None:
    fine_tune_demo.write_labelled(data_dir / "cdnet_highway", tmp_path)
    split = find_split(tmp_path)
    assert (len(split.train), len(split.val)) == (25, 6)
    counts = index_classes(split.train, 2).pixels
    assert (counts > 0).all()
    # Outlines, and what is outside the region of interest, are void.
    assert (counts.sum(axis=1) < 320 * 240).all()


def test_what_cdnet_leaves_open_is_void(data_dir: Path) -> None:
    labels = fine_tune_demo.truth_of(data_dir / "cdnet_highway", 1000)
    assert set(np.unique(labels)) == {0, 1, VOID}


def test_no_vehicle_is_in_both_parts() -> None:
    assert min(fine_tune_demo.JUDGE) > 950 > max(fine_tune_demo.TRAIN)


def test_before_fine_tuning(data_dir: Path) -> None:
    before = fine_tune_demo.judge(data_dir / "cdnet_highway", fine_tune_demo.START, ("car",))
    # .733 and .0073 here; a runtime that rounds differently flips a few border cells.
    assert before.iou == pytest.approx(0.733, abs=0.02)
    assert before.coverage_error == pytest.approx(0.0073, abs=0.002)
