"""Every payload edgeseg publishes: the one source of its bytes and of its JSON Schema.

Shares are rounded to four decimals (0.01 %, far below what a label grid resolves) and times to
milliseconds, so that the same input gives the same bytes. The order of the fields is the order of the
keys. ``v`` counts incompatible changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgeseg.clock import iso_utc
from edgeseg.events import (
    Alert,
    CameraState,
    CameraStatus,
    Degraded,
    Evidence,
    NodeStats,
    PreviousRun,
    ZoneOccupancy,
)
from edgeseg.frames import Transform

SHARE_DECIMALS = 4

Utc = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]

# Payloads that are text, not JSON objects. ``None`` is what Home Assistant's own MQTT sensors take for
# unknown.
Availability = Literal["online", "offline"]
RuleText = Literal["ON", "OFF", "unknown"]
EnabledText = Literal["ON", "OFF"]
Percent = Annotated[
    Annotated[float, Field(ge=0, le=100)] | Literal["None"],
    Field(description="Share of the zone in percent, one decimal; the text None while unknown."),
]
Rate = Annotated[float, Field(gt=0, description="Analysed frames a second.")]
SnapshotJpeg = Annotated[
    object,
    Field(description="A JPEG picture (on JSON lines its size and sha256)."),
]


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
# All zones of a picture have its time.
_iso_utc = lru_cache(maxsize=64)(iso_utc)
EvidencePicture = Annotated[
    object,
    Field(description="A JPEG picture, or nothing where it is not kept (any more); see Snapshot."),
]


class Payload(BaseModel):
    """A frozen JSON object; keys in the order of the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_serialization_defaults_required=True)

    def encode(self) -> bytes:
        """Compact UTF-8 JSON."""
        return self.model_dump_json().encode()


class GroundSharePayload(Payload):
    """How much ground a class or group covers in a zone, and how far away; distances leave out the outermost
    1 % of it and are null where there is nothing."""

    m2: Annotated[float, Field(ge=0)]
    nearest_m: Annotated[float, Field(ge=0)] | None
    farthest_m: Annotated[float, Field(ge=0)] | None


class GroundPayload(Payload):
    """A zone on the ground."""

    area_m2: Annotated[float, Field(gt=0)]
    classes: dict[str, GroundSharePayload]


class OccupancyPayload(Payload):
    """How much of a zone each class covers."""

    v: Literal[1] = 1
    camera: str
    zone: str
    state: Literal["ok", "unknown"]
    reason: str | None = Field(description="Why the state is unknown.")
    captured_at: Utc = Field(description="When the picture was taken.")
    analysed_at: Utc | None = Field(
        description="When the picture was taken whose analysis this is; null while unknown. Before "
        "captured_at where nothing had moved since, so that the picture of captured_at was only compared."
    )
    age_ms: Count = Field(description="Publication time minus captured_at.")
    seq: Count = Field(description="Counts the frames of a camera since the process start named by boot.")
    boot: str = Field(description="Names one start of the process.")
    coverage: dict[str, Share] | None = Field(description="Class or group -> share; null while unknown.")
    uncertain: Share | None = Field(description="Share of the zone below its confidence floor.")
    dominant: str | None = Field(description="The class with the largest share.")
    confidence: Share | None = Field(description="Mean confidence; null where the model gives none.")
    model: str
    ground: GroundPayload | None = Field(
        None, description="In square metres and metres, for cameras with a ground; null while unknown."
    )

    @staticmethod
    def encoded(occupancy: ZoneOccupancy, *, boot: str, now_s: float) -> bytes:
        """Its bytes, the same that the model gives: this is most of what is published, and validating our own
        values costs ten times what writing them does.

        now_s: UTC of the publication. Shares are rounded already, by ``zones``.
        """
        captured_at_s, analysed = occupancy.time.captured_at_s, occupancy.analysed or occupancy.time
        fields = {
            "v": 1,
            "camera": occupancy.camera,
            "zone": occupancy.zone,
            "state": occupancy.state,
            "reason": occupancy.reason,
            "captured_at": _iso_utc(captured_at_s),
            "analysed_at": None if occupancy.coverage is None else _iso_utc(analysed.captured_at_s),
            "age_ms": max(0, round((now_s - captured_at_s) * 1000)),
            "seq": occupancy.seq,
            "boot": boot,
            "coverage": occupancy.coverage,
            "uncertain": occupancy.uncertain,
            "dominant": occupancy.dominant,
            "confidence": occupancy.confidence,
            "model": occupancy.model,
            "ground": None if occupancy.ground is None else asdict(occupancy.ground),
        }
        return _encode(fields).encode()


