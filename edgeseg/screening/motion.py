"""Motion meter: detects motion in the zones, on the luma plane at about 160 pixels across.

A pixel has changed when its luma differs from the reference by more than ``levels`` after two corrections.
Both come from the shortest interval that holds a third of all differences, over the whole picture (a
"shorth", Andrews et al. 1972, with a third in place of half): what moves would have to cover two thirds of
the picture to mislead it.

- *brightness*: its middle is taken off (clouds, exposure), at most ``levels`` of it: what changes more than
  that is news, whatever it is;
- *noise*: the bar is at least 5 standard deviations, but at most ``2 * levels``. Of a normal distribution the
  interval is 0.8615 standard deviations wide.

There is motion when at least ``share`` of the smallest zone has changed, inside the zones and a margin
around them of 5 % of the picture's width: what approaches is seen before it arrives, and a network's
answer depends on the surroundings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edgeseg.frames import U8, Picture
from edgeseg.geometry.polygons import F64, area_in_cells, rectangle
from edgeseg.settings import Polygon, Sensitivity, ZoneSettings

# One picture of 720p costs 60 us at this width, twice as wide three times that.
WIDTH_PX = 160
_MARGIN = 0.05
_LEAST_PX = 3
_NOISE = 5 / 0.8615
_SAME = 128
_EDGES = np.arange(257.0)


@dataclass(frozen=True, slots=True)
class Sensing:
    """levels: of 255, by which a pixel differs at least. share: of the smallest zone that must, 0-1."""

    levels: int
    share: float


SENSING: Mapping[Sensitivity, Sensing] = {
    "low": Sensing(24, 0.01),
    "medium": Sensing(12, 0.003),
    "high": Sensing(7, 0.0015),
}


class MotionMeter:
    """Compares pictures of one camera. Single-threaded; allocates only when the pictures' size changes.

    zones: where motion counts; without any, in the whole picture.
    """

    def __init__(self, zones: Sequence[ZoneSettings], sensing: Sensing) -> None:
        self._zones = tuple(zones)
        self._sensing = sensing
        self._picture_size_px = (0, 0)
        self._plain = self._rgb = self._difference = np.empty((0, 0), np.uint8)
        self._mask: U8 | None = None
        self._enough_px = 0
        self._histogram = np.zeros((256, 1), np.float32)
        self._below = np.zeros(257)
        self._in_zones = np.zeros((256, 1), np.float32)

    def fits(self, picture: Picture) -> bool:
        """Whether pictures of this size were shrunk before; else older shrunk ones cannot be compared."""
        return self._picture_size_px == (picture.width_px, picture.height_px)

    def shrink(self, picture: Picture, into: U8 | None = None) -> U8:
        """The picture's luma for ``moved``: uint8 (h, w), w at most ``WIDTH_PX``, smoothed over 3 x 3.

        into: what an earlier call gave, to be written again.
        """
        if not self.fits(picture):
            self._prepare(picture)
        size_px = self._plain.shape[1], self._plain.shape[0]
        if into is None or into.shape != self._plain.shape:
            into = np.empty_like(self._plain)
        if picture.layout == "rgb":
            if self._rgb.shape[:2] != self._plain.shape:
                self._rgb = np.empty((*self._plain.shape, 3), np.uint8)
            cv2.resize(picture.planes[0], size_px, dst=self._rgb, interpolation=cv2.INTER_LINEAR)
            cv2.cvtColor(self._rgb, cv2.COLOR_RGB2GRAY, dst=self._plain)
        else:
            cv2.resize(picture.planes[0], size_px, dst=self._plain, interpolation=cv2.INTER_LINEAR)
        cv2.blur(self._plain, (3, 3), dst=into)
        return into

    def moved(self, luma: U8, reference: U8) -> bool:
        """Whether enough has changed between two that ``shrink`` gave for pictures of the same size."""
        cv2.addWeighted(luma, 1, reference, -1, _SAME, dst=self._difference)
        middle, bar = self._bar()
        counts = self._histogram
        if self._mask is not None:
            cv2.calcHist([self._difference], [0], self._mask, [256], [0, 256], hist=self._in_zones)
            counts = self._in_zones
        return bool(
            counts[: max(0, middle - bar)].sum() + counts[middle + bar + 1 :].sum() >= self._enough_px
        )

    def _bar(self) -> tuple[int, int]:
        """The difference that means no change, and how far from it means change; in levels."""
        levels = self._sensing.levels
        cv2.calcHist([self._difference], [0], None, [256], [0, 256], hist=self._histogram)
        # below[n]: pixels whose difference is less than n.
        np.cumsum(self._histogram[:, 0], out=self._below[1:])
        third = self._below[-1] / 3
        ends = np.interp(self._below[:-1] + third, self._below, _EDGES, right=np.inf)
        widths = ends - _EDGES[:-1]
        start = int(widths.argmin())
        middle = round(start + float(widths[start]) / 2 - 0.5)
        middle = min(max(middle, _SAME - levels), _SAME + levels)
        return middle, min(max(levels, math.ceil(_NOISE * float(widths[start]))), 2 * levels)

    def _prepare(self, picture: Picture) -> None:
        width_px, height_px = picture.width_px, picture.height_px
        self._picture_size_px = width_px, height_px
        scale = min(1.0, WIDTH_PX / width_px)
        shape = max(1, round(height_px * scale)), max(1, round(width_px * scale))
        self._plain, self._difference = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
        self._rgb = np.empty((0, 0), np.uint8)
        covers = [_cover(zone, shape) for zone in self._zones]
        self._mask = None
        if covers:
            zones = np.any([cover > 0 for cover in covers], axis=0).astype(np.uint8)
            margin_px = max(1, round(_MARGIN * shape[1]))
            self._mask = cv2.dilate(zones, np.ones((2 * margin_px + 1, 2 * margin_px + 1), np.uint8))
        smallest_px = min((float(cover.sum()) for cover in covers), default=float(shape[0] * shape[1]))
        self._enough_px = max(_LEAST_PX, math.ceil(self._sensing.share * smallest_px))


def _cover(zone: ZoneSettings, shape: tuple[int, int]) -> F64:
    """How much of each small pixel lies in the zone, float64 ``shape``, 0-1."""

    def on_grid(rings: Sequence[Polygon]) -> list[F64]:
        return [np.array(ring) * (shape[1], shape[0]) for ring in rings]

    whole = rectangle(0, 0, shape[1], shape[0])
    return area_in_cells(on_grid(zone.include), on_grid(zone.exclude), whole, shape)
