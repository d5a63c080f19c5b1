"""Settings: a pipeline file after it was parsed and checked, frozen and with every default filled in.

Shares are 0-1, durations seconds of camera time, polygons 0-1 coordinates of the camera picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Point = tuple[float, float]
Polygon = tuple[Point, ...]
FitName = Literal["stretch", "letterbox", "tiles"]
FIT_NAMES: tuple[FitName, ...] = get_args(FitName)
Sensitivity = Literal["low", "medium", "high"]
DecodeName = Literal["software", "auto", "cuda", "vaapi", "drm", "v4l2m2m"]
Refinement = Literal["flip", "sizes", "edges"]
REFINEMENTS: tuple[Refinement, ...] = get_args(Refinement)
EvidencePictures = Literal["full", "masked", "labels", "none"]
EVIDENCE_PICTURES: tuple[EvidencePictures, ...] = get_args(EvidencePictures)

DEFAULT_MODEL = "deeplabv3-mnv2-pascal"
# Analysed frames a second of a camera. Here, as pipeline files, MQTT, HTTP and Home Assistant all have it.
SLOWEST_FPS, FASTEST_FPS = 0.1, 60.0


class Secret:
    """Text that must not be printed: ``repr`` and ``str`` hide it, ``reveal()`` gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True, slots=True)
class SourceUrl:
    """Where a camera's pictures come from.

    template: as written, with ``${VAR}`` unresolved; a literal password stands in it, so ``repr`` hides it.
    url: with secrets filled in, None until the environment was resolved (``check`` is static).
    shown: credentials replaced by ``***``: safe to print anywhere.
    """

    template: str = field(repr=False)
    url: Secret | None
    shown: str


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """Broker connection. ``url``: mqtt:// or mqtts://, host and port only. commands: whether to take any.
    alert_ttl_s: an alert that could not be delivered for that long is dropped."""

    host: str
    port: int
    tls: bool
    ca_file: str | None
    username: str | None
    password: Secret | None
    password_file: str | None
    prefix: str
    commands: bool = True
    alert_ttl_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class WebSettings:
    """Where the web server listens. token: None where none is needed, or before ``resolve``. hosts: names
    by which browsers reach it beside its own."""

    host: str
    port: int
    token_file: str | None
    token: Secret | None = None
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HomeAssistantSettings:
    """prefix: below which Home Assistant looks for devices. coverage: a sensor for every class of each zone,
    or only for those that a rule or a group names."""

    prefix: str = "homeassistant"
    coverage: Literal["all", "named"] = "all"


@dataclass(frozen=True, slots=True)
class ActiveHours:
    """A daily window; it may span midnight. Minutes after local midnight; ``end_min`` is exclusive."""

    start_min: int
    end_min: int
    timezone: str | None


@dataclass(frozen=True, slots=True)
class GroundSettings:
    """Four points on a plane ground. points: 0-1 coordinates of the camera picture; metres: where these are
    on the ground. origin: the point of the picture from which distances count."""

    points: tuple[Point, ...]
    metres: tuple[Point, ...]
    origin: Point


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """One rule of a zone. Semantics: docs/rules.md.

    terms: class and group names as written. classes: the model's classes they stand for, whose summed
        share is compared; empty for ``changed: dominant``.
    enter, leave: thresholds, 0-1; None for ``changed: dominant``.
    reference: for ``changed: dominant`` the expected class or group; None means the first one that
        held for ``for_s``. reference_classes: the classes it stands for.
    ground_m2: area of the zone's ground, of which thresholds then are shares; None: of the picture's area.
    unlike: with what a zone that learns its own normal is compared, see ``rules.baseline``. groups: names
        whose shares then repeat those of classes. learn_s: how long an hour of the day is watched for that.
    """

    name: str
    kind: Literal["occupied", "changed", "absent"]
    terms: tuple[str, ...]
    classes: tuple[str, ...]
    enter: float | None
    leave: float | None
    reference: str | None
    reference_classes: tuple[str, ...]
    for_s: float
    clear_s: float
    cooldown_s: float
    hours: ActiveHours | None
    on_unknown: Literal["hold", "end", "raise"]
    ground_m2: float | None = None
    unlike: Literal["normal", "before"] | None = None
    groups: tuple[str, ...] = ()
    learn_s: float = 7200.0


