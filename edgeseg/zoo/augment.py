"""Training crops: one affine warp for geometry, one look-up table for colour, pasted rare objects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.frames import U8
from edgeseg.zoo.data import VOID, ClassIndex, Sample, read_sample

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """crop_px: (width, height) of a crop. scale: range of the picture's enlargement, log-uniform.

    rare_crops: share of crops aimed at a pixel of ``rare`` classes (indices). paste: share of crops
    that receive the rare objects of a second crop (copy-paste, Ghiasi et al. 2021). gamma, contrast and
    channel_gain are half-widths of ranges around 1; brightness is in 0-255 levels.
    aspect: half-width of the range of the width against the height. turned: share of crops turned by a
    quarter or half turn. camera: multiplies the chances of camera_look.py. small: share of crops that
    receive small objects of ``rare`` classes. fisheye: share of crops bent by a wide lens. ground: share of
    crops that see little but a ground from near, as a camera above it does. The last four are for
    scene_crops.py.
    """

    crop_px: tuple[int, int] = (384, 288)
    scale: tuple[float, float] = (0.6, 2.0)
    rotate_deg: float = 5.0
    rare: tuple[int, ...] = ()
    rare_crops: float = 0.33
    paste: float = 0.25
    gamma: float = 0.3
    contrast: float = 0.25
    channel_gain: float = 0.1
    brightness: float = 16.0
    aspect: float = 0.0
    turned: float = 0.0
    camera: float = 0.0
    small: float = 0.0
    fisheye: float = 0.0
    ground: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """picture: uint8 (h, w, 3) RGB. labels: uint8 (h, w) with VOID.

    soft: uint8 (h/4, w/4, classes + 1), a teacher's probabilities as bytes and how much they count, or None.
    """

    picture: U8
    labels: U8
    soft: U8 | None = None


class Crops:
    """Draws crops. The same generator state gives the same crop."""

    def __init__(
        self, samples: Sequence[Sample], index: ClassIndex, classes: int, augmentation: Augmentation
    ) -> None:
        self._samples = samples
        self._index = index
        self._classes = classes
        self._augmentation = augmentation

    def draw(self, sample: int, random: np.random.Generator) -> Crop:
        """A crop of sample number ``sample``."""
        picture, labels = self._one(sample, random)
        wanted = self._augmentation
        if wanted.rare and random.random() < wanted.paste:
            other_picture, other_labels = self._one(int(random.integers(len(self._samples))), random)
            objects = np.isin(other_labels, wanted.rare)
            picture[objects], labels[objects] = other_picture[objects], other_labels[objects]
        return Crop(picture, labels)

    def _one(self, sample: int, random: np.random.Generator) -> tuple[U8, U8]:
        wanted = self._augmentation
        target = None
        if wanted.rare and random.random() < wanted.rare_crops:
            target = int(random.choice(wanted.rare))
            holders = self._index.samples_with(target)
            if holders.size:
                sample = int(random.choice(holders))
        picture, labels = read_sample(self._samples[sample], self._classes)
        matrix = self._geometry(labels, target, random)
        border = int(random.choice((0, 127)))
        coloured = recolour(picture, wanted, random)
        seen = cv2.warpAffine(
            coloured, matrix, wanted.crop_px, flags=cv2.INTER_LINEAR, borderValue=(border,) * 3
        )
        truth = cv2.warpAffine(labels, matrix, wanted.crop_px, flags=cv2.INTER_NEAREST, borderValue=(VOID,))
        return np.asarray(seen, np.uint8), np.asarray(truth, np.uint8)

    def _geometry(
        self,
        labels: U8,
        target: int | None,
        random: np.random.Generator,
        *,
        scales: tuple[float, float] | None = None,
    ) -> Matrix:
        """A 2 x 3 matrix from picture to crop coordinates.

        scales: instead of the wanted ones; the crop is then turned any way.
        """
        wanted = self._augmentation
        height, width = labels.shape
        crop_width, crop_height = wanted.crop_px
        low, high = scales or wanted.scale
        scale = math.exp(random.uniform(math.log(low), math.log(high)))
        centre = [
            _centre(width, crop_width / scale, random),
            _centre(height, crop_height / scale, random),
        ]
        pixels = np.flatnonzero(labels == target) if target is not None else np.empty(0)
        if pixels.size:
            y, x = divmod(int(random.choice(pixels)), width)
            # Off centre by up to a third of the crop, or the network learns that rare things sit there.
            centre = [
                _inside(x + random.uniform(-0.33, 0.33) * crop_width / scale, width, crop_width / scale),
                _inside(y + random.uniform(-0.33, 0.33) * crop_height / scale, height, crop_height / scale),
            ]
        angle = math.radians(random.uniform(-wanted.rotate_deg, wanted.rotate_deg))
        flip = -1.0 if random.random() < 0.5 else 1.0
        # No chance is taken where none is wanted: older recipes draw the same crops as ever.
        if scales is not None or (wanted.turned and random.random() < wanted.turned):
            angle += math.pi / 2 * int(random.integers(1, 4))
        cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
        linear = np.array([[flip * cosine, -sine], [flip * sine, cosine]])
        if wanted.aspect:
            wider = math.exp(random.uniform(-wanted.aspect, wanted.aspect) / 2)
            linear = linear @ np.diag([wider, 1 / wider])
        offset = np.array([crop_width, crop_height]) / 2 - linear @ np.array(centre)
        return np.hstack([linear, offset[:, None]])


def _centre(size: int, seen: float, random: np.random.Generator) -> float:
    if seen >= size:
        return size / 2
    return float(random.uniform(seen / 2, size - seen / 2))


def _inside(centre: float, size: int, seen: float) -> float:
    """Keep a crop that sees ``seen`` pixels inside ``size``: outside there is only padding to learn from."""
    return size / 2 if seen >= size else float(np.clip(centre, seen / 2, size - seen / 2))


def recolour(picture: U8, wanted: Augmentation, random: np.random.Generator) -> U8:
    """Gamma, contrast, gain of each channel and brightness, by chance within the wanted ranges."""
    ramp = np.arange(256, dtype=np.float64)[:, None] / 255.0
    gamma = math.exp(random.uniform(-wanted.gamma, wanted.gamma))
    contrast = 1.0 + random.uniform(-wanted.contrast, wanted.contrast)
    gain = 1.0 + random.uniform(-wanted.channel_gain, wanted.channel_gain, size=(1, 3))
    shift = random.uniform(-wanted.brightness, wanted.brightness)
    table = ((ramp**gamma - 0.5) * contrast + 0.5) * gain * 255.0 + shift
    return np.asarray(cv2.LUT(picture, np.clip(table, 0, 255).astype(np.uint8)[:, None, :]), np.uint8)
