"""Folders of labelled pictures, and what is said about the ones that are wrong."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.errors import ModelError
from edgeseg.zoo.data import VOID, Sample, find_split, index_classes, read_labels, read_sample


def write_pair(folder: Path, name: str, labels: np.ndarray, size_px: tuple[int, int] | None = None) -> Sample:
    """A grey picture of ``size_px`` (the labels' own by default) and its labels, in images/ and labels/."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    width, height = size_px or labels.shape[::-1]
    sample = Sample(folder / "images" / f"{name}.png", folder / "labels" / f"{name}.png")
    cv2.imwrite(str(sample.picture), np.full((height, width, 3), 90, np.uint8))
    cv2.imwrite(str(sample.labels), labels)
    return sample


def test_camvid_brings_its_own_split(data_dir: Path) -> None:
    split = find_split(data_dir / "camvid")
    assert (len(split.train), len(split.val)) == (367, 101)
    picture, labels = read_sample(split.val[0], 11)
    assert picture.shape == (360, 480, 3)
    assert labels.shape == (360, 480)
    assert set(np.unique(labels)) <= {*range(11), VOID}


def test_leave_one_sequence_out_validates_on_that_sequence_alone(data_dir: Path) -> None:
    split = find_split(data_dir / "camvid", leave_out="0006R0")
    assert len(split.val) == 101
    assert all(sample.picture.name.startswith("0006R0") for sample in split.val)
    assert not any(sample.picture.name.startswith("0006R0") for sample in split.train)


def test_every_fifth_sample_of_a_plain_folder_validates(tmp_path: Path) -> None:
    for index in range(10):
        write_pair(tmp_path, f"{index}", np.zeros((8, 8), np.uint8))
    split = find_split(tmp_path)
    assert [sample.picture.stem for sample in split.val] == ["4", "9"]
    assert len(split.train) == 8


def test_void_is_the_value_after_the_last_class_and_255(tmp_path: Path) -> None:
    sample = write_pair(tmp_path, "a", np.array([[0, 1, 2, 255]], np.uint8))
    assert read_labels(sample.labels, 2).tolist() == [[0, 1, VOID, VOID]]


def test_classes_are_counted_by_sample(tmp_path: Path) -> None:
    samples = [
        write_pair(tmp_path, "a", np.array([[0, 0, 1, 255]], np.uint8)),
        write_pair(tmp_path, "b", np.array([[0, 0, 0, 0]], np.uint8)),
    ]
    index = index_classes(samples, 2)
    assert index.pixels.tolist() == [[2, 1], [4, 0]]
    assert index.samples_with(1).tolist() == [0]
    assert index.frequencies().tolist() == pytest.approx([6 / 7, 1 / 7])


def test_labels_of_another_size(tmp_path: Path) -> None:
    sample = write_pair(tmp_path, "a", np.zeros((8, 8), np.uint8), size_px=(16, 8))
    with pytest.raises(ModelError, match=r"a\.png: 8 x 8, but a\.png is 16 x 8"):
        read_sample(sample, 2)


def test_a_class_beyond_the_list(tmp_path: Path) -> None:
    sample = write_pair(tmp_path, "a", np.array([[0, 7]], np.uint8))
    with pytest.raises(ModelError, match=r"a\.png: class 7, but the list has 2"):
        read_labels(sample.labels, 2)


def test_coloured_labels(tmp_path: Path) -> None:
    sample = write_pair(tmp_path, "a", np.zeros((8, 8, 3), np.uint8), size_px=(8, 8))
    with pytest.raises(ModelError, match="one 8-bit channel"):
        read_labels(sample.labels, 2)


def test_a_picture_without_labels(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", np.zeros((8, 8), np.uint8))
    (tmp_path / "labels" / "a.png").unlink()
    with pytest.raises(ModelError, match=r"a\.png: missing; .*needs a label PNG"):
        find_split(tmp_path)


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither images/ and labels/ nor CamVid"):
        find_split(tmp_path)


def test_pictures_without_labels_train_and_are_all_void(tmp_path: Path) -> None:
    for index in range(5):
        write_pair(tmp_path, f"{index}", np.zeros((8, 8), np.uint8))
    split = find_split(tmp_path, unlabelled=[tmp_path / "images"])
    assert (len(split.train), len(split.val)) == (9, 1)
    picture, labels = read_sample(split.train[-1], 2)
    assert picture.shape == (8, 8, 3)
    assert (labels == VOID).all()
    assert index_classes(split.train, 2).pixels.sum(axis=1).tolist() == [64] * 4 + [0] * 5


def test_too_few_pictures_to_validate(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", np.zeros((8, 8), np.uint8))
    with pytest.raises(ModelError, match="1 pictures to train and 0 to validate"):
        find_split(tmp_path)
