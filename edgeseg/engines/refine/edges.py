"""Edge refinement: class boundaries follow the picture's, by a guided filter on a grid twice as fine.

He, Sun, Tang: "Guided Image Filtering" (2013), computed on the label grid and applied on the finer one as in
He, Sun: "Fast Guided Filter" (2015). What is filtered is the support of each class, the guide is the luma of
the network's own input; the class of most support then takes the cell.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.engines.refine.votes import F32, Planes
from edgeseg.frames import U8

# Cells to either side that a cell is compared with, and the variance of luma, 0-1, above which an edge counts
# as one. Of radii 1 to 5 and variances 0.001 to 0.1 the best on every eighth training picture of CamVid, for
# all three shipped networks: wider ones eat poles and signs.
_RADIUS_CELLS = 1
_EDGE = 0.001


def finer(grid: tuple[int, int], input_size_px: tuple[int, int]) -> tuple[int, int]:
    """The grid (h, w) on which boundaries are drawn: twice as fine, as far as the input (w, h) goes."""
    return min(2 * grid[0], input_size_px[1]), min(2 * grid[1], input_size_px[0])


def follow(planes: Planes, view: U8, radius: int = _RADIUS_CELLS, edge: float = _EDGE) -> Planes:
    """The planes on the finer grid. view: uint8 (h, w, 3) RGB, the network's input."""
    grid = planes.support.shape[1:]
    fine = finer((grid[0], grid[1]), (view.shape[1], view.shape[0]))
    luma = cv2.cvtColor(view, cv2.COLOR_RGB2GRAY)
    guide, sharp = _luma_on(luma, (grid[0], grid[1])), _luma_on(luma, fine)
    side = 2 * radius + 1

    def mean(plane: npt.NDArray[np.floating]) -> F32:
        return np.asarray(cv2.boxFilter(plane, -1, (side, side), borderType=cv2.BORDER_REFLECT), np.float32)

    middle = mean(guide)
    spread = mean(guide * guide) - middle * middle + np.float32(edge)
    support: F32 = np.empty((len(planes.classes), *fine), np.float32)
    for plane, into in zip(planes.support, support, strict=True):
        level = mean(plane)
        slope = (mean(guide * plane) - middle * level) / spread
        offset = level - slope * middle
        np.multiply(_enlarged(mean(slope), fine), sharp, out=into)
        into += _enlarged(mean(offset), fine)
    return Planes(planes.classes, support)


def _luma_on(luma: npt.NDArray[np.generic], grid: tuple[int, int]) -> F32:
    small = cv2.resize(np.asarray(luma), (grid[1], grid[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255)


def _enlarged(plane: F32, grid: tuple[int, int]) -> F32:
    return np.asarray(cv2.resize(plane, (grid[1], grid[0]), interpolation=cv2.INTER_LINEAR), np.float32)
