"""Crops: picture and labels stay aligned, rare classes are found, and a seed repeats itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.zoo.augment import Augmentation, Crops
from edgeseg.zoo.data import VOID, Sample, index_classes

PLAIN = Augmentation(crop_px=(64, 48), gamma=0.0, contrast=0.0, channel_gain=0.0, brightness=0.0, paste=0.0)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """A ground of class 0 with a large square of class 1; in the last picture a speck of class 2 too.

    A pixel's level is 40 + 80 times its class, so that a picture says what its labels must be.
    """
    made = []
    for index in range(4):
        labels = np.zeros((96, 128), np.uint8)
        labels[20:60, 10 + 20 * index : 50 + 20 * index] = 1
        if index == 3:
            labels[80:84, 4:8] = 2
        sample = Sample(tmp_path / f"{index}.png", tmp_path / f"{index}_labels.png")
        cv2.imwrite(str(sample.picture), np.repeat(40 + 80 * labels[..., None], 3, axis=2))
        cv2.imwrite(str(sample.labels), labels)
        made.append(sample)
    return made


def test_picture_and_labels_stay_aligned(samples: list[Sample]) -> None:
    crops = Crops(samples, index_classes(samples, 3), 3, PLAIN)
    random = np.random.default_rng(0)
    agree = []
    for index in range(40):
        crop = crops.draw(index % 4, random)
        picture, labels = crop.picture, crop.labels
        assert picture.shape == (48, 64, 3)
        inside = labels != VOID
        agree.append(np.abs(picture[..., 0][inside].astype(int) - 40 - 80 * labels[inside]) < 20)
    # Linear and nearest interpolation differ along edges, and only there.
    assert np.concatenate(agree).mean() > 0.97


def test_crops_aimed_at_a_rare_class_hold_it(samples: list[Sample]) -> None:
    index = index_classes(samples, 3)
    aimed = dataclasses.replace(PLAIN, rare=(2,), rare_crops=1.0, rotate_deg=0.0)
    crops = Crops(samples, index, 3, aimed)
    random = np.random.default_rng(1)
    assert all((crops.draw(0, random).labels == 2).any() for _ in range(20))


def test_pasted_objects_bring_pixels_and_labels(samples: list[Sample]) -> None:
    pasting = dataclasses.replace(PLAIN, rare=(1,), rare_crops=0.0, paste=1.0)
    without = dataclasses.replace(pasting, paste=0.0)
    index = index_classes(samples, 3)
    shares = []
    for wanted in (pasting, without):
        crops, random = Crops(samples, index, 3, wanted), np.random.default_rng(2)
        drawn = [crops.draw(0, random) for _ in range(30)]
        shares.append(np.mean([(crop.labels == 1).mean() for crop in drawn]))
        pixels = np.concatenate([crop.picture[..., 0][crop.labels == 1] for crop in drawn])
        assert np.median(pixels) == 120
    assert shares[0] > 1.2 * shares[1]


def test_a_seed_repeats_itself(samples: list[Sample]) -> None:
    wanted = Augmentation(crop_px=(64, 48), rare=(1, 2))
    crops = Crops(samples, index_classes(samples, 3), 3, wanted)
    first, second = (crops.draw(1, np.random.default_rng(5)) for _ in range(2))
    other = crops.draw(1, np.random.default_rng(6))
    assert np.array_equal(first.picture, second.picture)
    assert np.array_equal(first.labels, second.labels)
    assert not np.array_equal(first.picture, other.picture)
