"""The key ``cameras``: what is read from each camera, how often, and by what."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from edgeseg.config import addresses
from edgeseg.config.fields import Duration, Keys, OnOff, Size, between, duration_between
from edgeseg.config.keys.engine import EngineName
from edgeseg.config.keys.evidence import CameraEvidence
from edgeseg.config.keys.gate import Gate
from edgeseg.config.keys.ground import GroundFile
from edgeseg.config.keys.health import Health
from edgeseg.config.keys.health import default as default_health
from edgeseg.config.keys.model import ModelName
from edgeseg.config.keys.refine import Refine
from edgeseg.config.keys.remote import Remote
from edgeseg.config.keys.zones import ZoneFile
from edgeseg.config.report import Report
from edgeseg.settings import FASTEST_FPS, SLOWEST_FPS, DecodeName, FitName, SourceUrl
from edgeseg.sources.gstreamer import launch_line

DEFAULT_RATE_FPS = 5.0
LOWEST_PRIORITY, HIGHEST_PRIORITY, DEFAULT_PRIORITY = 0, 100, 0
# How old a frame may be when its turn comes: no camera is faster, nothing slower is watching.
SHORTEST_AGE_S, LONGEST_AGE_S = 0.1, 3600.0

Rate = Annotated[
    float,
    AfterValidator(between(SLOWEST_FPS, FASTEST_FPS)),
    WithJsonSchema({"type": "number", "minimum": SLOWEST_FPS, "maximum": FASTEST_FPS}),
]
Priority = Annotated[
    int,
    AfterValidator(between(LOWEST_PRIORITY, HIGHEST_PRIORITY)),
    WithJsonSchema({"type": "integer", "minimum": LOWEST_PRIORITY, "maximum": HIGHEST_PRIORITY}),
]


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


def source_settings(file: str, report: Report) -> SourceUrl:
    """Return the camera's address, an empty one after reporting what is wrong with it."""
    try:
        return addresses.source(file)
    except ValueError as error:
        report.error(str(error))
        return SourceUrl(template="", url=None, shown="")


def decode_settings(file: CameraFile, report: Report) -> DecodeName:
    """Return by which decoder. report: of the key ``decode``."""
    csi = file.source.lower().startswith("csi://")
    if file.decode is not None and (csi or launch_line.pipeline_of(file.source) is not None):
        report.error("has no effect there: a GStreamer pipeline names its own decoder", key=True)
    return file.decode or "software"


def repeat_settings(file: CameraFile, report: Report) -> bool:
    """Return whether a clip begins again after its end. report: of the key ``repeat``."""
    address = "://" in file.source and not file.source.startswith("file://")
    if file.repeat and (address or launch_line.pipeline_of(file.source) is not None):
        report.error("has no effect there: only a clip or a folder of pictures has an end", key=True)
    return bool(file.repeat)
