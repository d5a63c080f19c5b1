"""Messages between a camera process and the daemon.

Slots of shared memory change hands by message only. There is no lock between the two, because one that
is held by a process that gets killed is never released.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from edgeseg.capture.clip_request import ClipRequest
from edgeseg.errors import SourceError
from edgeseg.frames import U8, Fit, FrameTime, Picture, PictureHealth
from edgeseg.screening.health.drift import ReferenceView
from edgeseg.screening.health.monitor import HealthMonitorSettings
from edgeseg.screening.motion_gate import MotionGateSettings
from edgeseg.settings import DecodeName

# One being written, one on its way, one waiting to be taken, one under analysis: the writer never waits.
SLOTS = 4


class PicturePlacer(Protocol):
    """Makes network inputs of pictures (``preprocess.Preprocess``); it must pickle."""

    def fit_for(self, picture_size_px: tuple[int, int]) -> Fit: ...

    def place(self, picture: Picture, fit: Fit, out: U8 | None = None) -> U8: ...


@dataclass(frozen=True, slots=True)
class CaptureOrder:
    """What a camera process does; it pickles.

    Args:
        url, shown: the source, and its name in messages.
        preprocess: makes the network inputs.
        rate_fps: frames handed over a second.
        realtime: a clip stands for a camera: paced by its timestamps against the clock, with arrival times.
        gate: hands over frames that show motion, and one every so often; None hands over all that are due.
        health: checks whether pictures can be measured and hands over none that cannot; None checks nothing.
        repeat: a clip begins again after its end.
        record_s: how far back clips begin that are made of the packets; None keeps no packets.
        record_only: nothing is decoded.
    """

    url: str = field(repr=False)
    shown: str
    preprocess: PicturePlacer
    rate_fps: float
    realtime: bool = True
    open_timeout_s: float = 5.0
    read_timeout_s: float = 3.0
    gate: MotionGateSettings | None = None
    decode: DecodeName = "software"
    health: HealthMonitorSettings | None = None
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
class CaptureCounts:
    """Counts since the process started. source_fps: measured, None in the first seconds.

    gated: pictures that were due and not handed over because nothing had moved; those that were not even
    decoded count. notice: the source's, see ``Source``. stream: None where no decoder of ours reads it.
    health: of the pictures now. unusable: pictures that were due and not handed over for their health.
    """

    decoded: int
    corrupt_packets: int
    no_slot: int
    source_fps: float | None
    gated: int
    notice: str | None = None
    stream: Stream | None = None
    health: PictureHealth = field(default_factory=PictureHealth)
    unusable: int = 0


@dataclass(frozen=True, slots=True)
class SlotLayout:
    """Frames from now on have this fit and lie in new shared memory, whose descriptor follows.

    The memory holds ``SLOTS`` arrays uint8 (n, input_height_px, input_width_px, 3), one after another.
    """

    number: int
    fit: Fit


@dataclass(frozen=True, slots=True)
class FrameReady:
    """A slot holds a frame and is the daemon's until it sends ``Release``. number: counts the frames."""

    number: int
    layout: int
    slot: int
    time: FrameTime
    counts: CaptureCounts


@dataclass(frozen=True, slots=True)
class NothingMoved:
    """A picture was due in which nothing has moved since the frame of that number."""

    number: int
    time: FrameTime
    counts: CaptureCounts


@dataclass(frozen=True, slots=True)
class Unusable:
    """A picture must not be measured, for the reason in ``counts.health``, or because it is in doubt yet."""

    time: FrameTime
    counts: CaptureCounts


@dataclass(frozen=True, slots=True)
class ViewLearned:
    """A reference view was learned; the daemon saves it for the next process of this camera."""

    view: ReferenceView


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Pictures are decoded; none was due."""

    counts: CaptureCounts


@dataclass(frozen=True, slots=True)
class ClipFinished:
    """The clip of an alert is finished; its descriptor follows. size_bytes: 0, and nothing follows, where it
    failed."""

    alert_id: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The last message: why there will be no more frames."""

    error: SourceError


@dataclass(frozen=True, slots=True)
class Release:
    """A slot is the camera process's again. analysed: whether its frame was analysed."""

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
    """Place pictures by this preprocess from now on: in another size, and so in new memory."""

    preprocess: PicturePlacer


@dataclass(frozen=True, slots=True)
class RequestFrame:
    """Hand over the next picture that is due, even if nothing moves."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Close the camera's session and end."""


FromCamera = (
    SlotLayout | FrameReady | NothingMoved | Unusable | ViewLearned | Heartbeat | ClipFinished | Failed
)
ToCamera = Release | SetRate | SetPreprocess | RequestFrame | ClipRequest | Stop


def views_shape(fit: Fit) -> tuple[int, int, int, int]:
    """(n, input_height_px, input_width_px, 3)."""
    return (len(fit.views), fit.input_height_px, fit.input_width_px, 3)
