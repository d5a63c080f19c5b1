"""Fields: the kinds of values that many keys have, each with its check and its JSON Schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from edgeseg.config import names, units
from edgeseg.yamlfile import Switch


class Keys(BaseModel):
    """A mapping of the pipeline file: other keys than its own are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


def _name(value: str) -> str:
    error = names.name_error(value)
    if error:
        raise ValueError(error)
    return value


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def between(lowest: float, highest: float) -> Callable[[float], float]:
    """Return a check for bounds whose error names both; pydantic's own names one."""

    def check(value: float) -> float:
        if not lowest <= value <= highest:
            raise ValueError(f"got {value:.15g}, expected {lowest:g} to {highest:g}")
        return value

    return check


def duration_between(shortest_s: float, longest_s: float) -> AfterValidator:
    """Return a check for the bounds of a ``Duration`` whose error has units."""

    def check(value_s: float) -> float:
        if not shortest_s <= value_s <= longest_s:
            ends = " to ".join(units.duration_text(end_s) for end_s in (shortest_s, longest_s))
            raise ValueError(f"got {units.duration_text(value_s)}, expected {ends}")
        return value_s

    return AfterValidator(check)


def text(schema: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", **schema})


_POINT = {
    "type": "array",
    "items": {"type": "number", "minimum": 0, "maximum": 1},
    "minItems": 2,
    "maxItems": 2,
}
_ONE_POLYGON = {"type": "array", "items": _POINT, "minItems": 3}

Duration = Annotated[
    float, BeforeValidator(units.duration_s), text({"pattern": units.DURATION_PATTERN, "examples": ["10 s"]})
]
Share = Annotated[
    float, BeforeValidator(units.share), text({"pattern": units.PERCENT_PATTERN, "examples": ["20 %"]})
]
# A share, or SquareMetres: pydantic would make a plain float of it.
Threshold = Annotated[
    Any,
    BeforeValidator(units.threshold),
    text({"pattern": units.THRESHOLD_PATTERN, "examples": ["20 %", "4 m2"]}),
]
Size = Annotated[
    tuple[int, int],
    BeforeValidator(units.size_px),
    text({"pattern": units.SIZE_PATTERN, "examples": ["512x288"]}),
]
Hours = Annotated[
    tuple[int, int],
    BeforeValidator(units.hours_min),
    text({"pattern": units.HOURS_PATTERN, "examples": ["22:00-06:00"]}),
]
Name = Annotated[str, AfterValidator(_name), text({"pattern": names.NAME_PATTERN})]
Terms = Annotated[
    list[str],
    BeforeValidator(_as_list),
    Field(min_length=1),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    ),
]
# Any: the errors of ``geometry`` are far better than those of nested list types.
Polygons = Annotated[
    Any, WithJsonSchema({"anyOf": [_ONE_POLYGON, {"type": "array", "items": _ONE_POLYGON, "minItems": 1}]})
]
ON_OFF_WORDS = ("on", "off", "yes", "no")
# To some editors these are text, to others (YAML 1.1) true and false.
OnOff = Annotated[Switch, WithJsonSchema({"anyOf": [{"enum": list(ON_OFF_WORDS)}, {"type": "boolean"}]})]
