"""The data that flows through the pipeline, in the order it flows: frozen, slotted, and nothing else.

Coordinates. *Picture* coordinates are pixels of the camera picture, *input* coordinates pixels of what
the network sees. Both are continuous: pixel ``i`` covers ``[i, i + 1)``, its centre is at ``i + 0.5``
(the half-pixel convention of cv2.resize and of ONNX Resize ``half_pixel``). Zone polygons are in 0-1
coordinates of the camera picture.

Time. ``camera_time_s`` is what durations are measured in: the monotonic arrival time of a live source,
the presentation time (PTS) of a file. ``captured_at_s`` is seconds since the Unix epoch, UTC, and is
only ever reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Union

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class FrameTime:
    """When a picture was taken. ``pts_s`` and ``sender_utc_s`` are the camera's own claims: advisory."""

    camera_time_s: float
    captured_at_s: float
    pts_s: float | None = None
    sender_utc_s: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One decoded camera picture, still in the decoder's planes. What a ``Source`` yields.

    planes: for layout ``i420`` y (h, w), u and v (ceil(h/2), ceil(w/2)); for ``rgb`` one (h, w, 3).
        uint8, valid until the source is advanced: copy what must outlive that.
    full_range, matrix: how YUV becomes RGB (ITU-T H.273); ignored for ``rgb``.
    """

    planes: tuple[U8, ...]
    layout: Literal["i420", "rgb"]
    full_range: bool
    matrix: Literal["bt601", "bt709"]
    time: FrameTime

    @property
    def width_px(self) -> int:
        return int(self.planes[0].shape[1])

    @property
    def height_px(self) -> int:
        return int(self.planes[0].shape[0])


@dataclass(frozen=True, slots=True)
class Rect:
    """An axis-aligned rectangle in continuous pixels; right and bottom are exclusive."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class View:
    """One network input cut from the camera picture: ``crop`` (picture px) is resized into ``place``
    (input px); the rest of the input is padding.

    ``owns`` (picture px, inside ``crop``) is the part this view answers for: tiles overlap, but every
    point of the picture is owned by exactly one view.
    """

    crop: Rect
    place: Rect
    owns: Rect


@dataclass(frozen=True, slots=True)
class Fit:
    """How a camera picture was placed into network inputs, and so the way back. Hashable: a cache key."""

    picture_width_px: int
    picture_height_px: int
    input_width_px: int
    input_height_px: int
    views: tuple[View, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What the engine sees of one picture.

    views: uint8 (n, input_height_px, input_width_px, 3) RGB, one for each ``fit.views``.
    seq: counts the frames handed over by one camera since the process started.
    """

    camera: str
    seq: int
    views: U8
    fit: Fit
    time: FrameTime


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """The network's answer on its own output grid, never upscaled.

    labels: uint8 (n, grid_h, grid_w), class index, always < number of classes; one map for each view.
        The grid spans the whole input: cell (r, c) covers input_height_px / grid_h by
        input_width_px / grid_w pixels.
    confidence: uint8 of the same shape, the winner's softmax probability times 255; None where the
        model has its argmax inside.
    """

    labels: U8
    confidence: U8 | None
    fit: Fit


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


UnusablePicture = Literal["frozen", "dark", "blown_out", "blurred", "covered", "moved"]
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
class Transform:
    """Where the points of an earlier view of a camera are in its view now: an affine map.

    matrix: a, b, c, d, e, f of x' = a x + b y + c, y' = d x + e y + f, in 0-1 coordinates of the picture.
    right, down: how far the picture's centre went, as shares of the picture's width and height. turned_deg:
    clockwise. zoom: above 1 where things are larger now. farthest: how far the corner went that went
    farthest, as a share of the picture's width.
    """

    matrix: tuple[float, float, float, float, float, float]
    right: float
    down: float
    turned_deg: float
    zoom: float
    farthest: float

    def __str__(self) -> str:
        return (
            f"{abs(self.right):.1%} {'right' if self.right >= 0 else 'left'}, "
            f"{abs(self.down):.1%} {'down' if self.down >= 0 else 'up'}, "
            f"turned {self.turned_deg:+.1f} degrees, zoom {self.zoom:.3f}"
        )


@dataclass(frozen=True, slots=True)
class PictureHealth:
    """Whether a camera's pictures can be measured.

    state: None while they can; else why not, and ``reason`` in words. transform: by how much the camera has
    moved since its reference view was learned; None where it has not, or nobody knows.
    """

    state: UnusablePicture | None = None
    reason: str | None = None
    transform: Transform | None = None


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
    delivered, those of them nobody was subscribed to, messages that the broker refused, and messages other
    than alerts that were not sent because they are too large for it. outbox_durable: whether alerts wait on
    disk, not in memory alone because the disk fails.

    restarts: that nobody asked for, in the last 24 hours. previous: what went before this process.
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


Event = Union[ZoneOccupancy, RuleState, Alert, CameraStatus, CommandAnswer, CameraRemoved, NodeStats]
