"""Units: parses durations, shares, sizes and times of day, always with their unit, never guessed.

Each function takes any value of the file and raises ValueError with the message of a config problem
(``got 10, which has no unit; write '10 s' ...``). Decimal arithmetic keeps ``0.1 %`` from becoming
``0.10000000000000002``.
"""

from __future__ import annotations

import re
from decimal import Decimal

from edgeseg.models.model import LONGEST_SIDE_PX, SHORTEST_SIDE_PX
from edgeseg.yamlfile import Sexagesimal, quoted

_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_PART = re.compile(rf"\s*({_NUMBER})\s*([A-Za-zµ]+)")
_PERCENT = re.compile(rf"({_NUMBER})\s*%")
_AREA = re.compile(rf"({_NUMBER})\s*m(?:2|²|\^2)")
_SIZE = re.compile(r"([0-9]{1,5})\s*[xX×]\s*([0-9]{1,5})")
_HOURS = re.compile(r"([0-9]{1,2}):([0-9]{2})\s*(?:-|–|to)\s*([0-9]{1,2}):([0-9]{2})")

_UNIT_S = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "min": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_NEARLY_UNIT = {
    "m": "min",
    "mins": "min",
    "minute": "min",
    "minutes": "min",
    "sec": "s",
    "secs": "s",
    "second": "s",
    "seconds": "s",
    "hour": "h",
    "hours": "h",
    "hr": "h",
    "hrs": "h",
    "day": "d",
    "days": "d",
    "msec": "ms",
    "millisecond": "ms",
    "milliseconds": "ms",
}
MAX_DURATION_S = 30 * 86400

DURATION_PATTERN = rf"^\s*({_NUMBER}\s*(ms|s|min|h|d)\s*)+$"
PERCENT_PATTERN = rf"^\s*{_NUMBER}\s*%\s*$"
THRESHOLD_PATTERN = rf"^\s*{_NUMBER}\s*(%|m2|m²|m\^2)\s*$"
SIZE_PATTERN = r"^\s*[0-9]{1,5}\s*[xX×]\s*[0-9]{1,5}\s*$"
HOURS_PATTERN = r"^\s*[0-9]{1,2}:[0-9]{2}\s*(-|–|to)\s*[0-9]{1,2}:[0-9]{2}\s*$"


def duration_s(value: object) -> float:
    """``10 s``, ``500 ms``, ``5 min``, ``1 h 30 min`` -> seconds, 0 to 30 days."""
    if _is_number(value):
        raise ValueError(f"got {value}, which has no unit; write '{value} s', '{value} min' or the like")
    if isinstance(value, Sexagesimal):
        raise ValueError(
            f"got {str(value)!r}, a time of day or a number to base 60; write '10 min' or '90 s'"
        )
    if not isinstance(value, str):
        raise ValueError(f"got {quoted(value)}, expected a duration such as '10 s' or '5 min'")
    text = value.strip()
    total, at, seen = Decimal(0), 0, Decimal("Infinity")
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            raise ValueError(f"got {quoted(value)}, expected a duration such as '10 s' or '1 h 30 min'")
        number, unit = part.groups()
        if unit not in _UNIT_S:
            meant = _meant(text)
            hint = f"write '{meant}'" if meant else "units are ms, s, min, h, d"
            raise ValueError(f"got {quoted(value)}: no unit is called {unit!r}; {hint}")
        if _UNIT_S[unit] >= seen:
            raise ValueError(f"got {quoted(value)}; name each unit once, the largest first: '1 h 30 min'")
        seen = _UNIT_S[unit]
        total += Decimal(number) * seen
        at = part.end()
    if not text:
        raise ValueError("got '', expected a duration such as '10 s' or '5 min'")
    if total > MAX_DURATION_S:
        raise ValueError(f"got {quoted(value)}, expected at most 30 d")
    return float(total)