class TracePayload(Payload):
    """One observation before an alert."""

    captured_at: Utc
    value: Share | None = Field(description="The share compared; null while unknown.")


class EvidencePayload(Payload):
    """Why an alert was raised."""

    classes: tuple[str, ...]
    value: Share | None
    threshold: Share | None
    for_s: Annotated[float, Field(ge=0)]
    trace: tuple[TracePayload, ...]
    model: str
    pictures: tuple[str, ...] | None = Field(
        None,
        description="Files that show it, from before and after; <camera>/set/evidence asks for them by these "
        "names without .jpg. Null where none are kept.",
    )
    clip: str | None = Field(None, description="File of a clip around it, some seconds later; null for none.")
    ground_m2: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="Where the rule compares areas, what the zone's ground measures: value and threshold are "
        "shares of it. Else null.",
    )

    @classmethod
    def of(cls, evidence: Evidence) -> EvidencePayload:
        return cls(
            classes=evidence.classes,
            value=_share(evidence.value),
            threshold=_share(evidence.threshold),
            for_s=round(evidence.for_s, 3),
            trace=tuple(
                TracePayload(captured_at=iso_utc(point.captured_at_s), value=_share(point.value))
                for point in evidence.trace
            ),
            model=evidence.model,
            pictures=evidence.pictures,
            clip=evidence.clip,
            ground_m2=evidence.ground_m2,
        )


class ScenePayload(Payload):
    """A zone at one moment of an alert; nulls where it was unknown, or where the alert has no zone."""

    coverage: dict[str, Share] | None
    dominant: str | None


class AlertPayload(Payload):
    """One message in the life of an alert."""

    v: Literal[1] = 1
    id: str = Field(description="The same for new, update and end.")
    seq: Count = Field(description="Counts the messages of this alert from 0.")
    event: Literal["new", "update", "end"]
    rule: str
    kind: Literal["occupied", "changed", "absent", "camera"]
    camera: str
    zone: str | None
    began_at: Utc
    at: Utc = Field(description="When this message came to be.")
    ended_at: Utc | None
    end_reason: str | None
    before: ScenePayload = Field(description="When the condition began.")
    after: ScenePayload = Field(description="At the time of this message.")
    evidence: EvidencePayload | None
    replayed: bool = Field(
        description="It waited since before the current connection: it is late, and may be a duplicate."
    )

    @classmethod
    def of(cls, alert: Alert) -> AlertPayload:
        return cls(
            id=alert.id,
            seq=alert.seq,
            event=alert.event,
            rule=alert.rule,
            kind=alert.kind,
            camera=alert.camera,
            zone=alert.zone,
            began_at=iso_utc(alert.began_at_s),
            at=iso_utc(alert.at_s),
            ended_at=None if alert.ended_at_s is None else iso_utc(alert.ended_at_s),
            end_reason=alert.end_reason,
            before=ScenePayload(coverage=_shares(alert.before), dominant=alert.dominant_before),
            after=ScenePayload(coverage=_shares(alert.after), dominant=alert.dominant_after),
            evidence=None if alert.evidence is None else EvidencePayload.of(alert.evidence),
            replayed=False,
        )


