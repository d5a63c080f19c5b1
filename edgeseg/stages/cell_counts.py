"""Cell counts: classes in weighted sets of cells, counted in the way that is cheapest for the sets at hand.

One by one, every cell of every zone is an entry of one weighted ``bincount``: 4 ns each, so 16 zones on a
128 x 128 grid take 0.1 ms, but on 513 x 513 labels (Coral's networks) 1.4 ms. There the grid is cut into
*regions* of cells that count alike in all zones, and what is counted is runs of equal labels inside a
region: label maps consist of long ones. What a region counts for in each zone is one small matrix. Cells
that a zone's edge cuts have weights of their own and are entries as before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.frames import U8
from edgeseg.geometry.polygons import F64

Index = npt.NDArray[np.intp]

# Cost of the two ways, in the time of one entry of a bincount: finding runs looks at every cell, and every
# class of every region of a zone is multiplied and added. Measured at 65 x 65 to 513 x 513, 1 to 256 zones.
_CELL_COST = 0.15
_BIN_COST = 0.3
# After an inference nothing is in the caches, not even numpy's code, and regions take three times the calls:
# on a 184 x 136 grid 0.38 ms instead of 0.25, though in a loop by themselves 0.07 instead of 0.11.
_COLD_COST = 30_000
# Whole cells of a zone weigh the same up to float64's rounding; regions need it exact.
_DIGITS = 12
# Weights that fewer cells share are not worth a region.
_LEAST_CELLS = 16


@dataclass(frozen=True, slots=True, eq=False)
class CellWeights:
    """What each cell of a label map counts for in one zone.

    index: intp (k,), positions in the flattened (views, rows, columns) grid, ascending.
    weight: float64 (k,), the cell's share of the zone's area; adds up to 1.
    """

    index: Index
    weight: F64


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """shares: float64 (zones, classes + 1), each row adds up to 1; in the last column what lies below the
    zone's floor. confidence: float64 (zones,), 0-255, weighted by area; None where the model gives none."""

    shares: F64
    confidence: F64 | None


class _Entries:
    """Cells one by one. Keeps its buffers: single-threaded."""

    def __init__(self, zones: Sequence[CellWeights], floors: Sequence[int], classes: int) -> None:
        sizes = [len(zone.index) for zone in zones]
        self._shape = (len(zones), classes + 1)
        self._index: Index = np.concatenate([zone.index for zone in zones])
        self._weight: F64 = np.concatenate([zone.weight for zone in zones])
        self._offset: Index = np.repeat(np.arange(len(zones)) * (classes + 1), sizes)
        self._floor: U8 = np.repeat(np.array(floors, np.uint8), sizes)
        # reduceat takes the next zone's first share for a zone without cells.
        self._filled = np.flatnonzero(sizes) if 0 in sizes else slice(None)
        self._starts: Index = np.cumsum([0, *sizes[:-1]])[self._filled]
        self._some_floor = any(floors)
        self._last = np.array(classes, np.uint8 if classes <= 255 else np.uint16)
        self._label: U8 = np.empty(len(self._index), np.uint8)
        self._sure: U8 = np.empty(len(self._index), np.uint8)
        self._key: Index = np.empty(len(self._index), np.intp)
        self._share: F64 = np.empty(len(self._index))

    def count(self, labels: U8, confidence: U8 | None) -> Counts:
        # Indices were made for this grid: "clip" spares numpy a copy through a buffer.
        slot: npt.NDArray[np.unsignedinteger] = np.take(labels, self._index, out=self._label, mode="clip")
        mean = None
        if confidence is not None:
            np.take(confidence, self._index, out=self._sure, mode="clip")
            np.multiply(self._weight, self._sure, out=self._share)
            mean = np.zeros(self._shape[0])
            mean[self._filled] = np.add.reduceat(self._share, self._starts)
            if self._some_floor:
                # The last slot is the largest, so a maximum moves uncertain cells there.
                slot = np.maximum(slot, (self._sure < self._floor) * self._last)
        np.add(self._offset, slot, out=self._key)
        # numpy's type hints overlook the weights, which make the counts float64.
        counts: F64 = np.bincount(self._key, self._weight, minlength=self._shape[0] * self._shape[1])  # type: ignore[assignment]
        return Counts(counts.reshape(self._shape), mean)


