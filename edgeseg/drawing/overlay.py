"""Overlay: draws a label map, zones and their coverage over the camera picture.

Nothing here feeds the analytics: those stay on the model's own grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.events import Event, RuleState, ZoneOccupancy
from edgeseg.frames import U8, Frame, LabelMap, Picture, Rect
from edgeseg.settings import Polygon, ZoneSettings
from edgeseg.stages.preprocess import make_fit, place

CALM = (64, 220, 130)
ALARM = (255, 70, 60)
UNKNOWN = (170, 170, 170)
EXCLUDED = (120, 120, 120)
_INK = (245, 245, 245)
_CHIP = (18, 20, 24)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
# Text is legible from about 1/40 of the picture's height; Hershey capitals are 21 px high at scale 1.
_TEXT_HEIGHT_SHARE = 1 / 40
_HERSHEY_HEIGHT_PX = 21


@dataclass(frozen=True, slots=True)
class ZoneDrawing:
    """One zone as it should appear: its outline, and whether a rule of it is on."""

    zone: ZoneSettings
    occupancy: ZoneOccupancy | None
    alarmed: bool


class ZoneBoard:
    """How each zone of a camera stands, gathered from its events, ready to be drawn."""

    def __init__(self, zones: Sequence[ZoneSettings]) -> None:
        self._zones = tuple(zones)
        self._occupancies: dict[str, ZoneOccupancy] = {}
        self._rules_on: set[tuple[str, str]] = set()

    def redraw(self, zones: Sequence[ZoneSettings]) -> None:
        """The same zones lie elsewhere in the picture from now on."""
        self._zones = tuple(zones)

    def note(self, event: Event) -> None:
        """Take in one event of the camera."""
        if isinstance(event, ZoneOccupancy):
            self._occupancies[event.zone] = event
        elif isinstance(event, RuleState):
            change = self._rules_on.add if event.state == "ON" else self._rules_on.discard
            change((event.zone, event.rule))

    def drawings(self) -> list[ZoneDrawing]:
        """The zones as they stand."""
        return [
            ZoneDrawing(
                zone,
                self._occupancies.get(zone.name),
                alarmed=any((zone.name, rule.name) in self._rules_on for rule in zone.rules),
            )
            for zone in self._zones
        ]


def labels_on_picture(label_map: LabelMap, size_px: tuple[int, int]) -> U8:
    """The label map brought back through its fit and enlarged by nearest neighbour.

    Each pixel centre of the picture, scaled to ``size_px`` (width, height), takes the label of the grid
    cell that holds it, from the view that owns it. Returns uint8 (height, width).
    """
    width, height = size_px
    fit = label_map.fit
    _, grid_h, grid_w = label_map.labels.shape
    across = (np.arange(width) + 0.5) * fit.picture_width_px / width
    down = (np.arange(height) + 0.5) * fit.picture_height_px / height
    labels = np.zeros((height, width), np.uint8)
    for index, view in enumerate(fit.views):
        columns = np.flatnonzero((across >= view.owns.left) & (across < view.owns.right))
        rows = np.flatnonzero((down >= view.owns.top) & (down < view.owns.bottom))
        if not columns.size or not rows.size:
            continue
        input_x = view.place.left + (across[columns] - view.crop.left) * view.place.width / view.crop.width
        input_y = view.place.top + (down[rows] - view.crop.top) * view.place.height / view.crop.height
        cell_x = _cells(input_x, fit.input_width_px, grid_w)
        cell_y = _cells(input_y, fit.input_height_px, grid_h)
        labels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = label_map.labels[index][
            cell_y[:, None], cell_x[None, :]
        ]
    return labels


def _cells(input_px: npt.NDArray[np.float64], input_size_px: int, grid_size: int) -> npt.NDArray[np.intp]:
    cells = np.floor(input_px * grid_size / input_size_px).astype(np.intp)
    return np.clip(cells, 0, grid_size - 1)


def render(picture: U8, label_map: LabelMap, palette: U8, drawings: Sequence[ZoneDrawing] = ()) -> U8:
    """A new picture with class colours over it, and zones where there are any.

    picture: uint8 (h, w, 3) RGB. palette: uint8 (classes, 3) RGB.
    """
    labels = labels_on_picture(label_map, (picture.shape[1], picture.shape[0]))
    return draw_zones(tint(picture, labels, palette), drawings)


def tint(picture: U8, labels: U8, palette: U8, opacity: float = 0.5) -> U8:
    """Blend class colours over a picture, with a solid line along the borders between classes.

    Classes whose colour is black (background) stay clear. picture: uint8 (h, w, 3) RGB. labels: uint8
    (h, w). palette: uint8 (classes, 3) RGB.
    """
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    colours = table[labels]
    painted = (table.max(axis=1) > 0)[labels][..., None]
    mixed = cv2.addWeighted(picture, 1 - opacity, colours, opacity, 0)
    size = np.ones((2 * max(1, round(labels.shape[0] / 480)) + 1,) * 2, np.uint8)
    border = cv2.erode(labels, size) != labels
    shown: U8 = np.where(painted, np.where(border[..., None], colours, mixed), picture)
    return shown


def draw_zones(picture: U8, drawings: Sequence[ZoneDrawing]) -> U8:
    """Outline each zone and write its name and leading classes on it. Draws into ``picture``."""
    height, width = picture.shape[:2]
    thickness = max(1, round(height / 240))
    for drawing in drawings:
        colour = _zone_colour(drawing)
        for polygon in drawing.zone.exclude:
            cv2.polylines(picture, [_pixels(polygon, width, height)], True, EXCLUDED, 1, cv2.LINE_AA)
        for polygon in drawing.zone.include:
            outline = _pixels(polygon, width, height)
            cv2.polylines(picture, [outline], True, colour, thickness, cv2.LINE_AA)
        left, top = _pixels(drawing.zone.include[0], width, height).min(axis=0)
        write(picture, zone_caption(drawing), (int(left), int(top)), colour)
    return picture


def draw_grid(picture: U8) -> U8:
    """Lines at every tenth of the picture, numbered as polygons are: [0, 0] top left, [1, 1] bottom right.
    Draws into ``picture``."""
    height, width = picture.shape[:2]
    lines = picture.copy()
    for tenth in range(1, 10):
        across, down = round(tenth * width / 10), round(tenth * height / 10)
        cv2.line(lines, (across, 0), (across, height - 1), _INK, 1)
        cv2.line(lines, (0, down), (width - 1, down), _INK, 1)
    cv2.addWeighted(lines, 0.5, picture, 0.5, 0, dst=picture)
    for tenth in range(1, 10):
        write(picture, f".{tenth}", (round(tenth * width / 10), height))
        write(picture, f".{tenth}", (0, round(tenth * height / 10)))
    return picture


def zone_caption(drawing: ZoneDrawing) -> str:
    """``Door: person 34 %``, ``Door: clear``, or ``Door: unknown (stale)``."""
    occupancy = drawing.occupancy
    # OpenCV's fonts know no other letters.
    name = drawing.zone.title if drawing.zone.title.isascii() else drawing.zone.name
    if occupancy is None:
        return name
    if occupancy.coverage is None:
        return f"{name}: unknown ({occupancy.reason})"
    return f"{name}: {leading_classes(watched(drawing.zone, occupancy.coverage), most=2) or 'clear'}"


def watched(zone: ZoneSettings, coverage: Mapping[str, float]) -> Mapping[str, float]:
    """The shares of the classes that the zone's rules ask for; all of them where it has no rules."""
    asked = {name for rule in zone.rules for name in (*rule.classes, *rule.reference_classes)}
    return {name: share for name, share in coverage.items() if name in asked} if asked else coverage


