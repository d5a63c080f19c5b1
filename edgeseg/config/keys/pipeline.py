"""The pipeline file as it is written: every key, what it may hold, and its words for editors.

pydantic checks shape and units here. What needs more than one key, the model's classes or geometry is
checked in ``build``.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from edgeseg.config.fields import (
    Duration,
    EngineName,
    Keys,
    ModelName,
    Name,
    OnOff,
    Polygons,
    Priority,
    Rate,
    Share,
    Size,
    Terms,
    Title,
    duration_between,
)
from edgeseg.config.keys.budget import Budget
from edgeseg.config.keys.evidence import CameraEvidence, Evidence
from edgeseg.config.keys.gate import Gate
from edgeseg.config.keys.ground import GroundFile
from edgeseg.config.keys.health import Health
from edgeseg.config.keys.health import default as default_health
from edgeseg.config.keys.homeassistant import HomeAssistant
from edgeseg.config.keys.mqtt import Mqtt
from edgeseg.config.keys.refine import Refine
from edgeseg.config.keys.remote import Remote
from edgeseg.config.keys.rules import RuleFile
from edgeseg.config.keys.web import Web
from edgeseg.models.runtimes import AUTO
from edgeseg.settings import FASTEST_FPS, LONGEST_AGE_S, SHORTEST_AGE_S, SLOWEST_FPS, DecodeName, FitName
from edgeseg.sources.gstreamer import launch_line


class ZoneFile(Keys, title="zone"):
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
    max_uncertain: Share | None = Field(
        None,
        description="The zone is unknown (`low_confidence`) while more of it than this is uncertain, until "
        "it is a fifth less. Default: 90 %.",
    )
    rules: dict[str, RuleFile] = Field({}, description="Alerts of this zone, by name.")


def _source(value: object) -> object:
    """``source: {gstreamer: PIPELINE}``, which needs no quotes around a colon."""
    if isinstance(value, dict):
        pipeline = value.get("gstreamer")
        if len(value) != 1 or not isinstance(pipeline, str):
            raise ValueError("expected an address, or the key gstreamer alone with a pipeline in it")
        return f"{launch_line.PREFIX} {pipeline}"
    return value


_PIPELINE = {
    "type": "object",
    "properties": {"gstreamer": {"type": "string", "pattern": "appsink"}},
    "required": ["gstreamer"],
    "additionalProperties": False,
}
Source = Annotated[str, BeforeValidator(_source), WithJsonSchema({"anyOf": [{"type": "string"}, _PIPELINE]})]


class CameraFile(Keys, title="camera"):
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
    repeat: OnOff | None = Field(
        None, description="A clip or a folder of pictures begins again after its end. Default: off."
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
    max_age: Annotated[Duration, duration_between(SHORTEST_AGE_S, LONGEST_AGE_S)] | None = Field(
        None,
        description="A frame that is older when its turn comes is dropped and counted, never analysed. "
        "Default: 2 s, or two intervals of the rate where that is longer.",
    )
    gate: Gate | None = Field(
        None,
        description="Analyse what moves, and the rest every `refresh`; `off` analyses every picture at "
        "`rate`. Default: on, with a refresh of 5 s.",
    )
    ground: GroundFile | None = Field(
        None, description="The plane that the camera sees, by four points: zones are then measured in m2 too."
    )
    evidence: CameraEvidence | None = Field(
        None,
        description="What is kept of this camera's alerts, where it differs from the file's `evidence`.",
    )
    health: Health = Field(
        default_factory=default_health,
        description="Checks for pictures that cannot be measured: frozen, dark, blown out, blurred, covered, "
        "moved. `off` for none, or keys. Default: on.",
    )
    steady: OnOff = Field(
        False,
        description="Where nothing moves, a class is taken over when two analyses in a row agree on it: less "
        "flicker, one analysis later. Default: off.",
    )
    refine: Refine = Field(
        (),
        description="Accuracy for CPU time: `flip` (the mirrored picture too), `sizes` (the model's other "
        "measured input sizes too), `edges` (boundaries along those of the picture); one or a list. A device "
        "that cannot keep up does without, with the first smaller input size. Default: none.",
    )
    model: ModelName | None = Field(None, description="Another model for this camera alone.")
    engine: EngineName | None = Field(None, description="Another engine for this camera alone.")
    remote: Remote | None = Field(None, description="Other servers for this camera alone.")
    input: Size | None = Field(None, description="Another input size for this camera alone.")
    zones: dict[str, ZoneFile] = Field({}, description="Areas to measure, by name.")


class PipelineFile(Keys, title="edgeseg pipeline file"):
    """A pipeline file of edgeseg: cameras, their zones, and the rules that raise alerts."""

    node: Name | None = Field(
        None, description="Name of this device in topics. Default: the machine's host name."
    )
    mqtt: Mqtt | None = Field(
        None, description="The broker. Left out: events as JSON lines on standard output."
    )
    homeassistant: HomeAssistant | None = Field(
        None,
        description="Devices that Home Assistant finds by itself, by way of the broker: `on`, or keys. "
        "Default: off; what was announced before is then taken back.",
    )
    web: Web = Field(None, description="Dashboard, HTTP API and metrics. Default: off, nothing listens.")
    model: ModelName | None = Field(
        None,
        description="A folder in models/ (see `edgeseg models list`) or a path. A camera may name its own.",
    )
    engine: EngineName = Field(
        AUTO,
        description="What runs the network; `auto` measures what is here and takes the fastest, `kserve` "
        "leaves it to a server elsewhere (`remote`).",
    )
    remote: Remote | None = Field(None, description="The servers of `engine: kserve`.")
    input: Size | None = Field(None, description="Size the network sees. Default: the model's own.")
    groups: dict[str, Terms] = Field(
        {}, description="Names for several classes together, usable wherever a class is."
    )
    evidence: Evidence | None = Field(
        None,
        description="Pictures kept of alerts: `masked`, `labels`, `full`, or keys, also for clips. "
        "Default: none.",
    )
    budget: Budget | None = Field(None, description="How much of the device edgeseg may use. Default: all.")
    cameras: dict[str, CameraFile] = Field(min_length=1, description="The cameras, by name.")