class DegradedPayload(Payload):
    """What a camera gets instead of what it was set to; null: as set."""

    rate: Annotated[float, Field(gt=0)] | None = Field(description="Analysed frames a second at most.")
    input: str | None = Field(description="Width x height of what the network sees.")
    engine: str | None = Field(
        None,
        description="What runs the network while no inference server answers (`engine: kserve`); `none`: "
        "pictures are not analysed.",
    )

    @classmethod
    def of(cls, degraded: Degraded) -> DegradedPayload:
        size_px = degraded.input_size_px
        return cls(
            rate=None if degraded.rate_fps is None else round(degraded.rate_fps, 2),
            input=None if size_px is None else f"{size_px[0]}x{size_px[1]}",
            engine=degraded.engine,
        )


class MovedPayload(Payload):
    """Where the view that the zones were drawn on is now."""

    right: float = Field(description="How far its middle went to the right, as a share of the width.")
    down: float = Field(description="How far down, as a share of the height.")
    turned_deg: float = Field(description="Clockwise, in degrees.")
    zoom: float = Field(description="Above 1: things are larger now.")
    farthest: float = Field(description="How far the farthest corner went, as a share of the width.")
    matrix: tuple[float, float, float, float, float, float] = Field(
        description="a, b, c, d, e, f of x' = a x + b y + c, y' = d x + e y + f, in 0-1 coordinates."
    )

    @classmethod
    def of(cls, moved: Transform) -> MovedPayload:
        a, b, c, d, e, f = (round(value, 5) for value in moved.matrix)
        return cls(
            right=round(moved.right, 4),
            down=round(moved.down, 4),
            turned_deg=round(moved.turned_deg, 2),
            zoom=round(moved.zoom, 4),
            farthest=round(moved.farthest, 4),
            matrix=(a, b, c, d, e, f),
        )


class CameraStatusPayload(Payload):
    """How a camera is doing."""

    v: Literal[1] = 1
    camera: str
    state: CameraState
    reason: str | None
    since: Utc
    fps: Annotated[float, Field(ge=0)] | None = Field(description="Analysed frames a second.")
    age_ms: Count | None = Field(description="Age of the newest frame.")
    degraded: DegradedPayload | None = Field(
        description="What the camera gets while the device cannot keep up; null while it gets what was set."
    )
    moved: MovedPayload | None = Field(
        description="By how much the camera has moved since its zones were drawn; null where it has not."
    )

    @classmethod
    def of(cls, status: CameraStatus) -> CameraStatusPayload:
        return cls(
            camera=status.camera,
            state=status.state,
            reason=status.reason,
            since=iso_utc(status.since_s),
            fps=None if status.fps is None else round(status.fps, 2),
            age_ms=None if status.age_s is None else max(0, round(status.age_s * 1000)),
            degraded=None if status.degraded is None else DegradedPayload.of(status.degraded),
            moved=None if status.moved is None else MovedPayload.of(status.moved),
        )


class PreviousRunPayload(Payload):
    """What went before the start of this process."""

    ended: str = Field(
        description="stopped, finished, killed (no word: SIGKILL, a crash, power), stuck: or failed: and why."
    )
    down_s: Annotated[float, Field(ge=0)] = Field(description="For how long nothing watched.")
    down_trusted: bool = Field(
        description="False where the machine was started since, and its clock is not known to be right."
    )

    @classmethod
    def of(cls, previous: PreviousRun) -> PreviousRunPayload:
        return cls(ended=previous.ended, down_s=round(previous.down_s, 3), down_trusted=previous.down_trusted)


