"""What a camera process and the daemon say to each other.

Slots of shared memory change hands by message only. There is no lock between the two, because one that
is held by a process that gets killed is never released.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from edgeseg.capture.clip_request import TakeClip
from edgeseg.errors import SourceError
from edgeseg.frames import U8, Fit, FrameTime, Picture, PictureHealth
from edgeseg.screening.health.drift import ReferenceView
from edgeseg.screening.health.monitor import HealthOrder
from edgeseg.screening.motion_gate import GateOrder
from edgeseg.settings import DecodeName

# One being written, one on its way, one waiting to be taken, one under analysis: the writer never waits.
SLOTS = 4


class PlacesPictures(Protocol):
    """What makes network inputs of pictures (``preprocess.Preprocess``); it must pickle."""

    def fit_for(self, picture_size_px: tuple[int, int]) -> Fit: ...

    def place(self, picture: Picture, fit: Fit, out: U8 | None = None) -> U8: ...


@dataclass(frozen=True, slots=True)
class CaptureOrder:
    """What a camera process is to do; see ``CaptureProcess``. gate: None hands over all that is due.
    health: None checks no picture. repeat: a clip begins again after its end.

    record_s: how far back clips begin that are made of the packets; None keeps no packets. record_only:
    nothing is decoded.
    """

    url: str = field(repr=False)
    shown: str
    preprocess: PlacesPictures
    rate_fps: float
    realtime: bool
    open_timeout_s: float
    read_timeout_s: float
    gate: GateOrder | None = None
    decode: DecodeName = "software"
    health: HealthOrder | None = None
    repeat: bool = False
    record_s: float | None = None
    record_only: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """What a source sends. codec: FFmpeg's name. keyframes_s: the longest time between its recent keyframes,
    None before the second."""

    codec: str
    keyframes_s: float | None


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts since the process started. source_fps: measured, None in the first seconds.

    gated: pictures that were due and not handed over because nothing had moved; those that were not even
    decoded count. notice: the source's, see ``Source``. stream: None where no decoder of ours reads it.
    health: of the pictures now. unfit: pictures that were due and not handed over for their health.
    """

    decoded: int
    corrupt_packets: int
    no_slot: int
    source_fps: float | None
    gated: int
    notice: str | None = None
    stream: Stream | None = None
    health: PictureHealth = field(default_factory=PictureHealth)
    unfit: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """Frames from now on have this fit and lie in new shared memory, whose descriptor follows.

    The memory holds ``SLOTS`` arrays uint8 (n, input_height_px, input_width_px, 3), one after another.
    """

    number: int
    fit: Fit


@dataclass(frozen=True, slots=True)
class Ready:
    """A slot is the daemon's, with a frame in it, until it sends ``Release``. number: counts the frames."""

    number: int
    layout: int
    slot: int
    time: FrameTime
    tally: Tally


@dataclass(frozen=True, slots=True)
class Still:
    """A picture was due in which nothing has moved since the frame of that number."""

    number: int
    time: FrameTime
    tally: Tally


@dataclass(frozen=True, slots=True)
class Unfit:
    """There is a picture that must not be measured: for what ``tally.health`` says, or it is in doubt yet."""

    time: FrameTime
    tally: Tally


@dataclass(frozen=True, slots=True)
class Learned:
    """A view to keep for the next process of this camera."""

    view: ReferenceView


@dataclass(frozen=True, slots=True)
class Alive:
    """Pictures are decoded; none was due."""

    tally: Tally


@dataclass(frozen=True, slots=True)
class ClipTaken:
    """The clip of an alert is done; a descriptor of it follows. size_bytes: 0, and nothing follows, where it
    came to nothing."""

    alert_id: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The last message: why there will be no more frames."""

    error: SourceError


@dataclass(frozen=True, slots=True)
class Release:
    """A slot is the camera process's again. analysed: whether that became of its frame."""

    number: int
    layout: int
    slot: int
    analysed: bool


@dataclass(frozen=True, slots=True)
class SetRate:
    """Hand over this many frames a second from now on."""

    rate_fps: float


@dataclass(frozen=True, slots=True)
class SetPreprocess:
    """Place pictures so from now on: into another size, and so into new memory."""

    preprocess: PlacesPictures


@dataclass(frozen=True, slots=True)
class Want:
    """Hand over the next picture that is due, whatever it shows."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Say goodbye to the camera and end."""


FromCamera = Layout | Ready | Still | Unfit | Learned | Alive | ClipTaken | Failed
ToCamera = Release | SetRate | SetPreprocess | Want | TakeClip | Stop


def views_shape(fit: Fit) -> tuple[int, int, int, int]:
    """(n, input_height_px, input_width_px, 3)."""
    return (len(fit.views), fit.input_height_px, fit.input_width_px, 3)
