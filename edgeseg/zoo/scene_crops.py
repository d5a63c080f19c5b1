"""Training crops for monitoring cameras: soft targets beside labels, camera looks, small pasted objects."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.frames import U8
from edgeseg.zoo import soft_targets
from edgeseg.zoo.augment import Augmentation, Crop, Crops, Matrix, recolour
from edgeseg.zoo.camera_look import camera_look, fisheye
from edgeseg.zoo.data import VOID, ClassIndex, Sample, read_sample

LEAST_PX = 250
"""A picture with fewer pixels of a class holds nothing to aim at or to paste."""

SMALL_PX = (14, 72)
"""Height of pasted small objects in the crop."""

GROUNDS = (10, 10, 10, 11, 12, 13, 19)
"""road, pavement, floor, grass and ground, road thrice: plain asphalt from above was "sky" without these."""

NEAR = (1.8, 4.0)
"""Enlargement of crops that see little but a ground."""

GROUND_PX = 8000
"""Least pixels of a ground that such crops are taken from."""

SHRUNK = 0.7
"""Below this scale a picture is averaged before it is warped: linear interpolation would alias."""


class SceneCrops(Crops):
    """Draws crops with soft targets. The same generator state gives the same crop."""

    def __init__(
        self, samples: Sequence[Sample], index: ClassIndex, classes: int, augmentation: Augmentation
    ) -> None:
        super().__init__(samples, index, classes, augmentation)
        self._holders = {
            label: np.flatnonzero(index.pixels[:, label] >= LEAST_PX) for label in augmentation.rare
        }
        self._grounds = {
            label: np.flatnonzero(index.pixels[:, label] >= GROUND_PX) for label in GROUNDS if label < classes
        }

    def draw(self, sample: int, random: np.random.Generator) -> Crop:
        """A crop of sample number ``sample``, or of another that holds a rare class."""
        wanted = self._augmentation
        crop = self._ground(random) if wanted.ground and random.random() < wanted.ground else None
        if crop is None:
            target = None
            if wanted.rare and random.random() < wanted.rare_crops:
                target, sample = self._holder(sample, random)
            crop = self._warped(sample, target, random)
        if wanted.rare and random.random() < wanted.paste:
            target, other = self._holder(sample, random)
            _paste(crop, self._warped(other, target, random), np.asarray(wanted.rare))
        if wanted.small and random.random() < wanted.small:
            for _ in range(int(random.integers(1, 6))):
                self._paste_small(crop, random)
        if random.random() < wanted.fisheye:
            crop = _bent(crop, random)
        picture = camera_look(recolour(crop.picture, wanted, random), random, wanted.camera)
        return Crop(np.ascontiguousarray(picture), crop.labels, crop.soft)

    def _ground(self, random: np.random.Generator) -> Crop | None:
        target = int(random.choice(GROUNDS))
        holders = self._grounds.get(target, np.empty(0))
        if not holders.size:
            return None
        return self._warped(int(random.choice(holders)), target, random, scales=NEAR)

    def _holder(self, sample: int, random: np.random.Generator) -> tuple[int | None, int]:
        target = int(random.choice(self._augmentation.rare))
        holders = self._holders[target]
        return (target, int(random.choice(holders))) if holders.size else (None, sample)

    def _read(self, sample: int) -> tuple[U8, U8, U8]:
        picture, labels = read_sample(self._samples[sample], self._classes)
        path = self._samples[sample].soft
        if path is None:
            rows, columns = (-(-side // soft_targets.STRIDE) for side in labels.shape)
            return picture, labels, np.zeros((rows, columns, self._classes + 1), np.uint8)
        levels, known = soft_targets.load(path, self._classes)
        return picture, labels, np.concatenate([levels, known[..., None]], axis=2)

    def _warped(
        self,
        sample: int,
        target: int | None,
        random: np.random.Generator,
        *,
        scales: tuple[float, float] | None = None,
    ) -> Crop:
        picture, labels, soft = self._read(sample)
        wanted = self._augmentation
        matrix = self._geometry(labels, target, random, scales=scales)
        size = wanted.crop_px
        border = (int(random.choice((0, 127))),) * 3
        scale = math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))
        seen = _warp_picture(picture, matrix, scale, size, border)
        truth = cv2.warpAffine(labels, matrix, size, flags=cv2.INTER_NEAREST, borderValue=(VOID,))
        stride = soft_targets.STRIDE
        quarter = _at_stride(matrix, stride)
        warped = _warp_channels(soft, quarter, (size[0] // stride, size[1] // stride))
        return Crop(seen, np.asarray(truth, np.uint8), warped)

    def _paste_small(self, crop: Crop, random: np.random.Generator) -> None:
        """One object of a rare class, shrunk to a few dozen pixels, somewhere in the lower part."""
        target, other = self._holder(0, random)
        if target is None:
            return
        picture, labels = read_sample(self._samples[other], self._classes)
        count, components, stats, _ = cv2.connectedComponentsWithStats((labels == target).astype(np.uint8))
        large = [index for index in range(1, count) if stats[index, cv2.CC_STAT_AREA] >= 4 * LEAST_PX]
        if not large:
            return
        index = int(random.choice(large))
        left, top, width, height = (int(value) for value in stats[index, :4])
        wanted_px = math.exp(random.uniform(math.log(SMALL_PX[0]), math.log(SMALL_PX[1])))
        scale = wanted_px / max(height, 0.5 * width)
        size = (round(width * scale), round(height * scale))
        rows, columns = crop.labels.shape
        if scale > 1 or min(size) < 3 or size[0] >= columns or size[1] >= rows:
            return
        part = (slice(top, top + height), slice(left, left + width))
        mask = (components[part] == index).astype(np.float32)
        alpha = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
        small = cv2.resize(picture[part], size, interpolation=cv2.INTER_AREA)
        if random.random() < 0.5:
            alpha, small = alpha[:, ::-1], small[:, ::-1]
        x = int(random.integers(0, columns - size[0]))
        y = int(random.integers(int(0.25 * (rows - size[1])), rows - size[1] + 1))
        place = (slice(y, y + size[1]), slice(x, x + size[0]))
        blend = alpha[..., None]
        crop.picture[place] = (crop.picture[place] * (1 - blend) + small * blend).astype(np.uint8)
        inside = alpha > 0.5
        crop.labels[place][inside] = target
        full = np.zeros((rows, columns), np.bool_)
        full[place] = inside
        _teach(crop, full, np.full((rows, columns), target, np.uint8))


def _paste(crop: Crop, other: Crop, rare: npt.NDArray[np.int64]) -> None:
    objects = np.isin(other.labels, rare)
    crop.picture[objects] = other.picture[objects]
    crop.labels[objects] = other.labels[objects]
    _teach(crop, objects, other.labels)


def _teach(crop: Crop, where: npt.NDArray[np.bool_], labels: U8) -> None:
    """Let the soft target say what was pasted ``where``."""
    if crop.soft is None:
        return
    stride = soft_targets.STRIDE
    cells = where[stride // 2 :: stride, stride // 2 :: stride]
    coarse = labels[stride // 2 :: stride, stride // 2 :: stride]
    crop.soft[cells] = 0
    crop.soft[cells, coarse[cells]] = 255
    crop.soft[cells, -1] = 255


def _bent(crop: Crop, random: np.random.Generator) -> Crop:
    x, y = fisheye((crop.labels.shape[0], crop.labels.shape[1]), random)
    picture = cv2.remap(crop.picture, x, y, cv2.INTER_LINEAR, borderValue=(0, 0, 0))
    labels = cv2.remap(crop.labels, x, y, cv2.INTER_NEAREST, borderValue=(VOID,))
    soft = crop.soft
    if soft is not None:
        stride = soft_targets.STRIDE
        half = (stride - 1) / 2
        grid_x = (x[stride // 2 :: stride, stride // 2 :: stride] - half) / stride
        grid_y = (y[stride // 2 :: stride, stride // 2 :: stride] - half) / stride
        parts = [
            cv2.remap(np.ascontiguousarray(soft[..., start : start + 4]), grid_x, grid_y, cv2.INTER_LINEAR)
            for start in range(0, soft.shape[2], 4)
        ]
        soft = _joined(parts)
    return Crop(np.asarray(picture, np.uint8), np.asarray(labels, np.uint8), soft)


def _warp_picture(
    picture: U8, matrix: Matrix, scale: float, size: tuple[int, int], border: tuple[int, int, int]
) -> U8:
    if scale < SHRUNK:
        height, width = picture.shape[:2]
        small = (max(round(width * scale), 1), max(round(height * scale), 1))
        picture = np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), np.uint8)
        ratio = np.array([width / small[0], height / small[1]])
        linear = matrix[:, :2] * ratio
        # Pixel centres: x = (small x + 1/2) * ratio - 1/2.
        matrix = np.hstack([linear, (matrix[:, 2] + matrix[:, :2] @ ((ratio - 1) / 2))[:, None]])
    warped = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderValue=border)
    return np.asarray(warped, np.uint8)


def _at_stride(matrix: Matrix, stride: int) -> Matrix:
    """The same map between grids of cells: x = stride * cell + (stride - 1) / 2."""
    half = (stride - 1) / 2
    offset = (matrix[:, :2] @ np.array([half, half]) + matrix[:, 2] - half) / stride
    return np.hstack([matrix[:, :2], offset[:, None]])


def _warp_channels(array: U8, matrix: Matrix, size: tuple[int, int]) -> U8:
    # OpenCV warps four channels at most.
    parts = [
        cv2.warpAffine(
            np.ascontiguousarray(array[..., start : start + 4]), matrix, size, flags=cv2.INTER_LINEAR
        )
        for start in range(0, array.shape[2], 4)
    ]
    return _joined(parts)


def _joined(parts: Sequence[npt.NDArray[np.generic]]) -> U8:
    return np.concatenate([part if part.ndim == 3 else part[..., None] for part in parts], axis=2).astype(
        np.uint8
    )