def leading_classes(coverage: Mapping[str, float], most: int) -> str:
    """``person 34 %, chair 2 %``: the largest shares of at least half a percent, background left out."""
    named = [(share, name) for name, share in coverage.items() if share >= 0.005 and name != "background"]
    named.sort(key=lambda pair: (-pair[0], pair[1]))
    return ", ".join(f"{name} {100 * share:.0f} %" for share, name in named[:most])


def write(picture: U8, text: str, corner_px: tuple[int, int], colour: tuple[int, int, int] = _INK) -> None:
    """Text on a dark chip whose top left corner is ``corner_px``, moved inside the picture."""
    height, width = picture.shape[:2]
    scale = max(height * _TEXT_HEIGHT_SHARE / _HERSHEY_HEIGHT_PX, 0.35)
    (text_w, text_h), baseline = cv2.getTextSize(text, _FONT, scale, 1)
    pad = max(2, text_h // 3)
    left = min(max(corner_px[0], 0), max(width - text_w - 2 * pad, 0))
    top = min(max(corner_px[1], 0), max(height - text_h - baseline - 2 * pad, 0))
    chip = picture[top : top + text_h + baseline + 2 * pad, left : left + text_w + 2 * pad]
    chip[:] = cv2.addWeighted(chip, 0.25, np.full_like(chip, _CHIP), 0.75, 0)
    cv2.putText(picture, text, (left + pad, top + pad + text_h), _FONT, scale, colour, 1, cv2.LINE_AA)


def encode_jpeg(picture: U8, quality: int = 85) -> bytes:
    """RGB uint8 (h, w, 3) as JPEG bytes."""
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data)


