"""Picture measures: brightness, contrast and sharpness of one picture, from its luma plane."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgeseg.frames import U8, Picture

# As motion is measured; but not smoothed, for noise tells what changes from picture to picture.
# One size for all, so that blocks of it are whole pixels.
_SIZE_PX = (160, 90)
# Sharpness is that of the whole picture: of so many of its rows, smoothed to so many pixels across.
_ROWS = 90
_FINE_WIDTH_PX = 640
# Rounding to 8 bits adds 1/12 to a pixel's variance, twice for a difference, and again where it was coded.
_ROUNDING = 0.25
_GREY = 2.5
_CHROMA_STEP = 16
_NEARLY_WHITE = 250


@dataclass(frozen=True, slots=True, eq=False)
class PictureMeasures:
    """Levels are full range, 0-255, whatever the camera sends.

    luma: uint8 (90, 160), whatever the picture's shape. low, high: 2 % of the pixels are below and above.
    white: share of pixels that are clipped, 0-1. fine, coarse: mean squared differences along rows between
    neighbours at 640 pixels across, and four pixels apart. grey: without colour, as cameras send with
    infrared light.
    """

    luma: U8
    low: float
    high: float
    white: float
    fine: float
    coarse: float
    grey: bool

    @property
    def sharpness(self) -> float:
        """How much of the differences is fine detail: 1/16 for ramps wider than four pixels, 1/4 for steps of
        one; noise has more."""
        return self.fine / max(self.coarse, 1e-6)


def measure_picture(picture: Picture) -> PictureMeasures:
    """Measure one picture; some 100 us for 720p."""
    plane = picture.planes[0]
    grey = _is_grey(picture)
    if picture.layout == "rgb":
        plane = np.asarray(cv2.cvtColor(plane, cv2.COLOR_RGB2GRAY), np.uint8)
    luma = np.asarray(cv2.resize(plane, _SIZE_PX, interpolation=cv2.INTER_LINEAR), np.uint8)
    if picture.layout == "i420" and not picture.full_range:
        luma = np.asarray(cv2.LUT(luma, _TO_FULL_RANGE), np.uint8)
    below = np.cumsum(np.bincount(luma.ravel(), minlength=256))
    fine, coarse = _differences(plane)
    return PictureMeasures(
        luma=luma,
        low=float(np.searchsorted(below, 0.02 * luma.size)),
        high=float(np.searchsorted(below, 0.98 * luma.size)),
        white=float(1 - below[_NEARLY_WHITE - 1] / luma.size),
        fine=fine,
        coarse=coarse,
        grey=grey,
    )


_TO_FULL_RANGE = np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)


def _is_grey(picture: Picture) -> bool:
    if picture.layout == "rgb":
        some = picture.planes[0][::_CHROMA_STEP, ::_CHROMA_STEP].astype(np.int16)
        return bool((some.max(axis=2) - some.min(axis=2)).mean() < _GREY)
    step = _CHROMA_STEP // 2
    some = np.stack([plane[::step, ::step] for plane in picture.planes[1:3]]).astype(np.int16)
    return bool(np.abs(some - 128).mean() < _GREY)


def _differences(plane: U8) -> tuple[float, float]:
    step = max(1, round(plane.shape[1] / _FINE_WIDTH_PX))
    rows = plane[:: max(1, plane.shape[0] // _ROWS)]
    if step > 1:
        rows = np.asarray(cv2.blur(rows, (step, 1)), np.uint8)
    if rows.shape[1] <= 4 * step:
        return 0.0, 0.0
    energies = (
        cv2.norm(rows[:, apart:], rows[:, :-apart], cv2.NORM_L2SQR)
        / (rows.shape[0] * (rows.shape[1] - apart))
        for apart in (step, 4 * step)
    )
    fine, coarse = (max(0.0, float(energy) - _ROUNDING) for energy in energies)
    return fine, coarse
