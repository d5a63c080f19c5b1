"""Zones: measures how much of each zone each class covers.

A zone is drawn on the camera picture and measured on the model's grid. Each cell's weight is the area of
the camera picture that the cell stands for, that lies in the zone, and that its view answers for
(``View.owns``): stretched, letterboxed or tiled, a zone measures the same ground, and padding counts
nowhere. The weights are made once for a ``Fit`` and a grid; after that all zones of a camera are one
weighted ``bincount`` (``edgeseg.stages.cell_counts``).

Shares are rounded to 4 decimals, a hundredth of a percent: far below what a network can resolve, so payloads
stay short and do not change with the summation order, and what rules compare is what is published.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.events import ZoneOccupancy
from edgeseg.frames import Fit, FrameTime, LabelMap, View
from edgeseg.geometry.polygons import F64, area_in_cells, rectangle
from edgeseg.settings import ZoneSettings
from edgeseg.stages.cell_counts import CellCounter, CellWeights
from edgeseg.stages.ground_meter import GroundMeter

_DECIMALS = 4
_LEAST_SHARE = 0.5 * 10.0**-_DECIMALS
# Less than this share of a cell is float noise along an edge that two polygons have in common.
_LEAST_COVER = 1e-9


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
    """What was made for one fit and grid. ground: of each zone, None where nothing is known of it."""

    fit: Fit
    grid: tuple[int, ...]
    counter: CellCounter
    ground: tuple[GroundMeter | None, ...]


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
        self._model_name = model_name
        self._class_names = tuple(class_names)
        position = {name: index for index, name in enumerate(class_names)}
        known = {
            group: [position[name] for name in members if name in position]
            for group, members in groups.items()
        }
        self._groups = {group: members for group, members in known.items() if members}
        # One row a zone: which classes its coverage names, and from which share on another one would be new.
        self._seen = np.zeros((len(self._zones), len(self._class_names)), np.bool_)
        for zone, seen in zip(self._zones, self._seen, strict=True):
            named = {name for rule in zone.rules for name in (*rule.classes, *rule.reference_classes)}
            seen[[position[name] for name in named if name in position]] = True
        # Made by _name_columns, anew when a class is seen for the first time in a zone.
        self._names: list[tuple[str, ...]] = []
        self._columns = np.empty(0, np.intp)
        self._news = np.empty(0)
        self._name_columns(self._seen)
        self._plan: _Plan | None = None

    def redraw(self, zones: Sequence[ZoneSettings]) -> None:
        """The same zones lie elsewhere in the picture from now on."""
        self._zones = tuple(zones)
        self._plan = None

    def measure(self, label_map: LabelMap, seq: int, time: FrameTime) -> tuple[ZoneOccupancy, ...]:
        """Occupancy of every zone, in the order of the settings."""
        if not self._zones:
            return ()
        plan = self._plan_for(label_map)
        confidence = label_map.confidence
        sure = None if confidence is None else confidence.reshape(-1)
        labels = label_map.labels.reshape(-1)
        counts = plan.counter.count(labels, sure)
        shares = counts.shares
        confidences: list[float | None] = [None] * len(self._zones)
        if counts.confidence is not None:
            confidences = (counts.confidence / 255).round(_DECIMALS).tolist()
        of_classes = shares[:, :-1]
        # Shares that round to 0 are not seen.
        if (of_classes > self._news).any():
            self._name_columns(of_classes > _LEAST_SHARE)
        table = shares
        if self._groups:
            sums = (of_classes[:, members].sum(axis=1, keepdims=True) for members in self._groups.values())
            table = np.concatenate([shares, *sums], axis=1)
        values = table.reshape(-1)[self._columns].round(_DECIMALS).tolist()
        winners = of_classes.argmax(axis=1).tolist()
        occupancies, first = [], 0
        for number, (zone, names, winner) in enumerate(zip(self._zones, self._names, winners, strict=True)):
            last, ground = first + len(names), plan.ground[number]
            occupancies.append(
                ZoneOccupancy(
                    camera=self._camera,
                    zone=zone.name,
                    seq=seq,
                    time=time,
                    state="ok",
                    reason=None,
                    coverage=dict(zip(names, values[first:last], strict=True)),
                    uncertain=values[last],
                    # A zone that is wholly uncertain has none.
                    dominant=self._class_names[winner] if of_classes[number, winner] > 0 else None,
                    confidence=confidences[number],
                    model=self._model_name,
                    ground=None if ground is None else ground.measure(labels, sure, names, self._class_names),
                )
            )
            first = last + 1
        return tuple(occupancies)

    def unknown(self, reason: str, seq: int, time: FrameTime) -> tuple[ZoneOccupancy, ...]:
        """Return every zone as unknown: its last value is no longer valid."""
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

    def _name_columns(self, seen: npt.NDArray[np.bool_]) -> None:
        """What each zone's coverage names, and where in the flattened table of shares, uncertain share and
        groups that stands; the uncertain share comes last. seen: (zones, classes), seen by now."""
        self._seen |= seen
        self._news = np.where(self._seen, np.inf, _LEAST_SHARE)
        classes = len(self._class_names)
        width = classes + 1 + len(self._groups)
        groups = list(range(classes + 1, width))
        self._names = []
        places: list[int] = []
        for number, row in enumerate(self._seen):
            own = np.flatnonzero(row).tolist()
            self._names.append((*(self._class_names[index] for index in own), *self._groups))
            places.extend(number * width + index for index in (*own, *groups, classes))
        self._columns = np.array(places, np.intp)

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
        weights = [cell_weights(zone, label_map.fit, (grid[1], grid[2])) for zone in self._zones]
        # The small subtraction: float noise in a share such as 102 / 255 must not ask for one level more.
        floors = [math.ceil(zone.confidence_floor * 255 - 1e-9) for zone in self._zones]
        counter = CellCounter(weights, floors, label_map.labels.size, len(self._class_names))
        ground = tuple(
            GroundMeter(zone, label_map.fit, (grid[1], grid[2]), of_zone, floor, self._groups)
            if zone.ground is not None and zone.ground_m2 is not None
            else None
            for zone, of_zone, floor in zip(self._zones, weights, floors, strict=True)
        )
        self._plan = _Plan(label_map.fit, grid, counter, ground)
        return self._plan
