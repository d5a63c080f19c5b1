"""The pipeline file as it is written: every key, what it may hold, and its words for editors.

pydantic checks shape and units here. What needs more than one key, the model's classes or geometry is
checked in ``build``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)

from edgeseg import launch
from edgeseg.config import addresses, names, units
from edgeseg.runtimes import AUTO, ENGINES
from edgeseg.settings import (
    FASTEST_FPS,
    LONGEST_AGE_S,
    LONGEST_REFRESH_S,
    LONGEST_TTL_S,
    SHORTEST_AGE_S,
    SHORTEST_REFRESH_S,
    SHORTEST_TTL_S,
    SLOWEST_FPS,
    DecodeName,
    FitName,
    Sensitivity,
)
from edgeseg.yamlfile import Switch, nearest, shown

LATER_ENGINES = ("kserve",)
LATER = "not in this version yet"

# Keys of the design that this version does not act on: refused, never silently without effect.
LATER_PIPELINE_KEYS = ("homeassistant", "web", "budget")


def _engine(value: object) -> object:
    if value in LATER_ENGINES:
        raise ValueError(f"got {shown(value)}, {LATER}; expected {', '.join(ENGINES)}")
    if value not in ENGINES:
        hint = nearest(value, (*ENGINES, *LATER_ENGINES)) if isinstance(value, str) else ""
        close = hint if "did you mean" in hint else ""
        raise ValueError(f"got {shown(value)}, expected {', '.join(ENGINES)}{close}")
    return value


def _name(value: str) -> str:
    flaw = names.name_flaw(value)
    if flaw:
        raise ValueError(flaw)
    return value


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _broker(value: str) -> str:
    addresses.broker(value)
    return value


def _prefix(value: str) -> str:
    if not re.fullmatch(names.PREFIX_PATTERN, value):
        raise ValueError(
            f"got {shown(value)}, expected topic levels of letters, digits, _ and -, such as "
            "edgeseg or site/edgeseg"
        )
    return value


def _broker_keys(value: object) -> object:
    """``mqtt: mqtt://host``, as many programs have it."""
    if not isinstance(value, str):
        return value
    try:
        addresses.broker(value)
    except ValueError:
        url = "mqtt://host"
    else:
        url = value
    raise ValueError(f'got {shown(value)}, expected keys with values; write {{url: "{url}"}}')


def _between(lowest: float, highest: float) -> Callable[[float], float]:
    """pydantic's own bounds are told one at a time, the one that was missed."""

    def check(value: float) -> float:
        if not lowest <= value <= highest:
            raise ValueError(f"got {value:.15g}, expected {lowest:g} to {highest:g}")
        return value

    return check


def _age(value: float) -> float:
    if not SHORTEST_AGE_S <= value <= LONGEST_AGE_S:
        ends = " to ".join(units.duration_text(end_s) for end_s in (SHORTEST_AGE_S, LONGEST_AGE_S))
        raise ValueError(f"got {units.duration_text(value)}, expected {ends}")
    return value


def _refresh(value: float) -> float:
    if not SHORTEST_REFRESH_S <= value <= LONGEST_REFRESH_S:
        ends = " to ".join(units.duration_text(end_s) for end_s in (SHORTEST_REFRESH_S, LONGEST_REFRESH_S))
        raise ValueError(f"got {units.duration_text(value)}, expected {ends}")
    return value


def _ttl(value: float) -> float:
    if not SHORTEST_TTL_S <= value <= LONGEST_TTL_S:
        ends = " to ".join(units.duration_text(end_s) for end_s in (SHORTEST_TTL_S, LONGEST_TTL_S))
        raise ValueError(f"got {units.duration_text(value)}, expected {ends}")
    return value


