"""What flows out of the pipeline: occupancies, rule states, alerts, status. Frozen, slotted dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edgeseg.frames import FrameTime, Transform


@dataclass(frozen=True, slots=True)
class GroundShare:
    """How much ground a class covers, and how far away. Distances leave out the outermost 1 % of its area;
    None where there is nothing of it."""

    m2: float
    nearest_m: float | None
    farthest_m: float | None


@dataclass(frozen=True, slots=True)
class GroundCoverage:
    """A zone on the ground. area_m2: all of it. classes: class or group name -> what of it."""

    area_m2: float
    classes: Mapping[str, GroundShare]


@dataclass(frozen=True, slots=True)
class ZoneOccupancy:
    """How much of a zone each class covers, by area of the camera picture, 0-1, rounded to 4 decimals.

    coverage: class or group name -> share; classes that are absent are 0. None while unknown.
        The shares of the classes and ``uncertain`` add up to 1 (groups repeat their classes' shares).
    uncertain: share of the zone whose confidence is below the zone's floor. None while unknown.
    dominant: class with the largest share; None while unknown or when everything is uncertain.
    confidence: mean confidence over the zone, 0-1; None when the model gives none.
    reason: why the state is unknown, e.g. ``stale``, ``offline``, ``starting``, ``disabled``.
    analysed: time of the picture whose analysis this is, where that is an earlier one and the picture of
        ``time`` was only checked: nothing in it had moved since.
    ground: None while unknown, and where nothing is known of the zone's ground.
    light: in which the picture was taken; None where no rule asks.
    """

    camera: str
    zone: str
    seq: int
    time: FrameTime
    state: Literal["ok", "unknown"]
    reason: str | None
    coverage: Mapping[str, float] | None
    uncertain: float | None
    dominant: str | None
    confidence: float | None
    model: str
    analysed: FrameTime | None = None
    ground: GroundCoverage | None = None
    light: Light | None = None


Light = Literal["infrared", "dark", "dim", "bright"]


RuleStateName = Literal["ON", "OFF", "unknown"]


@dataclass(frozen=True, slots=True)
class RuleState:
    """The retained state of one rule; sent whenever it changes.

    reason: why it is unknown although the zone is not.
    """

    camera: str
    zone: str
    rule: str
    state: RuleStateName
    time: FrameTime
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class TracePoint:
    """One observation that led to an alert. ``value`` is the share compared, None while unknown."""

    captured_at_s: float
    value: float | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why an alert was raised: the share that was compared, its threshold, and the last observations.

    pictures, clip: names of the files that show it; None where none are kept.
    ground_m2: where the rule compares areas, what the zone's ground measures; value and threshold are shares
        of it.
    """

    classes: tuple[str, ...]
    value: float | None
    threshold: float | None
    for_s: float
    trace: tuple[TracePoint, ...]
    model: str
    pictures: tuple[str, ...] | None = None
    clip: str | None = None
    ground_m2: float | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """One message in the life of an alert.

    id: stable over new, update and end; derived from node, camera, zone, rule and the beginning.
    seq: counts the messages of one alert from 0.
    kind ``camera`` (a camera went offline or came back) has no zone and no evidence.
    began_at_s, at_s: UTC of the condition's beginning and of this message; ended_at_s only on ``end``.
    before, after: coverage when the condition began and now; None where unknown.
    end_reason: ``cleared``, ``unknown``, ``hours`` or ``config``; None before the end.
    """

    id: str
    seq: int
    event: Literal["new", "update", "end"]
    rule: str
    kind: Literal["occupied", "changed", "absent", "camera"]
    camera: str
    zone: str | None
    began_at_s: float
    at_s: float
    ended_at_s: float | None
    before: Mapping[str, float] | None
    after: Mapping[str, float] | None
    dominant_before: str | None
    dominant_after: str | None
    evidence: Evidence | None
    end_reason: str | None


CameraState = Literal[
    "live",
    "connecting",
    "stale",
    "frozen",
    "dark",
    "blown_out",
    "blurred",
    "covered",
    "moved",
    "offline",
    "disabled",
]


@dataclass(frozen=True, slots=True)
class Degraded:
    """What a camera gets instead of what it was set to: the device cannot keep up, or servers are away.

    rate_fps: analysed frames a second. input_size_px: (width, height) that the network sees. None: as set.
    engine: what runs the network in place of ``engine: kserve``; ``none`` where nothing does.
    """

    rate_fps: float | None
    input_size_px: tuple[int, int] | None
    engine: str | None = None


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """How a camera is doing. ``fps`` counts analysed frames; ``age_s`` is the newest frame's age.

    degraded: None while the camera gets what it was set to. moved: by how much the camera has moved since its
    reference view was learned; None where it has not.
    """

    camera: str
    state: CameraState
    reason: str | None
    since_s: float
    fps: float | None
    age_s: float | None
    degraded: Degraded | None = None
    moved: Transform | None = None


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """The answer to a command: ``<camera>/<thing>``. ``value`` is text, or a JPEG for snapshot and evidence,
    which is empty where there is no such picture."""

    camera: str
    thing: Literal["enabled", "rate", "snapshot", "evidence"]
    value: str | bytes


@dataclass(frozen=True, slots=True)
class PreviousRun:
    """How the process before this one ended: ``stopped``, ``finished``, ``killed``, ``stuck: ...``,
    ``failed: ...``. down_s: for how long nothing watched. down_trusted: False where the machine was started
    since and its clock is not known to be right."""

    ended: str
    down_s: float
    down_trusted: bool


@dataclass(frozen=True, slots=True)
class NodeStats:
    """Once a minute: counters since the start. ``dropped`` counts frames by cause.

    busy: share of the workers' time that is used now, 0-1. demand: what the cameras ask of the workers, 1 is
    all they can do; above it frames are dropped. degraded: the cameras that get less than they were set to.

    The publisher that has an outbox fills in the rest: alerts that wait now, alerts dropped (all, and by
    cause: too old, pushed out by newer ones, too large for the broker, lost with a failing disk), alerts
    delivered, those of them without a subscriber, messages that the broker refused, and messages other
    than alerts that were not sent because they are too large for it. outbox_durable: whether alerts wait on
    disk, not in memory alone because the disk fails.

    restarts: unplanned ones, in the last 24 hours. previous: what went before this process.
    version: of edgeseg. pipeline: sha256 of the pipeline file in force, in hex.
    """

    at_s: float
    uptime_s: float
    analysed: Mapping[str, int]
    dropped: Mapping[str, Mapping[str, int]]
    reconnects: Mapping[str, int]
    outbox_waiting: int = 0
    outbox_dropped: int = 0
    outbox_expired: int = 0
    outbox_overflowed: int = 0
    outbox_rejected: int = 0
    outbox_lost: int = 0
    alerts_delivered: int = 0
    alerts_unmatched: int = 0
    messages_refused: int = 0
    messages_oversized: int = 0
    busy: float = 0.0
    demand: float = 0.0
    degraded: Mapping[str, Degraded] = field(default_factory=dict)
    outbox_durable: bool = True
    restarts: int = 0
    previous: PreviousRun | None = None
    version: str | None = None
    pipeline: str | None = None


@dataclass(frozen=True, slots=True)
class CameraRemoved:
    """The camera is no longer in the pipeline file: whatever is retained of it is taken back."""

    camera: str


Event = ZoneOccupancy | RuleState | Alert | CameraStatus | CommandAnswer | CameraRemoved | NodeStats