def _meant(text: str) -> str:
    """Return a duration with the units that were meant: ``1h30m`` -> ``1 h 30 min``; empty for none."""
    written = _PART.findall(text)
    parts = [(number, _NEARLY_UNIT.get(unit.lower(), unit.lower())) for number, unit in written]
    if _PART.sub("", text).strip() or any(unit not in _UNIT_S for _, unit in parts):
        return ""
    largest_first = sorted(parts, key=lambda part: -_UNIT_S[part[1]])
    return " ".join(f"{number} {unit}" for number, unit in largest_first)


def duration_text(seconds: float) -> str:
    """Return the shortest way to write a duration that ``duration_s`` reads back as the same number."""
    rest = Decimal(repr(seconds))
    parts = []
    for unit in ("d", "h", "min"):
        count, rest = divmod(rest, _UNIT_S[unit])
        if count:
            parts.append(f"{count:f} {unit}")
    if rest or not parts:
        parts.append(f"{rest.normalize():f} s")
    return " ".join(parts)


def share(value: object) -> float:
    """``20 %`` -> 0.2; 0 to 100 %."""
    if _is_number(value):
        raise ValueError(f"got {value}, which has no unit; {_percent_meant(value)}")
    found = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        comma = isinstance(value, str) and re.fullmatch(r"\s*[0-9]+,[0-9]+\s*%\s*", value)
        hint = "; decimals take a point, not a comma" if comma else ""
        raise ValueError(f"got {quoted(value)}, expected a percentage such as '20 %'{hint}")
    percent = Decimal(found[1])
    if percent > 100:
        raise ValueError(f"got {quoted(value)}, expected 0 % to 100 %")
    return float(percent / 100)


class SquareMetres(float):
    """An area on the ground, as a threshold."""

    __slots__ = ()


def threshold(value: object) -> float:
    """A ``share``, or ``4 m2`` -> SquareMetres, more than 0."""
    found = _AREA.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return share(value)
    return SquareMetres(Decimal(found[1]))


def area_text(value_m2: float) -> str:
    """4.0 -> ``4 m2``, to the square centimetre."""
    return f"{Decimal(repr(round(value_m2, 4))).normalize():f} m2"


def share_text(value: float) -> str:
    """0.2 -> ``20 %``: for messages."""
    return f"{(Decimal(repr(value)) * 100).normalize():f} %"


def size_px(value: object) -> tuple[int, int]:
    """``512x288`` -> (width, height) in pixels."""
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"got {quoted(value)}, expected width x height in pixels such as '512x288'")
    width, height = int(found[1]), int(found[2])
    if not all(SHORTEST_SIDE_PX <= side <= LONGEST_SIDE_PX for side in (width, height)):
        raise ValueError(
            f"got {quoted(value)}, expected {SHORTEST_SIDE_PX} to {LONGEST_SIDE_PX} pixels each way"
        )
    return width, height


def hours_min(value: object) -> tuple[int, int]:
    """``22:00-06:00`` -> minutes after midnight (start, end), end exclusive, at most 1440 (24:00)."""
    if isinstance(value, Sexagesimal):
        raise ValueError(
            f"got {value!s} without quotes and without an end, which YAML 1.1 takes for a number to "
            f'base 60; write a window in quotes, such as "{str(value)[:5]}-06:00"'
        )
    found = _HOURS.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'got {quoted(value)}, expected a window such as "22:00-06:00"')
    start_h, start_m, end_h, end_m = (int(part) for part in found.groups())
    start, end = start_h * 60 + start_m, end_h * 60 + end_m
    if start_m > 59 or end_m > 59 or start >= 24 * 60 or end > 24 * 60:
        raise ValueError(f"got {quoted(value)}, expected times of day from 00:00 to 24:00")
    if start == end:
        raise ValueError(f"got {quoted(value)}, which is empty; leave hours out for the whole day")
    return start, end


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _percent_meant(value: object) -> str:
    number = Decimal(repr(value))
    if 0 < number < 1:
        return f"write '{(number * 100).normalize():f} %' for the share {value}"
    if number == 1:
        return "write '1 %' or '100 %'"
    return f"write '{value} %'"
