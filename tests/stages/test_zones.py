"""Zones against areas known in closed form, whatever the fit.

Bounds: areas are exact up to float64, so 1e-9 of a cell is asked for; published shares are rounded to 4
decimals, so half of 1e-4 is asked for there.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseg.frames import Fit, FrameTime, LabelMap
from edgeseg.geometry.polygons import F64, area_in_cells, rectangle
from edgeseg.settings import Point, Polygon, RuleSettings, ZoneSettings
from edgeseg.stages.preprocess import make_fit
from edgeseg.stages.zones import ZoneMeter, cell_weights
from tests.support.examples import examples

NOW = FrameTime(camera_time_s=12.0, captured_at_s=1_800_000_000.0)
FITS: tuple[Literal["stretch", "letterbox", "tiles"], ...] = ("stretch", "letterbox", "tiles")
EXACT = 1e-9
ROUNDING = 0.5e-4 + 1e-9

shares = st.floats(0.0, 1.0, allow_subnormal=False)
# Zones people draw have corners on a screen; a 1/1000 raster also makes shared edges and corners common.
raster = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)


def zone(
    *include: Polygon,
    exclude: tuple[Polygon, ...] = (),
    floor: float = 0.0,
    rules: tuple[RuleSettings, ...] = (),
) -> ZoneSettings:
    return ZoneSettings("z", "Z", include, exclude, floor, rules)


def box(left: float, top: float, right: float, bottom: float) -> Polygon:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


@st.composite
def boxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    left, right = sorted(draw(st.lists(raster, min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(draw(st.lists(raster, min_size=2, max_size=2, unique=True)))
    return left, top, right, bottom


@st.composite
def stars(draw: st.DrawFn) -> Polygon:
    """Simple polygons of 3 to 12 vertices, convex or not, within the picture.

    The vertices go once around a centre, each in a sector of its own of at most 90 degrees, so no two
    neighbours are half a turn apart and no edges cross; of a triangle any three of them will do.
    """
    count = draw(st.integers(4, 12))
    angles = [2 * math.pi * (i + draw(st.floats(0, 0.99))) / count for i in range(count)]
    radii = [draw(st.floats(0.05, 0.5)) for _ in angles]
    points = [(0.5 + r * math.cos(a), 0.5 + r * math.sin(a)) for a, r in zip(angles, radii, strict=True)]
    return tuple(points[: draw(st.sampled_from((3, count)))])


def edges(polygon: Polygon) -> list[tuple[Point, Point]]:
    return list(zip(polygon, (*polygon[1:], polygon[0]), strict=True))


def shoelace(points: F64) -> float:
    """Area of a simple polygon (Gauss's formula)."""
    x, y = points.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def clipped(points: F64, left: float, top: float, right: float, bottom: float) -> F64:
    """Sutherland and Hodgman's clip of a polygon by a rectangle; its area is right for any simple polygon."""
    for axis, sign, limit in ((0, 1, left), (0, -1, -right), (1, 1, top), (1, -1, -bottom)):
        kept: list[F64] = []
        for here, there in zip(points, np.roll(points, -1, axis=0), strict=True):
            inside_here, inside_there = sign * here[axis] >= limit, sign * there[axis] >= limit
            if inside_here:
                kept.append(here)
            if inside_here != inside_there:
                along = (sign * limit - here[axis]) / (there[axis] - here[axis])
                kept.append(here + along * (there - here))
        if not kept:
            return np.empty((0, 2))
        points = np.array(kept)
    return points


def union_of_boxes(areas: list[tuple[float, float, float, float]]) -> float:
    """Inclusion and exclusion over every set of boxes."""
    total = 0.0
    for count in range(1, len(areas) + 1):
        for chosen in combinations(areas, count):
            left, top = max(b[0] for b in chosen), max(b[1] for b in chosen)
            right, bottom = min(b[2] for b in chosen), min(b[3] for b in chosen)
            total -= (-1) ** count * max(0.0, right - left) * max(0.0, bottom - top)
    return total


def covered(include: list[Polygon], exclude: list[Polygon], shape: tuple[int, int]) -> F64:
    """Area in cells of a grid that spans the unit square."""
    scale = np.array([shape[1], shape[0]])
    rings = [[np.array(ring) * scale for ring in rings] for rings in (include, exclude)]
    return area_in_cells(rings[0], rings[1], rectangle(0, 0, shape[1], shape[0]), shape)


@given(stars())
@settings(deadline=None)
def test_each_cell_of_a_polygon_is_what_clipping_gives(polygon: Polygon) -> None:
    shape = (5, 7)
    points = np.array(polygon) * (shape[1], shape[0])
    cells = [
        [shoelace(clipped(points, column, row, column + 1, row + 1)) for column in range(shape[1])]
        for row in range(shape[0])
    ]
    np.testing.assert_allclose(covered([polygon], [], shape), cells, atol=EXACT)


@given(stars(), st.integers(1, 200), st.integers(1, 200))
@settings(deadline=None)
def test_the_area_does_not_depend_on_the_grid(polygon: Polygon, rows: int, columns: int) -> None:
    area = covered([polygon], [], (rows, columns)).sum() / (rows * columns)
    assert area == pytest.approx(shoelace(np.array(polygon)), abs=EXACT)


@given(st.lists(boxes(), min_size=1, max_size=4), st.lists(boxes(), max_size=3))
@settings(deadline=None)
def test_overlaps_count_once_and_excludes_are_cut_out(
    include: list[tuple[float, float, float, float]], exclude: list[tuple[float, float, float, float]]
) -> None:
    cells = covered([box(*b) for b in include], [box(*b) for b in exclude], (9, 16))
    # |A - B| = |A or B| - |B|
    expected = union_of_boxes(include + exclude) - union_of_boxes(exclude)
    assert cells.sum() / cells.size == pytest.approx(expected, abs=EXACT)
    assert cells.min() >= -EXACT
    assert cells.max() <= 1 + EXACT


@given(stars(), stars(), stars())
@settings(max_examples=examples(30), deadline=None)
def test_crossing_polygons_agree_with_counting_points(first: Polygon, second: Polygon, cut: Polygon) -> None:
    """An independent count: 400 x 400 points, each inside by the crossing number. A polygon whose outline
    is L long misjudges at most the points in a band of one spacing: about L / 400 of the area."""
    spacing = (np.arange(400) + 0.5) / 400
    x, y = np.meshgrid(spacing, spacing)

    def holds(polygon: Polygon) -> np.ndarray:
        inside = np.zeros(x.shape, bool)
        for (x0, y0), (x1, y1) in edges(polygon):
            if y0 != y1:
                inside ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
        return inside

    outline = sum(math.dist(a, b) for polygon in (first, second, cut) for a, b in edges(polygon))
    counted = float(((holds(first) | holds(second)) & ~holds(cut)).mean())
    exact = covered([first, second], [cut], (13, 17)).sum() / (13 * 17)
    assert exact == pytest.approx(counted, abs=outline / 400)


def test_a_line_that_is_nearly_upright_keeps_its_digits() -> None:
    lean = 1e-13
    cells = covered([((0.0, 0.0), (0.9, 0.0), (0.9 + lean, 1.0), (0.0, 1.0))], [], (512, 512))
    assert cells.sum() / cells.size == pytest.approx(0.9, abs=1e-12)


@pytest.mark.parametrize("kind", FITS)
@given(polygon=stars(), picture=st.tuples(st.integers(64, 2000), st.integers(64, 1200)))
@settings(max_examples=examples(40), deadline=None)
def test_weights_are_shares_of_the_ground_whatever_the_fit(
    kind: Literal["stretch", "letterbox", "tiles"], polygon: Polygon, picture: tuple[int, int]
) -> None:
    """The centre of gravity of the cells, taken back to the picture, is that of the polygon.

    A cell's centre stands for whatever part of it lies in the zone: at most half a cell off.
    """
    fit = make_fit(kind, picture, (256, 256))
    weights = cell_weights(zone(polygon), fit, (64, 64))
    assert weights.weight.sum() == pytest.approx(1.0)
    view, row, column = np.unravel_index(weights.index, (len(fit.views), 64, 64))
    x, y = np.empty(len(view)), np.empty(len(view))
    worst = np.zeros(2)
    for number, part in enumerate(fit.views):
        scale = np.array([part.crop.width / part.place.width, part.crop.height / part.place.height])
        mine = view == number
        x[mine] = part.crop.left + ((column[mine] + 0.5) * 4 - part.place.left) * scale[0]
        y[mine] = part.crop.top + ((row[mine] + 0.5) * 4 - part.place.top) * scale[1]
        worst = np.maximum(worst, scale * 2)
    points = np.array(polygon) * picture
    ahead = np.roll(points, -1, axis=0)
    cross = points[:, 0] * ahead[:, 1] - ahead[:, 0] * points[:, 1]
    centre = ((points + ahead) * cross[:, None]).sum(axis=0) / (3 * cross.sum())
    assert abs((x * weights.weight).sum() - centre[0]) <= worst[0]
    assert abs((y * weights.weight).sum() - centre[1]) <= worst[1]


def halved(fit: Fit, grid: int, at: float) -> LabelMap:
    """A network that answers 1 for every cell whose centre is right of ``at`` (0-1 of the picture)."""
    labels = np.zeros((len(fit.views), grid, grid), np.uint8)
    centres = (np.arange(grid) + 0.5) * fit.input_width_px / grid
    for number, view in enumerate(fit.views):
        x = view.crop.left + (centres - view.place.left) * view.crop.width / view.place.width
        labels[number][:, x > at * fit.picture_width_px] = 1
    return LabelMap(labels, None, fit)


@pytest.mark.parametrize("kind", FITS)
@pytest.mark.parametrize("picture", [(1280, 720), (1920, 1080), (320, 240), (640, 640), (480, 800)])
def test_the_same_zone_gives_the_same_coverage_under_every_fit(
    kind: Literal["stretch", "letterbox", "tiles"], picture: tuple[int, int]
) -> None:
    """A scene split down at 0.4, a zone from 0.15 to 0.75: the share right of the split is 0.35 / 0.6.

    The split falls inside one column of cells, which belongs wholly to one class: at most half a cell.
    """
    fit = make_fit(kind, picture, (512, 512))
    meter = ZoneMeter("c", [zone(box(0.15, 0.1, 0.75, 0.9))], {}, "m", ["left", "right"])
    (occupancy,) = meter.measure(halved(fit, 128, 0.4), 1, NOW)
    half_cell_px = max(2 * view.crop.width / view.place.width for view in fit.views)
    bound = half_cell_px / (0.6 * picture[0])
    assert occupancy.coverage is not None
    assert occupancy.coverage["right"] == pytest.approx(0.35 / 0.6, abs=bound + ROUNDING)
    assert occupancy.coverage["left"] + occupancy.coverage["right"] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("kind", FITS)
def test_a_zone_beside_what_is_seen_there_sees_none_of_it(
    kind: Literal["stretch", "letterbox", "tiles"],
) -> None:
    fit = make_fit(kind, (1280, 720), (256, 256))
    meter = ZoneMeter("c", [zone(box(0.0, 0.0, 0.45, 1.0))], {}, "m", ["left", "right"])
    (occupancy,) = meter.measure(halved(fit, 64, 0.5), 1, NOW)
    assert occupancy.coverage == {"left": 1.0}


def test_a_zone_without_area_is_refused() -> None:
    fit = make_fit("stretch", (64, 64), (64, 64))
    with pytest.raises(ValueError, match="no area inside the picture"):
        cell_weights(zone(box(0.2, 0.2, 0.4, 0.4), exclude=(box(0.1, 0.1, 0.5, 0.5),)), fit, (16, 16))


def quarters(labels: list[list[int]], confidence: list[list[int]] | None = None) -> LabelMap:
    fit = make_fit("stretch", (64, 64), (64, 64))
    return LabelMap(
        np.array([labels], np.uint8),
        None if confidence is None else np.array([confidence], np.uint8),
        fit,
    )


def test_below_the_floor_is_uncertain_and_nobodys() -> None:
    meter = ZoneMeter("c", [zone(box(0, 0, 1, 1), floor=0.5)], {}, "m", ["a", "b"])
    # 127 / 255 is just below one half, 128 / 255 just above.
    (occupancy,) = meter.measure(quarters([[0, 0], [0, 1]], [[127, 128], [255, 255]]), 7, NOW)
    assert occupancy.coverage == {"a": 0.5, "b": 0.25}
    assert occupancy.uncertain == 0.25
    assert occupancy.dominant == "a"
    assert occupancy.confidence == pytest.approx((127 + 128 + 255 + 255) / 4 / 255, abs=ROUNDING)
    assert (occupancy.camera, occupancy.zone, occupancy.seq, occupancy.time) == ("c", "z", 7, NOW)
    assert (occupancy.state, occupancy.reason, occupancy.model) == ("ok", None, "m")


def test_a_zone_that_is_wholly_uncertain_has_no_dominant_class() -> None:
    meter = ZoneMeter("c", [zone(box(0, 0, 1, 1), floor=1.0)], {}, "m", ["a", "b"])
    (occupancy,) = meter.measure(quarters([[0, 0], [0, 1]], [[254] * 2] * 2), 1, NOW)
    assert (occupancy.uncertain, occupancy.dominant, occupancy.coverage) == (1.0, None, {})


def test_a_model_without_confidence_is_never_uncertain() -> None:
    meter = ZoneMeter("c", [zone(box(0, 0, 1, 1), floor=0.9)], {}, "m", ["a", "b"])
    (occupancy,) = meter.measure(quarters([[0, 0], [0, 1]]), 1, NOW)
    assert (occupancy.uncertain, occupancy.confidence, occupancy.coverage) == (
        0.0,
        None,
        {"a": 0.75, "b": 0.25},
    )


def test_zones_have_their_own_floors_and_do_not_mix() -> None:
    zones = [zone(box(0, 0, 0.5, 1), floor=0.9), zone(box(0.5, 0, 1, 1)), zone(box(0.25, 0, 0.75, 1))]
    meter = ZoneMeter("c", zones, {}, "m", ["a", "b"])
    left, right, both = meter.measure(quarters([[0, 1], [0, 1]], [[100, 100]] * 2), 1, NOW)
    assert (left.coverage, left.uncertain) == ({}, 1.0)
    assert (right.coverage, right.uncertain) == ({"b": 1.0}, 0.0)
    assert (both.coverage, both.uncertain) == ({"a": 0.5, "b": 0.5}, 0.0)


def test_coverage_names_rules_groups_and_what_was_seen_before() -> None:
    rule = RuleSettings(*("r", "occupied", ("c",), ("c",), 0.5, 0.2, None, ()), 1.0, 1.0, 0.0, None, "hold")
    groups = {"both": ("a", "b"), "elsewhere": ("not a class of this model",)}
    meter = ZoneMeter("c", [zone(box(0, 0, 1, 1), rules=(rule,))], groups, "m", ["a", "b", "c", "d"])
    (first,) = meter.measure(quarters([[0, 0], [0, 1]]), 1, NOW)
    assert first.coverage == {"a": 0.75, "b": 0.25, "c": 0.0, "both": 1.0}
    (second,) = meter.measure(quarters([[0, 0], [0, 3]]), 2, NOW)
    assert second.coverage == {"a": 0.75, "b": 0.0, "c": 0.0, "d": 0.25, "both": 0.75}


def test_unknown_says_why_and_nothing_else() -> None:
    meter = ZoneMeter("c", [zone(box(0, 0, 1, 1))], {"g": ("a",)}, "m", ["a"])
    (occupancy,) = meter.unknown("stale", 3, NOW)
    assert (occupancy.state, occupancy.reason, occupancy.seq) == ("unknown", "stale", 3)
    assert (occupancy.coverage, occupancy.uncertain, occupancy.dominant, occupancy.confidence) == (None,) * 4


def test_a_camera_that_changes_its_size_is_measured_anew() -> None:
    meter = ZoneMeter("c", [zone(box(0.0, 0.0, 0.5, 1.0))], {}, "m", ["left", "right"])
    for picture in [(1280, 720), (640, 480), (1280, 720)]:
        (occupancy,) = meter.measure(halved(make_fit("letterbox", picture, (256, 256)), 64, 0.25), 1, NOW)
        assert occupancy.coverage is not None
        assert occupancy.coverage["right"] == pytest.approx(0.5, abs=1 / 32 + ROUNDING)


@given(
    st.lists(stars(), min_size=1, max_size=3),
    st.sampled_from(FITS),
    st.integers(0, 2**32 - 1),
    shares,
)
@settings(max_examples=examples(50), deadline=None)
def test_classes_and_uncertain_fill_the_zone(
    polygons: list[Polygon], kind: Literal["stretch", "letterbox", "tiles"], seed: int, floor: float
) -> None:
    fit = make_fit(kind, (640, 360), (128, 128))
    random = np.random.default_rng(seed)
    shape = (len(fit.views), 32, 32)
    label_map = LabelMap(
        random.integers(0, 5, shape, dtype=np.uint8), random.integers(0, 256, shape, dtype=np.uint8), fit
    )
    meter = ZoneMeter("c", [zone(*polygons, floor=floor)], {}, "m", list("abcde"))
    (occupancy,) = meter.measure(label_map, 1, NOW)
    assert occupancy.coverage is not None
    assert occupancy.uncertain is not None
    assert sum(occupancy.coverage.values()) + occupancy.uncertain == pytest.approx(1.0, abs=6 * ROUNDING)