class StatsPayload(Payload):
    """Counters since the process started; alerts dropped since its state file began."""

    v: Literal[1] = 1
    at: Utc
    uptime_s: Annotated[float, Field(ge=0)]
    analysed: dict[str, Count] = Field(description="Camera -> analysed frames.")
    dropped: dict[str, dict[str, Count]] = Field(description="Camera -> cause -> frames.")
    reconnects: dict[str, Count] = Field(description="Camera -> times its source was reopened.")
    busy: Share = Field(description="Share of the workers' time in use, over the last seconds.")
    demand: Annotated[float, Field(ge=0)] = Field(
        description="What the cameras ask of the workers: 1 is all they can do, above it frames are dropped."
    )
    degraded: dict[str, DegradedPayload] = Field(
        description="Camera -> what it gets, for those that get less than they were set to."
    )
    outbox_waiting: Count = Field(description="Alerts that the broker has not acknowledged.")
    outbox_dropped: Count = Field(description="Alerts dropped: the sum of the four causes that follow.")
    outbox_expired: Count = Field(description="Alerts dropped because they were too old.")
    outbox_overflowed: Count = Field(description="Alerts pushed out by newer ones.")
    outbox_rejected: Count = Field(description="Alerts too large for the broker.")
    outbox_lost: Count = Field(description="Alerts that a failing disk did not give back.")
    alerts_delivered: Count = Field(description="Alerts that the broker acknowledged.")
    alerts_unmatched: Count = Field(
        description="Those of them nobody was subscribed to; only MQTT 5 brokers tell."
    )
    messages_refused: Count = Field(description="Messages that the broker refused; only MQTT 5 brokers tell.")
    messages_oversized: Count = Field(description="Other messages not sent: too large for the broker.")
    outbox_durable: bool = Field(description="Whether alerts wait on disk; false while it fails.")
    restarts: Count = Field(description="Restarts in the last 24 hours that nobody asked for.")
    previous: PreviousRunPayload | None = Field(description="What went before; null at the first start.")
    version: str | None = Field(None, description="edgeseg's version.")
    pipeline: str | None = Field(
        None, description="sha256 of the pipeline file in force: it shows which nodes have the same."
    )

    @classmethod
    def of(cls, stats: NodeStats) -> StatsPayload:
        return cls(
            at=iso_utc(stats.at_s),
            uptime_s=round(stats.uptime_s, 3),
            analysed=dict(stats.analysed),
            dropped={camera: dict(causes) for camera, causes in stats.dropped.items()},
            reconnects=dict(stats.reconnects),
            busy=round(stats.busy, 3),
            demand=round(stats.demand, 3),
            degraded={camera: DegradedPayload.of(one) for camera, one in stats.degraded.items()},
            outbox_waiting=stats.outbox_waiting,
            outbox_dropped=stats.outbox_dropped,
            outbox_expired=stats.outbox_expired,
            outbox_overflowed=stats.outbox_overflowed,
            outbox_rejected=stats.outbox_rejected,
            outbox_lost=stats.outbox_lost,
            alerts_delivered=stats.alerts_delivered,
            alerts_unmatched=stats.alerts_unmatched,
            messages_refused=stats.messages_refused,
            messages_oversized=stats.messages_oversized,
            outbox_durable=stats.outbox_durable,
            restarts=stats.restarts,
            previous=None if stats.previous is None else PreviousRunPayload.of(stats.previous),
            version=stats.version,
            pipeline=stats.pipeline,
        )


UNKNOWN_PERCENT = b"None"


def percent_text(share: float) -> bytes:
    """A share of 0-1 as percent with one decimal: ``12.3``."""
    return f"{100 * share:.1f}".encode()


def as_replayed(payload: bytes) -> bytes:
    """An alert's payload with ``replayed`` set. Leaves the other keys alone: an older version of edgeseg
    may have written them."""
    alert = json.loads(payload)
    alert["replayed"] = True
    return _encode(alert).encode()


def _share(value: float | None) -> float | None:
    return None if value is None else round(float(value), SHARE_DECIMALS)


def _shares(coverage: Mapping[str, float] | None) -> dict[str, float] | None:
    if coverage is None:
        return None
    return {name: round(float(share), SHARE_DECIMALS) for name, share in coverage.items()}