class _Regions:
    """Runs of equal labels inside regions. Keeps its buffers: single-threaded.

    region: intp (cells,), region number of each cell. pairs: intp (k,) each, zone and region that have a
    weight, zones ascending, each zone at least once. weight: float64 (k,), what one cell of the region counts
    for in the zone. cut: the cells that edges cut. floor: of all zones.
    """

    def __init__(
        self,
        region: Index,
        pairs: tuple[Index, Index],
        weight: F64,
        cut: _Entries | None,
        floor: int,
        classes: int,
    ) -> None:
        edge = np.append(True, region[1:] != region[:-1])
        self._slots = classes + 1
        self._region = region
        self._edge = edge
        self._run_start = np.flatnonzero(edge)
        self._run_region = region[self._run_start]
        self._regions = int(region.max()) + 1
        self._paired = pairs[1]
        self._zone_start = np.flatnonzero(np.append(True, pairs[0][1:] != pairs[0][:-1]))
        self._weight = weight
        self._cut = cut
        self._floor = np.uint8(floor)
        self._last = np.array(classes, np.uint8 if classes <= 255 else np.uint16)
        self._changed = np.ones(len(region), np.bool_)

    def count(self, labels: U8, confidence: U8 | None) -> Counts:
        slot: npt.NDArray[np.unsignedinteger] = labels
        if confidence is not None and self._floor > 0:
            slot = np.maximum(labels, (confidence < self._floor) * self._last)
        changed = self._changed
        np.not_equal(slot[1:], slot[:-1], out=changed[1:])
        np.logical_or(changed[1:], self._edge[1:], out=changed[1:])
        start = np.flatnonzero(changed)
        length = np.diff(start, append=len(slot))
        seen = slot[start]
        # A picture shows a few of a network's classes: only those get columns.
        present = np.flatnonzero(np.bincount(seen))
        column = np.zeros(present[-1] + 1, np.intp)
        column[present] = np.arange(len(present))
        key = self._region[start] * len(present) + column[seen]
        counts = np.bincount(key, length, minlength=self._regions * len(present)).reshape(-1, len(present))
        shares = np.zeros((len(self._zone_start), self._slots))
        # Not a matrix product: BLAS would wake a thread for every core and let them spin.
        shares[:, present] = np.add.reduceat(counts[self._paired] * self._weight[:, None], self._zone_start)
        mean = None if confidence is None else self._mean(confidence)
        if self._cut is not None:
            cut = self._cut.count(labels, confidence)
            shares += cut.shares
            mean = None if mean is None or cut.confidence is None else mean + cut.confidence
        return Counts(shares, mean)

    def _mean(self, confidence: U8) -> F64:
        runs = np.add.reduceat(confidence, self._run_start, dtype=np.uint32)
        totals = np.bincount(self._run_region, runs, minlength=self._regions)
        mean: F64 = np.add.reduceat(totals[self._paired] * self._weight, self._zone_start)
        return mean


class CellCounter:
    """Weighted class counts of several zones on one grid. Single-threaded: it keeps its buffers.

    floors: for each zone, the confidence (0-255) below which a cell counts in the last slot instead of its
    class's. cells: of the flattened grid. by_regions: None takes what is cheaper.
    """

    def __init__(
        self,
        zones: Sequence[CellWeights],
        floors: Sequence[int],
        cells: int,
        classes: int,
        by_regions: bool | None = None,
    ) -> None:
        self._entries = _Entries(zones, floors, classes)
        most_cost = sum(len(zone.index) for zone in zones) if by_regions is None else math.inf
        self._regions = None if by_regions is False else _regions(zones, floors[0], cells, classes, most_cost)
        self._one_floor = len(set(floors)) == 1

    def count(self, labels: U8, confidence: U8 | None) -> Counts:
        """labels, confidence: uint8 (cells,)."""
        if self._regions is None or (confidence is not None and not self._one_floor):
            return self._entries.count(labels, confidence)
        return self._regions.count(labels, confidence)


def _regions(
    zones: Sequence[CellWeights], floor: int, cells: int, classes: int, most_cost: float
) -> _Regions | None:
    """None where counting costs more than that many entries."""
    region = np.zeros(cells, np.intp)
    members: list[F64] = []
    cut: list[CellWeights] = []
    for zone in zones:
        scale = float(zone.weight.max())
        values, own, often = np.unique(
            np.round(zone.weight / scale, _DIGITS), return_inverse=True, return_counts=True
        )
        whole = often[own] >= _LEAST_CELLS
        cut.append(CellWeights(zone.index[~whole], zone.weight[~whole]))
        weight = np.zeros(cells)
        weight[zone.index[whole]] = values[own[whole]] * scale
        kinds, kind = np.unique(weight, return_inverse=True)
        pairs, region = np.unique(region * len(kinds) + kind, return_inverse=True)
        members = [*(member[pairs // len(kinds)] for member in members), kinds[pairs % len(kinds)]]
        bins = sum(max(1, int(np.count_nonzero(member))) for member in members) * (classes + 1)
        if (
            _COLD_COST + cells * _CELL_COST + sum(len(part.index) for part in cut) + bins * _BIN_COST
            > most_cost
        ):
            return None
    member = np.stack(members)
    member_of = member > 0
    # A zone without whole cells keeps a pair of weight 0, so that every zone has a row in the sums.
    member_of[~member_of.any(axis=1), 0] = True
    zone_of, region_of = np.nonzero(member_of)
    some_cut = any(len(part.index) for part in cut)
    return _Regions(
        region,
        (zone_of, region_of),
        member[zone_of, region_of],
        _Entries(cut, [floor] * len(cut), classes) if some_cut else None,
        floor,
        classes,
    )