def _text(schema: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", **schema})


_POINT = {
    "type": "array",
    "items": {"type": "number", "minimum": 0, "maximum": 1},
    "minItems": 2,
    "maxItems": 2,
}
_ONE_POLYGON = {"type": "array", "items": _POINT, "minItems": 3}

Duration = Annotated[
    float, BeforeValidator(units.duration_s), _text({"pattern": units.DURATION_PATTERN, "examples": ["10 s"]})
]
Share = Annotated[
    float, BeforeValidator(units.share), _text({"pattern": units.PERCENT_PATTERN, "examples": ["20 %"]})
]
Size = Annotated[
    tuple[int, int],
    BeforeValidator(units.size_px),
    _text({"pattern": units.SIZE_PATTERN, "examples": ["512x288"]}),
]
Hours = Annotated[
    tuple[int, int],
    BeforeValidator(units.hours_min),
    _text({"pattern": units.HOURS_PATTERN, "examples": ["22:00-06:00"]}),
]
Rate = Annotated[
    float,
    AfterValidator(_between(SLOWEST_FPS, FASTEST_FPS)),
    WithJsonSchema({"type": "number", "minimum": SLOWEST_FPS, "maximum": FASTEST_FPS}),
]
Priority = Annotated[
    int,
    AfterValidator(_between(0, 100)),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 100}),
]
Name = Annotated[str, AfterValidator(_name), _text({"pattern": names.NAME_PATTERN})]
Terms = Annotated[
    list[str],
    BeforeValidator(_as_list),
    Field(min_length=1),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    ),
]
EngineName = Annotated[
    str,
    BeforeValidator(_engine),
    WithJsonSchema({"enum": list(ENGINES)}),
]
# Any: geometry says what is wrong with a point far better than nested list types do.
Polygons = Annotated[
    Any, WithJsonSchema({"anyOf": [_ONE_POLYGON, {"type": "array", "items": _ONE_POLYGON, "minItems": 1}]})
]
Title = Annotated[str, Field(min_length=1, max_length=100)]
ModelName = Annotated[str, Field(min_length=1)]


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class ChangedFrom(_Keys, title="changed from"):
    from_: Terms = Field(
        alias="from", description="Classes or groups that should be there; the rule watches their share."
    )


def _dominant(value: object) -> object:
    if value != "dominant":
        raise ValueError(f"got {shown(value)}, expected dominant, or {{from: ...}} with classes or groups")
    return value


# Told apart by hand, so that a mistake in one form is not also one in the other.
Changed = Annotated[
    Union[
        Annotated[Literal["dominant"], BeforeValidator(_dominant), Tag("word")],
        Annotated[ChangedFrom, Tag("mapping")],
    ],
    Discriminator(lambda value: "mapping" if isinstance(value, (dict, ChangedFrom)) else "word"),
]


class RuleFile(_Keys, title="rule"):
    """Exactly one of occupied, changed and absent says what the rule watches for."""

    occupied: Terms | None = Field(
        None,
        description="Begins when these classes or groups together cover at least `enter` of the zone, "
        "ends at or below `leave`.",
    )
    changed: Changed | None = Field(
        None,
        description="`dominant`: begins when another class than `reference` covers most of the zone. "
        "`{from: road}`: begins when the share of road falls below `enter`, ends above `leave`.",
    )
    absent: Terms | None = Field(
        None,
        description="Begins when these classes or groups together cover less than `enter`, "
        "ends above `leave`.",
    )
    reference: str | None = Field(
        None,
        description="For `changed: dominant`: the class or group that is normal. Default: the first one "
        "that held for `for`.",
    )
    enter: Share | None = Field(
        None,
        description="Share of the zone at which the rule begins. Default: 10 % for occupied, 1 % for "
        "absent, 50 % for changed.",
    )
    leave: Share | None = Field(
        None,
        description="Share of the zone at which the rule ends. Default: half of `enter` for occupied; "
        "for absent and changed twice `enter`, but at most half-way from `enter` to 100 %.",
    )
    for_: Duration | None = Field(
        None,
        alias="for",
        description="How long the condition must hold before the rule begins. Default: 5 s.",
    )
    clear: Duration | None = Field(
        None, description="How long it must be over before the rule ends. Default: the same as `for`."
    )
    cooldown: Duration | None = Field(
        None, description="Pause after an alert before the same rule may begin again. Default: 0 s."
    )
    hours: Hours | None = Field(
        None, description='Daily window in which the rule is active; it may span midnight: "22:00-06:00".'
    )
    timezone: str | None = Field(None, description="Time zone of `hours`, such as Europe/Rome. Default: UTC.")
    on_unknown: Literal["hold", "end", "raise"] | None = Field(
        None,
        description="What to do while the picture cannot be trusted: `hold` what is (the default), `end` "
        "the alert, or `raise` one.",
    )


