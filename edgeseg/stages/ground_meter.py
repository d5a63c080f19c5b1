"""Ground meter: square metres and distances of each class, for a zone of which the ground is known.

A cell counts for the ground that is seen through its part of the zone: its share of the picture times the
square metres of a picture there, integrated over the cell (two by two Gauss points). The sum over the zone
is then set to the zone's exact area, which takes what the integration misses along edges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgeseg.events import GroundCoverage, GroundShare
from edgeseg.frames import U8, Fit
from edgeseg.geometry.ground_plane import ground_of
from edgeseg.geometry.polygons import F64
from edgeseg.settings import ZoneSettings
from edgeseg.stages.cell_counts import CellWeights

# Gauss-Legendre in two points, in cells from a cell's middle: exact up to cubes.
_GAUSS = 0.5 / 3**0.5
# The nearest and the farthest part of a class that distances leave out, 0-1: single cells waver.
_OUTERMOST = 0.01
_AREA_DECIMALS = 3
_DISTANCE_DECIMALS = 2


class GroundMeter:
    """One zone on one grid. Raises ValueError for a zone without ground.

    weights: of the zone's cells, by area of the picture. floor: uint8 level below which a cell is uncertain.
    groups: name -> positions of classes.
    """

    def __init__(
        self,
        zone: ZoneSettings,
        fit: Fit,
        grid_shape: tuple[int, int],
        weights: CellWeights,
        floor: int,
        groups: Mapping[str, Sequence[int]],
    ) -> None:
        if zone.ground is None or zone.ground_m2 is None:
            raise ValueError(f"zone {zone.name}: its ground is not known")
        ground = ground_of(zone.ground)
        corners = np.concatenate([np.array(ring) for ring in zone.include])
        nearest_horizon = ground.facing(corners).min()
        around = [
            ground.square_metres(
                _points(fit, grid_shape, weights.index, dx, dy), at_least=float(nearest_horizon)
            )
            for dx in (-_GAUSS, _GAUSS)
            for dy in (-_GAUSS, _GAUSS)
        ]
        area = weights.weight * np.mean(around, axis=0)
        middles = _points(fit, grid_shape, weights.index, 0.0, 0.0)
        away_m = ground.distance_m(middles, at_least=float(nearest_horizon))
        # By distance, so that the nearest part of a class is its first cells.
        order = np.argsort(away_m, kind="stable")
        self._index = weights.index[order]
        self._m2: F64 = (area / area.sum() * zone.ground_m2)[order]
        self._away_m: F64 = away_m[order]
        self._zone_m2 = zone.ground_m2
        self._floor = floor
        self._groups = groups

    def measure(
        self, labels: U8, confidence: U8 | None, names: Sequence[str], class_names: Sequence[str]
    ) -> GroundCoverage:
        """labels, confidence: flattened grids. names: of the classes and groups to report."""
        found = labels[self._index]
        sure = None if confidence is None or self._floor == 0 else confidence[self._index] >= self._floor
        position = {name: number for number, name in enumerate(class_names)}
        shares = {}
        for name in names:
            members = self._groups.get(name) or [position[name]]
            mask = found == members[0]
            for member in members[1:]:
                mask |= found == member
            if sure is not None:
                mask &= sure
            shares[name] = self._share(np.flatnonzero(mask))
        return GroundCoverage(round(self._zone_m2, _AREA_DECIMALS), shares)

    def _share(self, cells: np.ndarray[tuple[int], np.dtype[np.intp]]) -> GroundShare:
        passed_m2 = np.cumsum(self._m2[cells])
        if not len(cells) or passed_m2[-1] <= 0:
            return GroundShare(0.0, None, None)
        total_m2 = float(passed_m2[-1])
        ends = np.searchsorted(passed_m2, [_OUTERMOST * total_m2, (1 - _OUTERMOST) * total_m2])
        nearest, farthest = self._away_m[cells[np.minimum(ends, len(cells) - 1)]].tolist()
        return GroundShare(
            round(total_m2, _AREA_DECIMALS),
            round(nearest, _DISTANCE_DECIMALS),
            round(farthest, _DISTANCE_DECIMALS),
        )


def _points(
    fit: Fit,
    grid_shape: tuple[int, int],
    index: np.ndarray[tuple[int], np.dtype[np.intp]],
    dx: float,
    dy: float,
) -> F64:
    """Where cells lie in the camera picture, 0-1: float64 (n, 2). dx, dy: from their middles, in cells."""
    views, rows, columns = np.unravel_index(index, (len(fit.views), *grid_shape))
    x = (columns + 0.5 + dx) * fit.input_width_px / grid_shape[1]
    y = (rows + 0.5 + dy) * fit.input_height_px / grid_shape[0]
    places = np.array(
        [
            (
                *(view.place.left, view.place.top, view.crop.left, view.crop.top),
                *(view.crop.width / view.place.width, view.crop.height / view.place.height),
            )
            for view in fit.views
        ]
    )[views]
    picture_x = places[:, 2] + (x - places[:, 0]) * places[:, 4]
    picture_y = places[:, 3] + (y - places[:, 1]) * places[:, 5]
    return np.column_stack([picture_x / fit.picture_width_px, picture_y / fit.picture_height_px])