@dataclass(frozen=True, slots=True)
class ZoneSettings:
    """A named area: the union of ``include`` less the union of ``exclude``.

    max_uncertain: share of the zone, 0-1, below ``confidence_floor`` above which it is unknown.
    ground: on which it lies, and ground_m2 its area there; None where that is not known.
    """

    name: str
    title: str
    include: tuple[Polygon, ...]
    exclude: tuple[Polygon, ...]
    confidence_floor: float
    rules: tuple[RuleSettings, ...]
    max_uncertain: float = 1.0
    ground: GroundSettings | None = None
    ground_m2: float | None = None


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Which pictures are worth an analysis: those that show motion, and one every ``refresh_s``.

    keyframes: whether only keyframes may be decoded while nothing moves; see ``screening.motion_gate``.
    """

    refresh_s: float
    sensitivity: Sensitivity
    keyframes: bool


@dataclass(frozen=True, slots=True)
class ClipSettings:
    """From when to when a clip around an alert goes."""

    before_s: float
    after_s: float


@dataclass(frozen=True, slots=True)
class EvidenceSettings:
    """What is kept of a camera's alerts. people: the model's classes that ``masked`` blanks out. clip: None
    takes none. record_source: what clips are made of where that is not the camera's own ``source``."""

    pictures: EvidencePictures
    people: tuple[str, ...]
    clip: ClipSettings | None = None
    record_source: SourceUrl | None = None


@dataclass(frozen=True, slots=True)
class EvidenceBudget:
    """How much evidence is kept, of all cameras together, and for how long; the oldest goes first."""

    keep_bytes: int = 200_000_000
    days: float = 7.0


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """What makes a camera's pictures unusable; see ``screening.health``.

    frozen_s: for how long nothing but repeated pictures may come; None: not looked for. dark, blown_out,
    blurred, covered: whether that is looked for. tolerance: how far a corner of the view may move, as a share
    of the picture's width; None: not looked for. follow: whether zones go along with a view that moved.
    """

    frozen_s: float | None = 15.0
    dark: bool = True
    blown_out: bool = True
    blurred: bool = True
    covered: bool = True
    tolerance: float | None = 0.02
    follow: bool = False


@dataclass(frozen=True, slots=True)
class RemoteServer:
    """An inference server: host and port. local: whether it is on this machine."""

    host: str
    port: int
    tls: bool
    local: bool

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{'grpcs' if self.tls else 'grpc'}://{self.address}"


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """Servers that run the model, by the KServe v2 protocol. model: its name there; None for its name here.

    token: None where none is needed, or before ``resolve``. fallback: the local engine that stands in while
    no server answers; None lets frames go. jpeg_quality: 1-100, for ``transport: jpeg``.
    """

    servers: tuple[RemoteServer, ...]
    model: str | None
    token_file: str | None
    ca_file: str | None
    deadline_s: float
    transport: Literal["raw", "jpeg"]
    fallback: str | None
    jpeg_quality: int = 90
    shared_memory: bool = True
    token: Secret | None = None


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """One camera. ``input_size_px`` (width, height) is None for the model's default size.

    max_age_s: a frame that is older when its turn comes is dropped; None for the default, see
        ``runtime.scheduler``.
    gate: None analyses every picture that is due. decode: by which decoder. health: what pictures are
    checked for; None for nothing. evidence: None keeps none. repeat: a clip begins again after its end.
    remote: the servers of engine ``kserve``, None for every other engine.
    refine: see ``edgeseg.engines.refine``.
    """

    name: str
    source: SourceUrl
    model: str
    engine: str
    input_size_px: tuple[int, int] | None
    rate_fps: float
    fit: FitName | None
    priority: int
    zones: tuple[ZoneSettings, ...]
    max_age_s: float | None = None
    gate: GateSettings | None = None
    decode: DecodeName = "software"
    steady: bool = False
    health: HealthSettings | None = None
    evidence: EvidenceSettings | None = None
    repeat: bool = False
    remote: RemoteSettings | None = None
    refine: tuple[Refinement, ...] = ()


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """What edgeseg may use. cpu: share of all cores, 0-1. watts: of the processor. None: no limit."""

    cpu: float | None
    watts: float | None


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """A whole pipeline file. ``groups``: group name -> classes. ``digest``: sha256 of the file's bytes."""

    file: str
    digest: str
    node: str
    mqtt: MqttSettings | None
    groups: Mapping[str, tuple[str, ...]]
    cameras: tuple[CameraSettings, ...]
    homeassistant: HomeAssistantSettings | None = None
    web: WebSettings | None = None
    budget: BudgetSettings | None = None
    evidence_budget: EvidenceBudget = EvidenceBudget()