class ZoneFile(_Keys, title="zone"):
    name: Title | None = Field(None, description="What people see. Default: made from the key.")
    polygon: Polygons = Field(
        description="Points [x, y] in their order around the zone, 0-1 of the camera picture; one polygon "
        "or a list of several."
    )
    exclude: Polygons = Field(None, description="What is cut out of the zone; one polygon or several.")
    confidence: Share | None = Field(
        None,
        description="Pixels below this confidence count as uncertain, not as their class. Default: 0 %.",
    )
    rules: dict[str, RuleFile] = Field({}, description="Alerts of this zone, by name.")


_ON_OFF_WORDS = ("on", "off", "yes", "no")
# To some editors these words are text, to others (YAML 1.1) they are true and false.
OnOff = Annotated[Switch, WithJsonSchema({"anyOf": [{"enum": list(_ON_OFF_WORDS)}, {"type": "boolean"}]})]


class GateFile(_Keys, title="gate"):
    """Which pictures are analysed: those that show motion in or near a zone, and one every `refresh`."""

    motion: OnOff = Field(True, description="`off` is the same as `gate: off`: every picture that is due.")
    refresh: Annotated[Duration, AfterValidator(_refresh)] | None = Field(
        None,
        description="How long what does not move may go without analysis, 500 ms to 1 h; the longest that "
        "anything the motion check overlooks stays unnoticed. Default: 5 s.",
    )
    sensitivity: Sensitivity | None = Field(
        None,
        description="What counts as motion. `low`: 1 % of the smallest zone changes by 24 of 255 levels of "
        "luma; `medium`: 0.3 % by 12; `high`: 0.15 % by 7. Default: medium.",
    )
    keyframes: OnOff = Field(
        True,
        description="While nothing moves, decode only the stream's keyframes, where these come at least "
        "every 2 s, every `refresh` and every half `for` and `clear` of the camera's rules; motion is then "
        "noticed that much later. `off` decodes every picture.",
    )


def _gate_keys(value: object) -> object:
    """``gate: off`` and ``gate: on``."""
    if isinstance(value, bool) or (isinstance(value, str) and value.lower() in _ON_OFF_WORDS):
        return {"motion": value}
    if not isinstance(value, (dict, GateFile)):
        raise ValueError(f"got {shown(value)}, expected on, off or keys such as {{refresh: 10 s}}")
    return value


Gate = Annotated[GateFile, BeforeValidator(_gate_keys, json_schema_input_type=Union[OnOff, GateFile])]


def _source(value: object) -> object:
    """``source: {gstreamer: PIPELINE}``, which needs no quotes around a colon."""
    if isinstance(value, dict):
        pipeline = value.get("gstreamer")
        if len(value) != 1 or not isinstance(pipeline, str):
            raise ValueError("expected an address, or the key gstreamer alone with a pipeline in it")
        return f"{launch.PREFIX} {pipeline}"
    return value


_PIPELINE = {
    "type": "object",
    "properties": {"gstreamer": {"type": "string", "pattern": "appsink"}},
    "required": ["gstreamer"],
    "additionalProperties": False,
}
Source = Annotated[str, BeforeValidator(_source), WithJsonSchema({"anyOf": [{"type": "string"}, _PIPELINE]})]


