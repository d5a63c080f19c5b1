"""Polygons: reads zones as a pipeline file has them, and checks that they enclose an area.

A polygon is a list of [x, y] points, 0-1 of the camera picture, x to the right and y down. Wherever a
polygon may stand, so may a list of several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from edgeseg.geometry.polygons import area_in_cells, rectangle
from edgeseg.settings import Point, Polygon
from edgeseg.yamlfile import KeyPath, quoted

# The crossing test compares every edge with every other one.
MAX_POINTS = 200
# So does the measuring of a zone, with the edges of all its polygons: at this many a grid of 513 x 513
# takes a worker at most about a second and 150 MB, once.
MAX_ZONE_POINTS = 256


@dataclass(frozen=True, slots=True)
class PolygonError:
    """What is wrong with a polygon. path: from the polygon's key to the place."""

    path: KeyPath
    message: str


def read_polygons(value: object) -> tuple[tuple[Polygon, ...], list[PolygonError]]:
    """Return the polygons of one key, one or a list of several, and everything that is wrong with them.

    Only valid polygons are returned. A last point that repeats the first (as GeoJSON has it) is
    dropped.
    """
    if not isinstance(value, list):
        return (), [
            PolygonError((), f"got {quoted(value)}, expected a list of points [x, y], each from 0 to 1")
        ]
    several = bool(value) and all(_is_list_of_lists(item) for item in value)
    if not several:
        polygon, errors = _read_polygon(value, ())
        return ((polygon,) if polygon else ()), errors
    polygons: list[Polygon] = []
    found: list[PolygonError] = []
    for index, item in enumerate(value):
        polygon, errors = _read_polygon(item, (index,))
        found += errors
        if polygon:
            polygons.append(polygon)
    return tuple(polygons), found


def _is_list_of_lists(item: object) -> bool:
    return isinstance(item, list) and any(isinstance(inner, list) for inner in item)


def _read_polygon(value: list[object], at: KeyPath) -> tuple[Polygon, list[PolygonError]]:
    points: list[Point] = []
    errors: list[PolygonError] = []
    for index, item in enumerate(value):
        point, error = read_point(item, index + 1)
        if point is None:
            errors.append(PolygonError((*at, index), error))
        else:
            points.append(point)
    if errors:
        return (), errors
    if len(points) > 3 and points[0] == points[-1]:
        points.pop()
    if len(points) < 3:
        count = "1 point" if len(points) == 1 else f"{len(points)} points"
        return (), [PolygonError(at, f"{count}, need at least 3")]
    if len(points) > MAX_POINTS:
        return (), [PolygonError(at, f"{len(points)} points, {MAX_POINTS} are the most")]
    error = _outline_error(points)
    return ((), [PolygonError(at, error)]) if error else (tuple(points), [])


def read_point(item: object, number: int) -> tuple[Point | None, str]:
    """Return a point, or None and what is wrong with it. number: from 1, for the message."""
    if not isinstance(item, list) or len(item) != 2:
        return None, f"point {number}: got {quoted(item)}, expected [x, y]"
    numbers: list[float] = []
    for axis, value in zip("xy", item, strict=True):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None, f"point {number}: {axis} is {quoted(value)}, expected a number from 0 to 1"
        if not 0 <= value <= 1:
            side = "width" if axis == "x" else "height"
            hint = f"; for pixels, divide by the picture's {side}" if value > 2 else ""
            return None, f"point {number}: {axis} is {quoted(value)}, expected 0 to 1{hint}"
        numbers.append(float(value))
    return (numbers[0], numbers[1]), ""


def _outline_error(points: Sequence[Point]) -> str:
    """Return why the closed outline bounds no plain area; empty if it does."""
    if _on_one_line(points):
        return "all points lie on one line, so it has no area"
    count = len(points)
    for first in range(count):
        a, b = points[first], points[(first + 1) % count]
        if a == b:
            return f"points {first + 1} and {(first + 1) % count + 1} are the same; remove one"
        for second in range(first + 1, count):
            c, d = points[second], points[(second + 1) % count]
            if second == first + 1:
                crossing = _folds_back(a, b, d)
            elif first == 0 and second == count - 1:
                crossing = _folds_back(c, a, b)
            else:
                crossing = _meet(a, b, c, d)
            if crossing:
                return (
                    f"crosses itself: the edge from point {first + 1} to point {first + 2} meets the edge "
                    f"from point {second + 1} to point {(second + 1) % count + 1}; "
                    "list the points in their order around the zone"
                )
    return ""


def _on_one_line(points: Sequence[Point]) -> bool:
    anchor = next((point for point in points if point != points[0]), None)
    return anchor is None or all(_turn(points[0], anchor, point) == 0 for point in points)


def _turn(a: Point, b: Point, c: Point) -> int:
    """Return the sign of the cross product (b - a) x (c - a), exact: rounding must not invent a crossing."""
    ax, ay, bx, by, cx, cy = (Fraction(v) for v in (*a, *b, *c))
    cross = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    return (cross > 0) - (cross < 0)


def _within(a: Point, b: Point, p: Point) -> bool:
    """Return whether p, known to be on the line through a and b, is between them."""
    return min(a[0], b[0]) <= p[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= p[1] <= max(a[1], b[1])


def _folds_back(a: Point, b: Point, c: Point) -> bool:
    """Return whether the edge b-c runs back over the edge a-b."""
    return _turn(a, b, c) == 0 and (_within(a, b, c) or _within(b, c, a))


def _meet(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Return whether the segments a-b and c-d share a point (touching counts)."""
    apart = (
        max(a[0], b[0]) < min(c[0], d[0])
        or max(c[0], d[0]) < min(a[0], b[0])
        or max(a[1], b[1]) < min(c[1], d[1])
        or max(c[1], d[1]) < min(a[1], b[1])
    )
    if apart:
        return False
    abc, abd, cda, cdb = _turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)
    if abc != abd and cda != cdb:
        return True
    touching = ((abc, a, b, c), (abd, a, b, d), (cda, c, d, a), (cdb, c, d, b))
    return any(turn == 0 and _within(p, q, point) for turn, p, q, point in touching)


def covers(area: float, include: Sequence[Polygon], exclude: Sequence[Polygon]) -> bool:
    """Return whether the union of ``include`` less that of ``exclude`` covers ``area``, a share, 0-1."""
    rings = [[np.array(polygon) for polygon in polygons] for polygons in (include, exclude)]
    covered = area_in_cells(rings[0], rings[1], rectangle(0, 0, 1, 1), (1, 1))
    return bool(covered.sum() >= area)
