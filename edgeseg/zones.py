"""LabelMap -> ZoneOccupancy: how much of each zone each class covers.

A zone is drawn on the camera picture and measured on the model's grid. Each cell's weight is the area of
the camera picture that the cell stands for, that lies in the zone, and that its view answers for
(``View.owns``): stretched, letterboxed or tiled, a zone measures the same ground, and padding counts
nowhere. The weights are made once for a ``Fit`` and a grid; after that all zones of a camera are one
weighted ``bincount``.

Shares are rounded to 4 decimals, a hundredth of a percent: far below what a network can tell, so payloads
stay short and do not change with the summation order, and what rules compare is what is published.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.frames import Fit, FrameTime, LabelMap, View, ZoneOccupancy
from edgeseg.polygons import F64, area_in_cells, rectangle
from edgeseg.settings import ZoneSettings

_DECIMALS = 4
# Less than this share of a cell is float noise along an edge that two polygons have in common.
_LEAST_COVER = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class CellWeights:
    """What each cell of a label map counts for in one zone.

    index: intp (k,), positions in the flattened (views, rows, columns) grid, ascending.
    weight: float64 (k,), the cell's share of the zone's area; adds up to 1.
    """

    index: npt.NDArray[np.intp]
    weight: F64


def cell_weights(zone: ZoneSettings, fit: Fit, grid_shape: tuple[int, int]) -> CellWeights:
    """The exact weight of every cell that the zone touches.

    grid_shape: rows, columns of the label map of one view.
    Raises ValueError where the zone has no area; the configuration refuses such zones.
    """
    area_px2 = np.stack([_view_area_px2(zone, fit, view, grid_shape) for view in fit.views]).ravel()
    index = np.flatnonzero(area_px2)
    if not index.size:
        raise ValueError(f"zone {zone.name}: no area inside the picture, nothing can be measured there")
    return CellWeights(index, area_px2[index] / area_px2[index].sum())


def _view_area_px2(zone: ZoneSettings, fit: Fit, view: View, grid_shape: tuple[int, int]) -> F64:
    """Area of the zone in each cell of one view, in square pixels of the camera picture."""
    crop, place, owns = view.crop, view.place, view.owns
    scale = np.array(  # cells per picture pixel
        [
            place.width / crop.width * grid_shape[1] / fit.input_width_px,
            place.height / crop.height * grid_shape[0] / fit.input_height_px,
        ]
    )
    place_origin = np.array(
        [
            place.left * grid_shape[1] / fit.input_width_px,
            place.top * grid_shape[0] / fit.input_height_px,
        ]
    )
    crop_origin = np.array([crop.left, crop.top])
    picture_size = np.array([fit.picture_width_px, fit.picture_height_px])

    def on_grid(points_px: F64) -> F64:
        points: F64 = place_origin + (points_px - crop_origin) * scale
        return points

    include, exclude = (
        [on_grid(np.array(ring) * picture_size) for ring in rings] for rings in (zone.include, zone.exclude)
    )
    owned = on_grid(rectangle(owns.left, owns.top, owns.right, owns.bottom))
    cover = area_in_cells(include, exclude, owned, grid_shape)
    area_px2: F64 = np.where(cover > _LEAST_COVER, cover, 0.0) / scale.prod()
    return area_px2


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """All zones' cells one after another, for one fit and grid.

    index, weight: as in CellWeights. slot: intp, zone number times (classes + 1): where the zone's counts
    begin. floor: uint8, the confidence below which a cell is uncertain. starts: first entry of each zone.
    groups: the class indices of each group, in the model's own classes.
    """

    fit: Fit
    grid: tuple[int, ...]
    index: npt.NDArray[np.intp]
    weight: F64
    slot: npt.NDArray[np.intp]
    floor: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.intp]
    groups: Mapping[str, list[int]]


class ZoneMeter:
    """Measures the zones of one camera. Single-threaded.

    It remembers which classes it has seen in each zone, so that a consumer sees them go to 0 instead of
    vanishing: ``coverage`` names those, the classes of the zone's rules, and every group of which the
    model knows a class.
    """

    def __init__(
        self,
        camera: str,
        zones: Sequence[ZoneSettings],
        groups: Mapping[str, tuple[str, ...]],
        model_name: str,
        class_names: Sequence[str],
    ) -> None:
        self._camera = camera
        self._zones = tuple(zones)
        self._groups = groups
        self._model_name = model_name
        self._class_names = tuple(class_names)
        self._seen: list[set[int]] = [set() for _ in self._zones]
        self._plan: _Plan | None = None

    def measure(self, label_map: LabelMap, seq: int, time: FrameTime) -> tuple[ZoneOccupancy, ...]:
        """Occupancy of every zone, in the order of the settings."""
        if not self._zones:
            return ()
        plan = self._plan_for(label_map)
        slots = len(self._class_names) + 1
        key = plan.slot + label_map.labels.reshape(-1)[plan.index]
        confidences: list[float | None] = [None] * len(self._zones)
        if label_map.confidence is not None:
            cell_confidence = label_map.confidence.reshape(-1)[plan.index]
            key = np.where(cell_confidence < plan.floor, plan.slot + slots - 1, key)
            mean = np.add.reduceat(plan.weight * cell_confidence, plan.starts) / 255
            confidences = np.round(mean, _DECIMALS).tolist()
        shares = np.bincount(key, plan.weight, minlength=len(self._zones) * slots).reshape(-1, slots)
        rounded = np.round(shares, _DECIMALS).tolist()
        largest = np.argmax(shares[:, :-1], axis=1).tolist()
        in_groups = {
            group: np.round(shares[:, members].sum(axis=1), _DECIMALS).tolist()
            for group, members in plan.groups.items()
        }
        return tuple(
            ZoneOccupancy(
                camera=self._camera,
                zone=zone.name,
                seq=seq,
                time=time,
                state="ok",
                reason=None,
                coverage={
                    **self._coverage(number, rounded[number]),
                    **{group: by_zone[number] for group, by_zone in in_groups.items()},
                },
                uncertain=rounded[number][-1],
                dominant=self._class_names[largest[number]] if shares[number, largest[number]] > 0 else None,
                confidence=confidences[number],
                model=self._model_name,
            )
            for number, zone in enumerate(self._zones)
        )

    def unknown(self, reason: str, seq: int, time: FrameTime) -> tuple[ZoneOccupancy, ...]:
        """Every zone as unknown: its last value says nothing about now."""
        return tuple(
            ZoneOccupancy(
                camera=self._camera,
                zone=zone.name,
                seq=seq,
                time=time,
                state="unknown",
                reason=reason,
                coverage=None,
                uncertain=None,
                dominant=None,
                confidence=None,
                model=self._model_name,
            )
            for zone in self._zones
        )

    def _coverage(self, number: int, shares: list[float]) -> dict[str, float]:
        """Class -> share of one zone, of the classes that are there now, were there, or have a rule."""
        seen = self._seen[number]
        seen.update(index for index, share in enumerate(shares[:-1]) if share)
        return {self._class_names[index]: shares[index] for index in sorted(seen)}

    def _plan_for(self, label_map: LabelMap) -> _Plan:
        """The plan in hand, or a new one where the camera changed its size. One is kept: sizes rarely
        change, and never back and forth."""
        plan, grid = self._plan, label_map.labels.shape
        if (
            plan is not None
            and plan.grid == grid
            and (plan.fit is label_map.fit or plan.fit == label_map.fit)
        ):
            return plan
        parts = [cell_weights(zone, label_map.fit, (grid[1], grid[2])) for zone in self._zones]
        sizes = [len(part.index) for part in parts]
        slots = len(self._class_names) + 1
        # The small subtraction: float noise in a share such as 102 / 255 must not ask for one level more.
        floors = [math.ceil(zone.confidence_floor * 255 - 1e-9) for zone in self._zones]
        position = {name: index for index, name in enumerate(self._class_names)}
        for zone, seen in zip(self._zones, self._seen, strict=True):
            named = {name for rule in zone.rules for name in (*rule.classes, *rule.reference_classes)}
            seen.update(position[name] for name in named if name in position)
        groups = {
            group: [position[name] for name in members if name in position]
            for group, members in self._groups.items()
        }
        self._plan = _Plan(
            fit=label_map.fit,
            grid=grid,
            index=np.concatenate([part.index for part in parts]),
            weight=np.concatenate([part.weight for part in parts]),
            slot=np.repeat(np.arange(len(parts)) * slots, sizes),
            floor=np.repeat(np.array(floors, np.uint8), sizes),
            starts=np.cumsum([0, *sizes[:-1]]),
            groups={group: members for group, members in groups.items() if members},
        )
        return self._plan