class CameraFile(_Keys, title="camera"):
    source: Source = Field(
        description="rtsp://, rtsps://, http://, https://, v4l2:///dev/video0, csi://0 (the camera connector "
        "of a Jetson or a Raspberry Pi), {gstreamer: any pipeline with an appsink}, a clip or a folder of "
        "pictures (relative to this file). ${VAR} is filled in from the environment: percent-encoded in a "
        "URL, as it is in a path."
    )
    decode: DecodeName | None = Field(
        None,
        description="What decodes the video: `cuda` (NVIDIA desktop cards), `vaapi`, `drm` or `v4l2m2m` "
        "(Raspberry Pi 4 and others), where this machine and PyAV's FFmpeg have it; `auto` tries them. What "
        "the device cannot, software does, and the log says so. Default: software.",
    )
    rate: Rate | None = Field(
        None,
        description=f"Analysed frames a second, {SLOWEST_FPS:g} to {FASTEST_FPS:g}. Default: 5.",
    )
    fit: FitName | None = Field(
        None,
        description="How the picture is placed into the network's input: `stretch` (squash), `letterbox` "
        "(keep its shape, with borders), `tiles` (several views of a wide picture). Default: the model's.",
    )
    priority: Priority | None = Field(
        None,
        description="Who degrades last and is served first when there is too much to do: input size and then "
        "rate are taken from lower priorities first, and a point is a head start of 0.2 s in the line (at "
        "most 2 s). Default: 0.",
    )
    max_age: Annotated[Duration, AfterValidator(_age)] | None = Field(
        None,
        description="A frame that is older when its turn comes is dropped and counted, never analysed. "
        "Default: 2 s, or two intervals of the rate where that is longer.",
    )
    gate: Gate | None = Field(
        None,
        description="Analyse what moves, and the rest every `refresh`; `off` analyses every picture at "
        "`rate`. Default: on, with a refresh of 5 s.",
    )
    model: ModelName | None = Field(None, description="Another model for this camera alone.")
    engine: EngineName | None = Field(None, description="Another engine for this camera alone.")
    input: Size | None = Field(None, description="Another input size for this camera alone.")
    zones: dict[str, ZoneFile] = Field({}, description="Areas to measure, by name.")


class MqttFile(_Keys, title="MQTT broker"):
    url: Annotated[str, AfterValidator(_broker)] = Field(
        description="mqtt://host or mqtts://host (TLS), with :port where it is not 1883 or 8883."
    )
    username: Annotated[str, Field(min_length=1)] | None = Field(None, description="User name at the broker.")
    password_file: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="File that holds the password alone: looked up in $CREDENTIALS_DIRECTORY, then as a "
        "path relative to this file.",
    )
    ca_file: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="Certificates (PEM) to trust with mqtts:// instead of the system's; looked up like "
        "password_file.",
    )
    prefix: Annotated[str, AfterValidator(_prefix), _text({"pattern": names.PREFIX_PATTERN})] = Field(
        "edgeseg", description="First level or levels of all topics."
    )
    commands: OnOff = Field(
        True,
        description="Whether edgeseg listens to commands (<camera>/set/...); with off it subscribes to none.",
    )
    alert_ttl: Annotated[Duration, AfterValidator(_ttl)] = Field(
        86_400.0,
        description="An alert that could not be delivered for so long is dropped and counted; brokers of "
        "MQTT 5 keep it no longer either. Default 24 h.",
    )


class PipelineFile(_Keys, title="edgeseg pipeline file"):
    """A pipeline file of edgeseg: cameras, their zones, and the rules that raise alerts."""

    node: Name | None = Field(
        None, description="Name of this device in topics. Default: the machine's host name."
    )
    mqtt: Annotated[MqttFile, BeforeValidator(_broker_keys)] | None = Field(
        None, description="The broker. Left out: events as JSON lines on standard output."
    )
    model: ModelName | None = Field(
        None,
        description="A folder in models/ (see `edgeseg models list`) or a path. A camera may name its own.",
    )
    engine: EngineName = Field(
        AUTO, description="What runs the network; `auto` measures what is here and takes the fastest."
    )
    input: Size | None = Field(None, description="Size the network sees. Default: the model's own.")
    groups: dict[str, Terms] = Field(
        {}, description="Names for several classes together, usable wherever a class is."
    )
    cameras: dict[str, CameraFile] = Field(min_length=1, description="The cameras, by name.")
