"""The JSON of the HTTP API: the one source of its bytes and of its OpenAPI document.

What MQTT subscribers get too (occupancy, alerts, camera status, counters) has the very shape of its topic.
Shares are 0-1, points [x, y] 0-1 of the camera picture, times RFC 3339 in UTC.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgeseg.publish.payloads import (
    AlertPayload,
    CameraStatusPayload,
    Count,
    OccupancyPayload,
    Payload,
    RuleText,
    Share,
    StatsPayload,
    Utc,
)
from edgeseg.settings import FASTEST_FPS, SLOWEST_FPS

Point = tuple[float, float]
Seconds = Annotated[float, Field(ge=0)]


class ProblemSchema(Payload):
    """One mistake in the pipeline file as it would be written. Lines and columns from 1; 0: unknown."""

    line: Count
    column: Count
    where: str = Field(description="E.g. cameras.yard.zones.gate.polygon[3].")
    message: str


class ErrorSchema(Payload):
    """Why a request was refused."""

    error: str
    problems: tuple[ProblemSchema, ...] = Field(description="All mistakes of a draft at once.")


class MqttSchema(Payload):
    """The broker connection."""

    connected: bool
    outbox_waiting: Count = Field(description="Alerts that the broker has not acknowledged.")
    outbox_durable: bool = Field(description="Whether alerts wait on disk.")


class ReloadSchema(Payload):
    """How the newest reload of the pipeline file went."""

    at: Utc
    error: str | None = Field(description="Why it was refused; the running settings stay. Null: in force.")


class NodeSchema(Payload):
    """This device."""

    node: str
    version: str
    at: Utc
    file: str = Field(description="Name of the pipeline file.")
    digest: str = Field(description="sha256 of the pipeline file that is in force.")
    editable: bool = Field(description="Whether the daemon may write the pipeline file.")
    reload: ReloadSchema | None
    cores: Count
    cpu: Annotated[float, Field(ge=0)] | None = Field(
        description="Cores in use by this process and its camera processes since the last request of this; "
        "null for the first."
    )
    memory_bytes: Count = Field(description="Resident memory of this process and its camera processes.")
    mqtt: MqttSchema | None = Field(description="Null: no broker, events go to standard output.")
    stats: StatsPayload


class ClassSchema(Payload):
    """A class of the network; label maps hold its index."""

    index: Count
    name: str
    colour: str = Field(pattern="^#[0-9a-f]{6}$")


class RuleSchema(Payload):
    """A rule as it is in force."""

    name: str
    kind: Literal["occupied", "changed", "absent"]
    classes: tuple[str, ...] = Field(description="Classes and groups as written; those of reference too.")
    unlike: Literal["normal", "before"] | None = Field(
        None,
        description="Of a rule that learns what is normal: compares now with that, or that with what it was.",
    )
    enter: Share | None
    leave: Share | None
    for_s: Seconds
    clear_s: Seconds
    state: RuleText
    since: Utc | None = Field(description="When the state was told first; null before it was.")


class ZoneSchema(Payload):
    """A zone as it is in force."""

    name: str
    title: str
    polygons: tuple[tuple[Point, ...], ...]
    exclude: tuple[tuple[Point, ...], ...]
    confidence: Share
    rules: tuple[RuleSchema, ...]


class SizeSchema(Payload):
    """Pixels of the camera picture."""

    width: Count
    height: Count


class CameraSchema(Payload):
    """A camera: how it does, and what is set."""

    name: str
    status: CameraStatusPayload
    enabled: bool
    rate: Annotated[float, Field(gt=0)] = Field(description="Frames a second that are analysed, as set now.")
    rate_of_file: Annotated[float, Field(gt=0)]
    gated: bool = Field(description="Whether only pictures that show motion are analysed.")
    picture: SizeSchema | None = Field(description="Null until the first analysed picture.")
    model: str
    classes: tuple[ClassSchema, ...]
    groups: dict[str, tuple[str, ...]]
    zones: tuple[ZoneSchema, ...]


class CamerasSchema(Payload):
    """All cameras, in the order of the file."""

    cameras: tuple[CameraSchema, ...]


class OccupanciesSchema(Payload):
    """The newest occupancy of each zone."""

    occupancy: tuple[OccupancyPayload, ...]


class AlertsSchema(Payload):
    """Alerts, the newest first, each as its last message says: ``end`` where it is over."""

    alerts: tuple[AlertPayload, ...]


class SpanSchema(Payload):
    """One class over one step of the history, while the zone was known."""

    min: Share
    mean: Share
    max: Share
    occupied_s: Seconds = Field(description="Seconds for which it covered at least 1 % of the zone.")


class StepSchema(Payload):
    """One step of the history. What is neither known nor unknown nobody watched."""

    at: Utc = Field(description="Its beginning.")
    known_s: Seconds
    unknown_s: Seconds
    classes: dict[str, SpanSchema]


class HistorySchema(Payload):
    """Occupancy of a zone over time. Steps of which nothing is kept are left out."""

    camera: str
    zone: str
    resolution: Literal["1m", "15m"]
    step_s: Count
    steps: tuple[StepSchema, ...]


class ZonesFileSchema(Payload):
    """Zones as the pipeline file has them, in its order: what PUT takes back. ETag: digest of the file."""

    digest: str
    zones: dict[str, dict[str, object]]


class SavedSchema(Payload):
    """The file was written. It is in force once the node's ``digest`` is this one."""

    digest: str
    kept: str = Field(description="Name of the file that holds the version before.")


class DraftSchema(BaseModel):
    """An area that is being drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="DraftSchema")

    polygon: list[list[Point]] = Field(min_length=1, max_length=50)
    exclude: list[list[Point]] = Field(default=[], max_length=50)
    confidence: Share = Field(0.0, description="Pixels below count as uncertain.")


class MeasureSchema(Payload):
    """What the newest picture shows in a draft."""

    captured_at: Utc
    coverage: dict[str, Share] = Field(description="Classes and groups; those that are absent are left out.")
    uncertain: Share
    dominant: str | None
    confidence: Share | None


class TrySchema(BaseModel):
    """A rule to be tried. rule: as in the pipeline file."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="TrySchema")

    zone: str = Field(min_length=1, max_length=64)
    rule: dict[str, object]


class TriedSchema(Payload):
    """What a rule would have said, had it been in force."""

    recorded_from: Utc | None = Field(description="Null: nothing is recorded of that zone yet.")
    recorded_to: Utc | None
    observations: Count
    alerts: tuple[AlertPayload, ...] = Field(description="Every message, in order.")


class EnabledSchema(BaseModel):
    """Switch a camera."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, title="EnabledSchema")

    enabled: bool


class RateSchema(BaseModel):
    """Change a camera's rate until its file says another."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, title="RateSchema")

    rate: float = Field(ge=SLOWEST_FPS, le=FASTEST_FPS)


class LoginSchema(BaseModel):
    """Exchange the token for a cookie."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="LoginSchema")

    token: str = Field(max_length=4096)


class DoneSchema(Payload):
    """The wish was taken; what became of it comes with the camera's state."""

    ok: Literal[True] = True


class HealthSchema(Payload):
    """Whether the daemon is well. reasons: why not; only told to those with the token, where there is one."""

    ok: bool
    reasons: tuple[str, ...]
