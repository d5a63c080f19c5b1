"""Polygons: exact areas of sets of polygons in the cells of a grid.

Trapezoidal decomposition: the plane is cut into horizontal slabs at every vertex, every crossing of two
edges and every row boundary. Inside a slab no edge begins, ends or crosses another, so the zone is a row
of trapezoids, and what a trapezoid covers of a cell has a closed form. No supersampling: the only error
is that of float64 (below 1e-9 of a cell; tests/stages/test_zones.py holds it).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]

_THINNEST_SLAB = 1e-12
# Bounds the memory: at 513 columns, and some ten arrays of float64, about 40 MB.
_LINES_AT_ONCE = 1024


def area_in_cells(include: Sequence[F64], exclude: Sequence[F64], within: F64, shape: tuple[int, int]) -> F64:
    """Area of (union of ``include`` less union of ``exclude``) and ``within``, cell by cell.

    include, exclude: polygons, each float64 (vertices, 2) as x, y in cells; edges close the ring. Overlaps
        count once. A ring that crosses itself is filled by the even-odd rule.
    within: one more polygon; nothing outside it counts.
    shape: rows, columns; cell (r, c) is the unit square [c, c + 1) x [r, r + 1).
    Returns float64 ``shape``, 0-1.
    """
    rings = [within, *include, *exclude]
    x0, y0, x1, y1 = np.concatenate([np.hstack([ring, np.roll(ring, -1, axis=0)]) for ring in rings]).T
    ring_of_edge = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    sloped = y0 != y1
    x0, y0, x1, y1, ring_of_edge = (part[sloped] for part in (x0, y0, x1, y1, ring_of_edge))
    slope = (x1 - x0) / (y1 - y0)

    cuts = np.concatenate([np.arange(shape[0] + 1.0), y0, y1, _crossings_y(x0, y0, x1, y1)])
    cuts = np.unique(np.clip(cuts, 0.0, shape[0]))
    thick = np.diff(cuts) > _THINNEST_SLAB
    top, bottom = cuts[:-1][thick], cuts[1:][thick]
    middle = (top + bottom) / 2

    slab, edge = np.nonzero((np.minimum(y0, y1) <= middle[:, None]) & (middle[:, None] < np.maximum(y0, y1)))
    x_middle = x0[edge] + (middle[slab] - y0[edge]) * slope[edge]
    order = np.lexsort((edge, x_middle, slab))
    slab, edge, x_middle = slab[order], edge[order], x_middle[order]
    crossed = ring_of_edge[edge]
    entered = _entered(slab, crossed)
    # A ring that was entered is left in the same slab, so each sum is 0 again at the slab's end.
    within_rings = np.cumsum(np.where(crossed == 0, entered, 0))
    include_rings = np.cumsum(np.where((crossed > 0) & (crossed <= len(include)), entered, 0))
    exclude_rings = np.cumsum(np.where(crossed > len(include), entered, 0))
    in_zone = (within_rings > 0) & (include_rings > 0) & (exclude_rings == 0)
    steps = np.diff(in_zone.astype(np.int8), prepend=0)

    place = np.flatnonzero(steps)
    slab, edge, steps = slab[place], edge[place], steps[place]
    x_top = x0[edge] + (top[slab] - y0[edge]) * slope[edge]
    x_bottom = x0[edge] + (bottom[slab] - y0[edge]) * slope[edge]
    signed_height = -steps * (bottom - top)[slab]
    row = middle[slab].astype(np.intp)
    area = np.zeros(shape)
    for first in range(0, len(row), _LINES_AT_ONCE):
        some = slice(first, first + _LINES_AT_ONCE)
        left = _left_of(x_top[some], x_bottom[some], shape[1])
        np.add.at(area, row[some], signed_height[some, None] * left)
    return area


def _entered(slab: npt.NDArray[np.intp], ring: npt.NDArray[np.intp]) -> npt.NDArray[np.int8]:
    """+1 where a crossing leads into its ring, -1 where out of it: they alternate from left to right.

    slab, ring: of each crossing, in the order of slabs and from left to right in each.
    """
    order = np.lexsort((ring, slab))
    group = np.stack([slab[order], ring[order]])
    begins = np.append(True, (group[:, 1:] != group[:, :-1]).any(axis=0))[: len(order)]
    begin = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
    entered = np.empty(len(order), np.int8)
    entered[order] = 1 - 2 * ((np.arange(len(order)) - begin) % 2)
    return entered


def rectangle(left: float, top: float, right: float, bottom: float) -> F64:
    """A ring around a rectangle, float64 (4, 2)."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _crossings_y(x0: F64, y0: F64, x1: F64, y1: F64) -> F64:
    """Heights at which two edges cross (Cramer's rule on every pair); parallel pairs have none."""
    dx, dy = x1 - x0, y1 - y0
    first, second = np.triu_indices(len(x0), k=1)
    cross = dx[first] * dy[second] - dy[first] * dx[second]
    first, second, cross = first[cross != 0], second[cross != 0], cross[cross != 0]
    gap_x, gap_y = x0[second] - x0[first], y0[second] - y0[first]
    along_first = (gap_x * dy[second] - gap_y * dx[second]) / cross
    along_second = (gap_x * dy[first] - gap_y * dx[first]) / cross
    meet = (along_first >= 0) & (along_first <= 1) & (along_second >= 0) & (along_second <= 1)
    crossings: F64 = y0[first[meet]] + along_first[meet] * dy[first[meet]]
    return crossings


def _left_of(x_top: F64, x_bottom: F64, columns: int) -> F64:
    """Mean share of each column's width that lies left of a line going from ``x_top`` to ``x_bottom``.

    The mean over the line of clip(x - column, 0, 1), integrated in closed form. Written with differences
    of the same floats, so that a nearly upright line loses no digits. Returns (lines, columns), 0-1.
    """
    column = np.arange(columns)
    low = np.minimum(x_top, x_bottom)[:, None] - column
    high = np.maximum(x_top, x_bottom)[:, None] - column
    low_clip, high_clip = np.clip(low, 0, 1), np.clip(high, 0, 1)
    beyond = np.maximum(high, 1) - np.maximum(low, 1)
    integral = (high_clip - low_clip) * (high_clip + low_clip) / 2 + beyond
    run = high - low
    share: F64 = np.where(run > 0, integral / np.where(run > 0, run, 1), low_clip)
    return share