def picture_of(frame: Frame) -> U8:
    """The camera picture put together again from what the network saw, at the network's scale.

    Returns uint8 (h, w, 3) RGB in the camera's aspect ratio: enough to look at when the picture itself
    was left in the camera's process.
    """
    fit = frame.fit
    scale = max(view.place.width / view.crop.width for view in fit.views)
    canvas = np.zeros(
        (round(fit.picture_height_px * scale), round(fit.picture_width_px * scale), 3), np.uint8
    )
    for view, seen in zip(fit.views, frame.views, strict=True):
        on_canvas = canvas[_slices(Rect(0, 0, 0, 0), view.owns, scale, scale)]
        across, down = view.place.width / view.crop.width, view.place.height / view.crop.height
        owned = seen[int(view.place.top) :, int(view.place.left) :][
            _slices(view.crop, view.owns, across, down)
        ]
        cv2.resize(owned, (on_canvas.shape[1], on_canvas.shape[0]), dst=on_canvas)
    return canvas


def _slices(origin: Rect, area: Rect, across: float, down: float) -> tuple[slice, slice]:
    """Rows and columns of ``area``, counted from ``origin``'s corner and scaled."""
    return (
        slice(round((area.top - origin.top) * down), round((area.bottom - origin.top) * down)),
        slice(round((area.left - origin.left) * across), round((area.right - origin.left) * across)),
    )


def to_rgb(picture: Picture) -> U8:
    """The whole camera picture at its own size, uint8 (h, w, 3) RGB."""
    size_px = picture.width_px, picture.height_px
    (whole,) = place(picture, make_fit("stretch", size_px, size_px))
    return np.asarray(whole, np.uint8)


def _zone_colour(drawing: ZoneDrawing) -> tuple[int, int, int]:
    if drawing.occupancy is None or drawing.occupancy.state == "unknown":
        return UNKNOWN
    return ALARM if drawing.alarmed else CALM


def _pixels(polygon: Polygon, width: int, height: int) -> npt.NDArray[np.int32]:
    # Vertices on the right or bottom border would fall one pixel outside the picture.
    points = np.minimum(np.array(polygon) * (width, height), (width - 1, height - 1))
    return np.asarray(np.rint(points), np.int32)
