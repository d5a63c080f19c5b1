"""The key ``ground`` of a camera: four points whose distances on the ground are known."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from edgeseg.config.fields import Keys, text
from edgeseg.config.geometry import read_point
from edgeseg.geometry.ground_plane import OTHER_DIAGONAL, SIDES, GroundError, ground_of, quadrilateral
from edgeseg.settings import GroundSettings, Point
from edgeseg.yamlfile import PathPart, quoted, suggestion

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


Wrong = Callable[[Sequence[PathPart], str], None]
"""Takes the steps below ``ground`` to what is wrong, and the message."""


def ground_settings(file: GroundFile, whole: bool, wrong: Wrong) -> GroundSettings | None:
    """None after everything wrong with it was told to ``wrong``.

    whole: False where some of its keys were wrong and left out; then nothing is said about missing ones.
    """
    flaws = 0

    def tell(steps: Sequence[PathPart], message: str) -> None:
        nonlocal flaws
        flaws += 1
        wrong(steps, message)

    points = _points(file.points, ("points",), tell)
    origin = DEFAULT_ORIGIN
    if file.from_ is not None:
        (origin,) = _points([file.from_], ("from",), tell) or (DEFAULT_ORIGIN,)
    if not flaws and len(points) != 4:
        tell(("points",), f"{len(points)} points, need 4")
    if not whole and file.rectangle is None and file.distances is None:
        return None
    if (file.rectangle is None) == (file.distances is None):
        tell((), "needs either rectangle or distances beside the points, such as 'rectangle: 4 m x 6 m'")
    if flaws:
        return None
    try:
        metres: Sequence[Point]
        if file.rectangle is not None:
            along, across = file.rectangle
            metres = ((0.0, 0.0), (along, 0.0), (along, across), (0.0, across))
        else:
            metres = quadrilateral(file.distances or {})
        settings = GroundSettings(tuple(points), tuple(metres), origin)
        ground_of(settings)
    except GroundError as error:
        key = "rectangle" if error.what == "distances" and file.rectangle is not None else error.what
        wrong((key,), str(error))
        return None
    return settings


def _points(value: object, at: Sequence[PathPart], tell: Wrong) -> list[Point]:
    if not isinstance(value, list):
        tell(at, f"got {quoted(value)}, expected four points [x, y], each from 0 to 1")
        return []
    found = []
    for number, item in enumerate(value, start=1):
        point, flaw = read_point(item, number)
        if point is None:
            tell((*at, number - 1) if at == ("points",) else at, flaw)
        else:
            found.append(point)
    return found
