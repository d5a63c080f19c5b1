"""Square metres and distances, held against scenes whose truth is known.

The scene: a pinhole camera (no distortion) some metres above a plane, looking down at it. Where a point of
the plane is in the picture follows from the camera alone (``seen``), without any of the formulas under test.

What is measured is limited by the grid: a label map of 128 x 128 cells knows an edge to a cell. So areas of
things are held to the error that a cell makes around them, and the zone itself to float64's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from edgeseg import config
from edgeseg.errors import ConfigError
from edgeseg.events import GroundShare, ZoneOccupancy
from edgeseg.frames import FrameTime, LabelMap, Transform
from edgeseg.geometry.ground_plane import Ground, GroundError, area_m2, ground_of, quadrilateral
from edgeseg.geometry.polygons import F64
from edgeseg.geometry.view_registration import moved_zones
from edgeseg.settings import GroundSettings, Point, Polygon, ZoneSettings
from edgeseg.stages.preprocess import make_fit
from edgeseg.stages.zones import ZoneMeter
from edgeseg.testing import watch
from tests.support.tiny_models import Convention, write_model

WIDTH_PX, HEIGHT_PX = 1280, 720
CLASSES = ("road", "car", "person")


@dataclass(frozen=True)
class Scene:
    """height_m: of the camera. down_deg: how far it looks down. focal: in picture widths."""

    height_m: float
    down_deg: float
    focal: float

    def seen(self, ground: F64) -> F64:
        """Ground points (right, ahead of the camera's foot) in metres -> picture, 0-1."""
        down = math.radians(self.down_deg)
        right, ahead = ground[..., 0], ground[..., 1]
        depth = ahead * math.cos(down) + self.height_m * math.sin(down)
        below = self.height_m * math.cos(down) - ahead * math.sin(down)
        x = 0.5 + self.focal * right / depth
        y = 0.5 + self.focal * below / depth * WIDTH_PX / HEIGHT_PX
        return np.stack([x, y], axis=-1)

    def on_ground(self, picture: F64) -> F64:
        """Back again; infinite at and above the horizon."""
        down = math.radians(self.down_deg)
        across = (picture[..., 0] - 0.5) / self.focal
        below = (picture[..., 1] - 0.5) / self.focal * HEIGHT_PX / WIDTH_PX
        falls = math.sin(down) + below * math.cos(down)
        with np.errstate(divide="ignore"):
            reach = np.where(falls > 0, self.height_m / falls, np.inf)
        return np.stack([across * reach, (math.cos(down) - below * math.sin(down)) * reach], axis=-1)


YARD = Scene(height_m=4.0, down_deg=25.0, focal=0.8)
HIGH = Scene(height_m=12.0, down_deg=55.0, focal=1.0)
STEEP = Scene(height_m=3.0, down_deg=80.0, focal=0.7)
FLAT = Scene(height_m=3.0, down_deg=15.0, focal=0.9)
SCENES = [YARD, HIGH, STEEP, FLAT]


def points(*pairs: Point) -> F64:
    return np.array(pairs, np.float64)


def polygon(picture: F64) -> Polygon:
    return tuple((float(x), float(y)) for x, y in picture)


def rectangle_before(scene: Scene) -> F64:
    """A rectangle of 2 x 3 m on the ground, in view."""
    near = float(scene.on_ground(points((0.5, 0.9)))[0, 1])
    return points((-1, near + 3), (1, near + 3), (1, near), (-1, near))


def settings_of(scene: Scene, metres: F64 | None = None) -> GroundSettings:
    corners = rectangle_before(scene)
    marked = ((0.0, 0.0), (2.0, 0.0), (2.0, 3.0), (0.0, 3.0))
    return GroundSettings(polygon(scene.seen(corners)), marked, (0.5, 1.0))


@pytest.mark.parametrize("scene", SCENES)
def test_metres_are_those_of_the_scene(scene: Scene) -> None:
    ground = ground_of(settings_of(scene))
    picture = points((0.2, 0.95), (0.8, 0.7), (0.5, 0.99), (0.35, 0.6))
    there = scene.on_ground(picture)
    foot = scene.on_ground(points((0.5, 1.0)))
    assert ground.distance_m(picture) == pytest.approx(np.hypot(*(there - foot).T), rel=1e-9)
    # Square metres of a small square around each point, by the scene.
    side = 1e-5
    for (x, y), m2 in zip(picture.tolist(), ground.square_metres(picture).tolist(), strict=True):
        square = scene.on_ground(points((x, y), (x + side, y), (x + side, y + side), (x, y + side)))
        assert m2 * side**2 == pytest.approx(shoelace(square), rel=1e-3)


def shoelace(ring: F64) -> float:
    x, y = ring.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


@pytest.mark.parametrize("scene", SCENES)
def test_a_zones_area_is_exact(scene: Scene) -> None:
    ring = points((0.1, 0.98), (0.9, 0.98), (0.7, 0.62), (0.3, 0.62))
    hole = points((0.4, 0.7), (0.6, 0.7), (0.5, 0.85))
    ground = ground_of(settings_of(scene))
    truth = shoelace(scene.on_ground(ring)) - shoelace(scene.on_ground(hole))
    assert area_m2(ground, [polygon(ring)], [polygon(hole)]) == pytest.approx(truth, rel=1e-9)


def label_map(scene: Scene, things: list[tuple[int, F64]], grid: int = 128) -> LabelMap:
    """What a faultless network would say: each cell is what its middle shows. things: class and corners on
    the ground."""
    fit = make_fit("stretch", (WIDTH_PX, HEIGHT_PX), (512, 512))
    middle = (np.arange(grid) + 0.5) / grid
    picture = np.stack(np.meshgrid(middle, middle), axis=-1)
    there = scene.on_ground(picture)
    labels = np.zeros((1, grid, grid), np.uint8)
    for number, corners in things:
        labels[0][within(there, corners)] = number
    return LabelMap(labels, None, fit)


def within(there: F64, corners: F64) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Inside a convex ring."""
    sides = []
    for (ax, ay), (bx, by) in zip(corners.tolist(), np.roll(corners, -1, axis=0).tolist(), strict=True):
        sides.append((bx - ax) * (there[..., 1] - ay) - (by - ay) * (there[..., 0] - ax))
    stacked = np.stack(sides)
    inside = (stacked > 0).all(axis=0) | (stacked < 0).all(axis=0)
    return np.asarray(inside & np.isfinite(there).all(axis=-1))


def measured(scene: Scene, things: list[tuple[int, F64]], ring: F64, grid: int = 128) -> ZoneOccupancy:
    ground = settings_of(scene)
    zone_m2 = area_m2(ground_of(ground), [polygon(ring)], [])
    zone = ZoneSettings("bay", "Bay", (polygon(ring),), (), 0.0, (), ground=ground, ground_m2=zone_m2)
    meter = ZoneMeter("yard", [zone], {"anything": ("car", "person")}, "m", CLASSES)
    (occupancy,) = meter.measure(label_map(scene, things, grid), 1, FrameTime(0.0, 0.0))
    return occupancy


def block(left: float, near: float, width: float = 1.8, depth: float = 4.0) -> F64:
    """The footprint of a car."""
    return points((left, near), (left + width, near), (left + width, near + depth), (left, near + depth))


RING = points((0.02, 0.99), (0.98, 0.99), (0.9, 0.2), (0.1, 0.2))


@pytest.mark.parametrize("scene", [YARD, HIGH])
@pytest.mark.parametrize("ahead", [0.5, 3.0])
def test_a_footprint_is_measured_to_a_cell_around_it(scene: Scene, ahead: float) -> None:
    near = float(scene.on_ground(points((0.5, 0.98)))[0, 1]) + ahead
    car = block(-0.9, near)
    occupancy = measured(scene, [(1, car)], RING)
    assert occupancy.ground is not None
    got = occupancy.ground.classes["car"]
    # A cell's height on the ground at the far end is the largest error of an edge.
    corners = scene.seen(car)
    cell_m = [
        float(np.ptp(scene.on_ground(points((x, y - 1 / 256), (x, y + 1 / 256)))[:, 1])) for x, y in corners
    ]
    assert got.m2 == pytest.approx(1.8 * 4.0, abs=1.8 * max(cell_m) + 4.0 * max(cell_m) / 2)
    foot = scene.on_ground(points((0.5, 1.0)))[0]
    assert got.nearest_m == pytest.approx(near - foot[1], abs=2 * max(cell_m))
    farthest = float(np.hypot(*(car - foot).T).max())
    assert got.farthest_m == pytest.approx(farthest, abs=2 * max(cell_m))
    assert occupancy.ground.classes["anything"] == got
    assert occupancy.ground.classes.keys() == (occupancy.coverage or {}).keys()
    whole = occupancy.ground.classes["road"].m2 + got.m2
    assert whole == pytest.approx(occupancy.ground.area_m2, abs=0.01)


def test_a_finer_grid_is_nearer_to_the_truth() -> None:
    rng = np.random.default_rng(7)
    errors: dict[int, list[float]] = {64: [], 128: [], 256: []}
    for _ in range(20):
        near = float(rng.uniform(4.5, 9))
        car = block(float(rng.uniform(-2, 0.5)), near)
        for grid, found in errors.items():
            occupancy = measured(YARD, [(1, car)], RING, grid)
            assert occupancy.ground is not None
            found.append(abs(occupancy.ground.classes["car"].m2 / 7.2 - 1))
    mean = {grid: float(np.mean(found)) for grid, found in errors.items()}
    assert mean[256] < mean[128] < mean[64]
    # At 4.5 to 13 m from a camera at 4 m, on the grid of the shipped networks.
    assert mean[128] < 0.04


def test_what_is_gone_covers_nothing_and_has_no_distance() -> None:
    ground = settings_of(YARD)
    zone = ZoneSettings("bay", "Bay", (polygon(RING),), (), 0.0, (), ground=ground, ground_m2=40.0)
    meter = ZoneMeter("yard", [zone], {}, "m", CLASSES)
    for things in ([(1, block(-0.9, 5))], []):
        (occupancy,) = meter.measure(label_map(YARD, things), 1, FrameTime(0.0, 0.0))
    assert occupancy.ground is not None
    assert occupancy.ground.classes["car"] == GroundShare(0.0, None, None)
    assert occupancy.ground.classes["road"].m2 == 40.0


def test_a_share_of_the_picture_is_another_share_of_the_ground() -> None:
    far = block(-0.9, 8.0)
    near = block(-0.9, 4.5)
    one, other = (measured(YARD, [(1, car)], RING) for car in (far, near))
    assert one.coverage is not None
    assert other.coverage is not None
    assert one.ground is not None
    assert other.ground is not None
    assert other.coverage["car"] > 1.8 * one.coverage["car"]
    assert other.ground.classes["car"].m2 == pytest.approx(one.ground.classes["car"].m2, rel=0.1)


def test_four_distances_and_a_diagonal_fix_four_points() -> None:
    corners = points((0, 0), (4.2, 0), (5.1, 3.3), (0.4, 4.0))
    pairs = {"AB": (0, 1), "BC": (1, 2), "CD": (2, 3), "DA": (3, 0), "AC": (0, 2), "BD": (1, 3)}
    distances = {name: math.dist(corners[a], corners[b]) for name, (a, b) in pairs.items()}
    assert np.array(quadrilateral(distances)) == pytest.approx(corners, abs=1e-9)
    with pytest.raises(GroundError, match="BD is 9 m, but the other five give"):
        quadrilateral({**distances, "BD": 9.0})
    with pytest.raises(GroundError, match="no triangle ABC"):
        quadrilateral({**distances, "AB": 90.0})
    with pytest.raises(GroundError, match="BC missing"):
        quadrilateral({"AB": 1, "CD": 1, "DA": 1, "AC": 1})


def test_zones_and_ground_go_along_with_a_view_that_moved() -> None:
    ground = settings_of(YARD)
    zone = ZoneSettings("bay", "Bay", (polygon(RING),), (), 0.0, (), ground=ground, ground_m2=40.0)
    shift = Transform(
        matrix=(1.0, 0.0, 0.03, 0.0, 1.0, -0.02), right=0.03, down=-0.02, turned_deg=0, zoom=1, farthest=0.04
    )
    (moved,) = moved_zones([zone], shift)
    assert moved.ground is not None
    before, after = ground_of(ground), ground_of(moved.ground)
    picture = points((0.4, 0.8), (0.6, 0.7))
    assert after.metres(picture + np.array([0.03, -0.02])) == pytest.approx(before.metres(picture))


PIPELINE = """\
model: tiny/model.yaml
cameras:
  yard:
    source: rtsp://10.0.0.5/
    ground:
      points: {points}
      {size}
    zones:
      bay:
        polygon: [[0.1, 0.95], [0.9, 0.95], [0.7, 0.65], [0.3, 0.65]]
        rules:
          blocked: {{occupied: [red], enter: {enter}, leave: {leave}, for: 1 s}}
      sky:
        polygon: [[0.1, 0.0], [0.9, 0.0], [0.9, 0.3]]
"""


def file_of(folder: Path, **more: str) -> Path:
    if not (folder / "tiny").exists():
        write_model(folder / "tiny", Convention())
    said = {
        "points": str([list(point) for point in settings_of(FLAT).points]),
        "size": "rectangle: 2 m x 3 m",
        "enter": "4 m2",
        "leave": "2 m2",
        **more,
    }
    path = folder / "ground.yaml"
    path.write_text(PIPELINE.format(**said))
    return path


def test_thresholds_in_square_metres(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    bay, sky = config.load(path).cameras[0].zones
    truth = shoelace(FLAT.on_ground(np.array(bay.include[0])))
    assert bay.ground_m2 == pytest.approx(truth, rel=1e-9)
    assert (sky.ground, sky.ground_m2) == (None, None)
    (rule,) = bay.rules
    assert rule.enter == pytest.approx(4 / truth)
    zone = watch(path, zone="bay")
    zone.shows("3 s", red=f"{100 * 3.9 / truth:.3f} %")
    assert zone.told == []
    zone.shows("3 s", red=f"{100 * 4.1 / truth:.3f} %")
    assert [one.event for one in zone.told] == ["new"]
    evidence = zone.alerts[0].evidence
    assert evidence is not None
    assert evidence.ground_m2 == bay.ground_m2
    assert evidence.value is not None
    assert evidence.value * truth == pytest.approx(4.1, abs=0.01)


def test_distances_in_place_of_a_rectangle(tmp_path: Path) -> None:
    diagonal = f"{math.hypot(2, 3):.6f} m"
    sides = f"distances: {{AB: 2 m, BC: 300 cm, CD: 2 m, DA: 3 m, AC: {diagonal}}}"
    same = config.load(file_of(tmp_path)).cameras[0].zones[0].ground_m2
    assert config.load(file_of(tmp_path, size=sides)).cameras[0].zones[0].ground_m2 == pytest.approx(same)


@pytest.mark.parametrize(
    ("more", "where", "says"),
    [
        ({"size": "rectangle: 2 x 3"}, "ground.rectangle", "expected two sides such as '4 m x 6.5 m'"),
        ({"size": "from: [0.5, 1]"}, "ground", "needs either rectangle or distances"),
        ({"size": "distances: {AB: 2 m}"}, "ground.distances", "BC, CD, DA, AC missing"),
        ({"size": "distances: {AX: 2 m}"}, "ground.distances", "expected AB, BC, CD, DA, AC, BD"),
        ({"points": "[[0, 0], [1, 1]]"}, "ground.points", "2 points, need 4"),
        ({"points": "[[0, 0], [1, 1], [1, 0], [0, 1]]"}, "ground.points", "convex"),
        (
            {"size": "rectangle: 2 m x 3 m\n      from: [0.5, 0.01]"},
            "ground.from",
            "above the horizon of this ground",
        ),
        ({"leave": "5 %"}, "blocked.enter", "the other threshold is a share"),
        ({"enter": "400 m2"}, "blocked.enter", "m2 of ground"),
        ({"enter": "2 m2", "leave": "4 m2"}, "blocked.leave", "contradicts enter"),
    ],
)
def test_mistakes_are_named(more: dict[str, str], where: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(file_of(tmp_path, **more))
    (problem,) = caught.value.problems
    assert problem.where.endswith(where)
    assert says in problem.message


def test_square_metres_need_ground(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    lines = path.read_text().splitlines(keepends=True)
    start = next(number for number, line in enumerate(lines) if "ground:" in line)
    path.write_text("".join(lines[:start] + lines[start + 3 :]))
    with pytest.raises(ConfigError, match="its camera has no ground"):
        config.load(path)


def test_ground_that_is_no_plane_is_refused() -> None:
    good = settings_of(FLAT)
    with pytest.raises(GroundError, match="horizon"):
        ground_of(replace(good, origin=(0.5, 0.0)))
    assert isinstance(ground_of(good), Ground)
