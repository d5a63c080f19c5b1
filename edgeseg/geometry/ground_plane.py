"""Ground plane: where points of the picture lie in metres, and how many square metres they stand for.

The ground is taken for a plane and the lens for one without distortion; then picture and ground are related
by a homography, which four points fix (Hartley and Zisserman, Multiple View Geometry, 2nd ed., 2.3 and 4.1).
Picture coordinates are 0-1 of the picture's width and height, as zones have them: the picture's shape and
size are part of the homography. A point counts as ground wherever it is seen, so the parts of a thing that
stand above the ground are measured too far away and too large; where it touches the ground is right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeseg.geometry.polygons import F64, area_in_cells, rectangle
from edgeseg.settings import GroundSettings, Point, Polygon

# Five of these fix four points on a plane, but for which way up they are.
SIDES = ("AB", "BC", "CD", "DA", "AC")
OTHER_DIAGONAL = "BD"
# How far a sixth distance may be from the one that follows from the other five.
_AGREES_WITHIN = 0.05
_LEAST_AREA = 1e-9


class GroundError(ValueError):
    """The four points do not fix a ground. ``what``: the key below ``ground`` to correct."""

    def __init__(self, what: str, message: str) -> None:
        self.what = what
        super().__init__(message)


def quadrilateral(distances_m: Mapping[str, float]) -> tuple[Point, Point, Point, Point]:
    """Four points A, B, C, D on the ground, in metres, from their distances: A at 0, B to its right.

    distances_m: ``SIDES``, and perhaps ``OTHER_DIAGONAL``, by which the others are checked. B and D lie on
    the two sides of AC. Raises GroundError for distances that no four points have.
    """
    missing = [name for name in SIDES if name not in distances_m]
    if missing:
        raise GroundError("distances", f"{', '.join(missing)} missing; {', '.join(SIDES)} are needed")
    ab, bc, cd, da, ac = (distances_m[name] for name in SIDES)
    c = _third(ab, ac, bc, "ABC")
    along, beside = _third(ac, da, cd, "ACD")
    # In the frame of AC, on its left as seen from A, where B is on its right.
    cos, sin = c[0] / ac, c[1] / ac
    d = (along * cos - beside * sin, along * sin + beside * cos)
    given_m = distances_m.get(OTHER_DIAGONAL)
    found_m = math.dist((ab, 0.0), d)
    if given_m is not None and abs(given_m - found_m) > _AGREES_WITHIN * found_m:
        raise GroundError(
            "distances", f"BD is {given_m:g} m, but the other five give {found_m:.3g} m; measure again"
        )
    return (0.0, 0.0), (ab, 0.0), c, d


def _third(base_m: float, first_m: float, second_m: float, names: str) -> Point:
    """The tip of a triangle whose base goes from the origin to (base, 0), above it."""
    x = (base_m**2 + first_m**2 - second_m**2) / (2 * base_m)
    rest = first_m**2 - x**2
    if rest <= 0:
        raise GroundError("distances", f"no triangle {names} has these sides; measure again")
    return x, math.sqrt(rest)


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """homography: float64 (3, 3), from picture points to metres; its last row is positive where ground is
    seen and 0 on the horizon. origin_m: from where distances count."""

    homography: F64
    origin_m: F64

    def facing(self, points: F64) -> F64:
        """Above 0 where a point is ground, 0 on the horizon, float64 (n,); linear in the picture."""
        w: F64 = self._projected(points)[:, 2]
        return w

    def metres(self, points: F64, at_least: float = 0.0) -> F64:
        """points: float64 (n, 2), 0-1, below the horizon. Returns float64 (n, 2), metres.

        at_least: what ``facing`` is taken for where it is less, for cells that a zone only touches.
        """
        projected = self._projected(points)
        on_ground: F64 = projected[:, :2] / np.maximum(projected[:, 2:], at_least)
        return on_ground

    def distance_m(self, points: F64, at_least: float = 0.0) -> F64:
        """From the origin, float64 (n,)."""
        away: F64 = np.hypot(*(self.metres(points, at_least) - self.origin_m).T)
        return away

    def square_metres(self, points: F64, at_least: float = 0.0) -> F64:
        """What one whole picture would measure if all of it were as near as each point: float64 (n,). Times
        a share of the picture it is square metres; over the number of pixels, square metres a pixel.

        The Jacobian's determinant of a homography is det(H) / w^3.
        """
        area: F64 = abs(np.linalg.det(self.homography)) / np.maximum(self.facing(points), at_least) ** 3
        return area

    def sees(self, polygons: Sequence[Polygon]) -> bool:
        """Whether all of them is ground: none of it on or above the horizon."""
        return all((self.facing(np.array(polygon)) > 0).all() for polygon in polygons)

    def _projected(self, points: F64) -> F64:
        homogeneous = np.column_stack([points, np.ones(len(points))])
        projected: F64 = homogeneous @ self.homography.T
        return projected


def ground_of(settings: GroundSettings) -> Ground:
    """Return the ground plane of a zone. Raises GroundError where the points give none."""
    picture, metres = np.array(settings.points), np.array(settings.metres)
    for name, quad in (("points", picture), ("distances", metres)):
        if not _convex(quad):
            raise GroundError(name, "the four points must be the corners of a convex shape, in their order")
    homography = _homography(picture, metres)
    w = np.column_stack([picture, np.ones(4)]) @ homography[2]
    if not ((w > 0).all() or (w < 0).all()):
        raise GroundError(
            "points", "no plane is seen like that; are they in the same order as the distances?"
        )
    homography = homography * math.copysign(1.0, w[0])
    ground = Ground(homography / abs(w).mean(), np.zeros(2))
    origin = np.array([settings.origin])
    if not (np.column_stack([origin, np.ones(1)]) @ homography[2] > 0).all():
        raise GroundError("from", "lies on or above the horizon of this ground; name a point on the ground")
    return Ground(ground.homography, ground.metres(origin)[0])


def _homography(source: F64, target: F64) -> F64:
    """The direct linear transformation from four points; exact for four."""
    rows = []
    for (x, y), (u, v) in zip(source.tolist(), target.tolist(), strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y, -u])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y, -v])
    *_, right = np.linalg.svd(np.array(rows, np.float64))
    solved: F64 = right[-1].reshape(3, 3)
    return solved


def _convex(quad: F64) -> bool:
    edges = np.roll(quad, -1, axis=0) - quad
    nexts = np.roll(edges, -1, axis=0)
    turns = edges[:, 0] * nexts[:, 1] - edges[:, 1] * nexts[:, 0]
    return bool((turns > _LEAST_AREA).all() or (turns < -_LEAST_AREA).all())


def area_m2(ground: Ground, include: Sequence[Polygon], exclude: Sequence[Polygon]) -> float:
    """Of the union of ``include`` less that of ``exclude``, exactly: straight edges stay straight.

    Raises ValueError where not all of it is below the horizon.
    """
    if not ground.sees(include):
        raise ValueError("reaches above the horizon of the ground")
    rings = [ground.metres(np.array(ring)) for ring in include]
    holes = [ground.metres(np.array(ring)) for ring in exclude if ground.sees([ring])]
    lowest = np.min(np.concatenate(rings), axis=0)
    size = np.max(np.concatenate(rings), axis=0) - lowest
    scale = 1 / size
    covered = area_in_cells(
        [(ring - lowest) * scale for ring in rings],
        [(ring - lowest) * scale for ring in holes],
        rectangle(0, 0, 1, 1),
        (1, 1),
    )
    return float(covered.sum() * size.prod())
