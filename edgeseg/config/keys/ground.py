"""The key ``ground`` of a camera: four points whose distances on the ground are known."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from edgeseg.config.fields import Keys, text
from edgeseg.config.geometry import read_point
from edgeseg.config.report import Report
from edgeseg.geometry.ground_plane import (
    OTHER_DIAGONAL,
    SIDES,
    GroundError,
    area_m2,
    ground_of,
    quadrilateral,
)
from edgeseg.settings import GroundSettings, Point, Polygon
from edgeseg.yamlfile import KeyPath, quoted, suggestion

# The middle of the picture's lower edge: the nearest ground that a level camera sees.
DEFAULT_ORIGIN: Point = (0.5, 1.0)
LONGEST_M = 10_000.0

_NUMBER = r"[0-9]{1,6}(?:\.[0-9]{1,6})?"
_LENGTH = re.compile(rf"({_NUMBER})\s*(cm|m)")
_RECTANGLE = re.compile(rf"({_NUMBER}\s*(?:cm|m))\s*[xX×]\s*({_NUMBER}\s*(?:cm|m))")
_UNIT_M = {"m": Decimal(1), "cm": Decimal("0.01")}


def _length_m(value: object) -> float:
    found = _LENGTH.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"got {quoted(value)}, expected a length such as '4.5 m' or '80 cm'")
    length_m = float(Decimal(found[1]) * _UNIT_M[found[2]])
    if not 0 < length_m <= LONGEST_M:
        raise ValueError(f"got {quoted(value)}, expected more than 0 m and at most {LONGEST_M:g} m")
    return length_m


def _rectangle_m(value: object) -> tuple[float, float]:
    found = _RECTANGLE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"got {quoted(value)}, expected two sides such as '4 m x 6.5 m'")
    return _length_m(found[1]), _length_m(found[2])


def _distances(value: object) -> object:
    known = (*SIDES, OTHER_DIAGONAL)
    if isinstance(value, dict):
        for name in value:
            if name not in known:
                raise ValueError(
                    f"got {quoted(name)}, expected {', '.join(known)}{suggestion(str(name), known)}"
                )
    return value


Length = Annotated[
    float,
    BeforeValidator(_length_m),
    text({"pattern": rf"^\s*{_NUMBER}\s*(cm|m)\s*$", "examples": ["4.5 m"]}),
]
Rectangle = Annotated[
    tuple[float, float],
    BeforeValidator(_rectangle_m),
    text({"pattern": _RECTANGLE.pattern, "examples": ["4 m x 6.5 m"]}),
]


class GroundFile(Keys, title="ground"):
    """Where the camera sees a plane ground, by four points A, B, C, D in their order around, and either the
    rectangle that they are the corners of, or their distances."""

    points: Any = Field(
        description="Four points [x, y], 0-1 of the camera picture, on the ground, in their order around; as "
        "far apart as can be."
    )
    rectangle: Rectangle | None = Field(
        None, description="The points are a rectangle's corners: its side from A to B x that from B to C."
    )
    distances: Annotated[dict[str, Length], BeforeValidator(_distances)] | None = Field(
        None,
        description="Distances on the ground between the points: AB, BC, CD, DA and the diagonal AC; BD too, "
        "and it is checked.",
    )
    from_: Any = Field(
        None,
        alias="from",
        description="The point [x, y] of the picture from which distances count. Default: [0.5, 1], the "
        "middle of the lower edge.",
    )


@dataclass(frozen=True, slots=True)
class ZoneGround:
    """m2: the zone's area on the ground; None where that is not known. why: what to do about that; empty
    where the reason was reported already."""

    m2: float | None
    why: str = ""


NO_GROUND = ZoneGround(None, "its camera has no ground; add 'ground:', or write a share in %")
_ABOVE_HORIZON = ZoneGround(
    None,
    "the zone reaches above the ground's horizon, where there are no square metres; draw it lower, or "
    "write a share in %",
)


@dataclass(frozen=True, slots=True)
class CameraGround:
    """settings: None for none. invalid: the file has a ground, and its errors were reported."""

    settings: GroundSettings | None
    invalid: bool

    def of_zone(self, include: Sequence[Polygon], exclude: Sequence[Polygon]) -> ZoneGround:
        """Return what the union of ``include`` less that of ``exclude`` measures on the ground."""
        if self.settings is None or not include:
            return ZoneGround(None) if self.invalid or not include else NO_GROUND
        try:
            return ZoneGround(area_m2(ground_of(self.settings), include, exclude))
        except ValueError:
            return _ABOVE_HORIZON


def camera_ground(file: GroundFile | None, report: Report, *, missing: bool) -> CameraGround:
    """Return the ground of a camera.

    Args:
        file: None without the key.
        report: of the key ``ground``.
        missing: whether the key may have been left out of ``file`` for its errors.
    """
    if file is None:
        return CameraGround(None, invalid=missing)
    settings = ground_settings(file, report)
    return CameraGround(settings, invalid=settings is None)


def ground_settings(file: GroundFile, report: Report) -> GroundSettings | None:
    """Return the ground, or None after reporting everything that is wrong with it."""
    before = report.count
    points = _points(file.points, ("points",), report)
    origin = DEFAULT_ORIGIN
    if file.from_ is not None:
        (origin,) = _points([file.from_], ("from",), report) or (DEFAULT_ORIGIN,)
    if report.count == before and len(points) != 4:
        report.error(f"{len(points)} points, need 4", ("points",))
    if not report.complete and file.rectangle is None and file.distances is None:
        return None
    if (file.rectangle is None) == (file.distances is None):
        report.error("needs either rectangle or distances beside the points, such as 'rectangle: 4 m x 6 m'")
    if report.count > before:
        return None
    try:
        settings = GroundSettings(tuple(points), _metres(file), origin)
        ground_of(settings)
    except GroundError as error:
        key = "rectangle" if error.what == "distances" and file.rectangle is not None else error.what
        report.error(str(error), (key,))
        return None
    return settings


def _metres(file: GroundFile) -> tuple[Point, ...]:
    """Return where the four points are on the ground, in metres. Raises GroundError."""
    if file.rectangle is None:
        return quadrilateral(file.distances or {})
    along, across = file.rectangle
    return (0.0, 0.0), (along, 0.0), (along, across), (0.0, across)


def _points(file: object, at: KeyPath, report: Report) -> list[Point]:
    if not isinstance(file, list):
        report.error(f"got {quoted(file)}, expected four points [x, y], each from 0 to 1", at)
        return []
    found = []
    for number, item in enumerate(file, start=1):
        point, error = read_point(item, number)
        if point is None:
            report.error(error, (*at, number - 1) if at == ("points",) else at)
        else:
            found.append(point)
    return found
