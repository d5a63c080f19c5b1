"""A camera in a process of its own, because native decoders hang and crash and cannot be interrupted.

    with CaptureProcess("yard", url, shown, preprocess, rate_fps=5) as capture:
        while not stop.is_set():
            if capture.receive(0.5):      # one thread: the camera's own
                wake_a_worker()
    ...
    with capture.take() as frame:         # any thread
        if frame is not None:
            engine.run(frame.views)       # in shared memory, not copied; valid inside the with
            capture.confirm(frame)        # it was analysed: what the gate compares with from now on

The newest frame wins: one that nobody took is dropped, and counted, when the next arrives. ``receive``
raises when the camera fails; it never retries.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from types import TracebackType
from typing import Literal

from edgeseg.capture import fork_server
from edgeseg.capture.child import capture
from edgeseg.capture.clip_request import TakeClip
from edgeseg.capture.memory_limit import overgrown
from edgeseg.capture.messages import (
    SLOTS,
    Alive,
    CaptureOrder,
    ClipTaken,
    Failed,
    FromCamera,
    Layout,
    Learned,
    PlacesPictures,
    Ready,
    Release,
    SetPreprocess,
    SetRate,
    Still,
    Stop,
    Stream,
    Tally,
    ToCamera,
    Unfit,
    Want,
)
from edgeseg.capture.sandbox.confine import runs_own_code
from edgeseg.capture.shared_memory import Slots, TakenClip, receive_clip, receive_slots
from edgeseg.capture.wire_format import MAX_MESSAGE_BYTES, WireError, decode
from edgeseg.clock import Clock, SystemClock
from edgeseg.errors import SourceError
from edgeseg.frames import Frame, FrameTime, PictureHealth
from edgeseg.screening.health.drift import ReferenceView
from edgeseg.screening.health.monitor import HealthOrder
from edgeseg.screening.motion_gate import GateOrder
from edgeseg.settings import DecodeName

# Connecting, probing, and the longest usual distance between two keyframes.
FIRST_PICTURE_WITHIN_S = 20.0
# Time to say goodbye to the camera, which may allow few sessions and keep an abandoned one for a minute.
_GOODBYE_S = 0.5
# Half a message holds its reader, and a process that does not listen its writer, for at most that long.
_TALKS_WITHIN_S = 5
_MEASURE_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A slot that is ours."""

    number: int
    slots: Slots
    slot: int
    time: FrameTime


@dataclass(frozen=True, slots=True)
class StillPicture:
    """A picture was due and nothing in it had moved since an earlier frame.

    confirmed: whether that frame is the one analysed last, so that what it showed is true of this time too.
    """

    time: FrameTime
    confirmed: bool


class CaptureProcess:
    """Reads one camera or clip in a process that can be killed.

    url, shown: the source, and how messages may name it. preprocess: pickles; makes the network inputs.
    rate_fps: frames handed over a second. stall_after_s: how long no picture may be decoded; at least 2,
    since the process reports twice a second. first_picture_within_s: the same before the first picture.
    With a gate at least 3: keyframes alone may be up to 2 s apart.
    realtime: a clip stands for a camera: paced by its timestamps against the clock, with arrival times.
    seq: numbers the frames; pass one iterator to the processes that follow each other for one camera.
    gate: hands over only what shows motion, and one frame every so often; None hands over all that is due.
    health: checks whether pictures can be measured and hands over none that cannot; None checks nothing.
    repeat: a clip begins again after its end. record_s, record_only: see ``CaptureOrder``.

    ``start``, ``receive`` and ``close`` belong to one thread, the rest may be called from any.
    """

    def __init__(
        self,
        camera: str,
        url: str,
        shown: str,
        preprocess: PlacesPictures,
        rate_fps: float,
        *,
        stall_after_s: float = 10.0,
        first_picture_within_s: float = FIRST_PICTURE_WITHIN_S,
        realtime: bool = True,
        open_timeout_s: float = 5.0,
        read_timeout_s: float = 3.0,
        seq: Iterator[int] | None = None,
        clock: Clock | None = None,
        gate: GateOrder | None = None,
        decode: DecodeName = "software",
        health: HealthOrder | None = None,
        repeat: bool = False,
        record_s: float | None = None,
        record_only: bool = False,
    ) -> None:
        self._camera = camera
        self._order = CaptureOrder(
            url,
            shown,
            preprocess,
            rate_fps,
            realtime,
            open_timeout_s,
            read_timeout_s,
            gate,
            decode,
            health,
            repeat,
            record_s,
            record_only,
        )
        # All that the process was told so far: what it shares must fit one of them.
        self._told = [preprocess]
        self._stall_after_s = stall_after_s
        self._first_picture_within_s = first_picture_within_s
        self._seq = count() if seq is None else seq
        self._clock = clock or SystemClock()
        self._process: ForkServerProcess | None = None
        self._link: Connection[ToCamera, FromCamera] | None = None
        self._lock = threading.Lock()
        self._slots: Slots | None = None
        self._newest: _Held | None = None
        self._still: StillPicture | None = None
        self._unfit: FrameTime | None = None
        self._learned: ReferenceView | None = None
        self._confirmed_seq: int | None = None
        self._analysed_number: int | None = None
        self._tally = Tally(0, 0, 0, None, 0)
        self._superseded = 0
        self._heard_s = 0.0
        self._measure_s = 0.0
        self._error: SourceError | None = None
        self._wished_clips: set[str] = set()
        self._taken_clips: list[TakenClip] = []

    def __enter__(self) -> CaptureProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the process. The first start in a program takes 0.4 s, for the fork server. Raises
        SourceError where it cannot be started."""
        ours, theirs = multiprocessing.Pipe(duplex=True)
        with theirs:
            try:
                process = fork_server.start(capture, (theirs, self._order), f"camera {self._camera}")
            except (EOFError, OSError) as error:
                # The fork server was killed, and is started again with the next attempt.
                ours.close()
                what = f"the camera process cannot be started: {error}"
                raise SourceError("crashed", f"{self._order.shown}: {what}") from None
        with socket.fromfd(ours.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            patience = struct.pack("ll", _TALKS_WITHIN_S, 0)
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        self._process, self._link = process, ours
        self._heard_s = self._clock.monotonic_s()

    @property
    def pid(self) -> int | None:
        """The camera process; None when it is not running."""
        return self._process.pid if self._process is not None else None

    @property
    def dropped(self) -> Mapping[str, int]:
        """Frames that were due and not analysed, by cause, and packets that did not decode."""
        tally = self._tally
        counts = Counter(
            superseded=self._superseded,
            no_slot=tally.no_slot,
            corrupt=tally.corrupt_packets,
            gated=tally.gated,
            unfit=tally.unfit,
        )
        return +counts

    @property
    def notice(self) -> str | None:
        """One line on what the source does otherwise than asked: it decodes in software."""
        return self._tally.notice

    @property
    def health(self) -> PictureHealth:
        """Whether the camera's pictures can be measured, as of the last message."""
        return self._tally.health

    @property
    def source_fps(self) -> float | None:
        """Pictures a second that the source delivers, measured; None in the first seconds."""
        return self._tally.source_fps

    @property
    def stream(self) -> Stream | None:
        """What the source sends; None before the first picture, and where no decoder of ours reads it."""
        return self._tally.stream

    @property
    def picture_size_px(self) -> tuple[int, int] | None:
        """(width, height) of the camera's pictures; None before the first."""
        slots = self._slots
        return (slots.fit.picture_width_px, slots.fit.picture_height_px) if slots else None

    def receive(self, timeout_s: float) -> FrameTime | None:
        """Wait for the camera. Returns a new frame's time as soon as one can be taken, else None: after
        ``timeout_s``, or at once for a still picture, which ``take_still`` then gives, or one that must not
        be measured (``take_unfit``).

        Raises SourceError: the source's own; ``timeout`` when no picture was decoded for
        ``stall_after_s``; ``crashed`` when the process died, or took more memory than its
        pictures explain. Then close it.
        """
        if self._error is not None:
            raise self._error
        assert self._link is not None, "start the capture process first"
        self._still = self._unfit = None
        until_s = self._clock.monotonic_s() + timeout_s
        while True:
            now_s = self._clock.monotonic_s()
            patience_s = self._stall_after_s if self._tally.decoded else self._first_picture_within_s
            stalls_s = self._heard_s + patience_s
            self._check_growth(now_s)
            if not self._link.poll(max(0.0, min(until_s, stalls_s) - now_s)):
                if self._clock.monotonic_s() >= stalls_s:
                    raise self._fail("timeout", f"no picture for {patience_s:g} s")
                if self._clock.monotonic_s() >= until_s:
                    return None
                continue
            try:
                time = self._hear(decode(self._link.recv_bytes(MAX_MESSAGE_BYTES)))
            except (EOFError, ConnectionResetError):
                assert self._process is not None
                what = f"the camera process {fork_server.cause_of_death(self._process)}"
                raise self._fail("crashed", what) from None
            except (WireError, OSError) as error:
                # What decodes strangers' data may have been taken over by them.
                raise self._fail("crashed", f"the camera process talks nonsense: {error}") from None
            if time is not None or self._still is not None or self._unfit is not None:
                return time

    @contextmanager
    def take(self) -> Iterator[Frame | None]:
        """The newest frame, once; None where there is none. Its views are gone after the ``with``."""
        with self._lock:
            held, self._newest = self._newest, None
        if held is None:
            yield None
            return
        seq = next(self._seq)
        try:
            views = held.slots.pictures[held.slot]
            yield Frame(self._camera, seq, views, held.slots.fit, held.time)
        finally:
            analysed = self._confirmed_seq == seq
            if analysed:
                self._analysed_number = held.number
            self._release(held, analysed=analysed)

    def confirm(self, frame: Frame) -> None:
        """The frame was analysed; say so inside its ``take``."""
        self._confirmed_seq = frame.seq

    def take_still(self) -> StillPicture | None:
        """What the ``receive`` before heard of a picture in which nothing has moved. Its thread's."""
        still, self._still = self._still, None
        return still

    def take_unfit(self) -> FrameTime | None:
        """When a picture came that must not be measured, if ``receive`` heard of one. Its thread's."""
        unfit, self._unfit = self._unfit, None
        return unfit

    def take_learned(self) -> ReferenceView | None:
        """A view to keep for the next process of this camera, once. Its thread's."""
        learned, self._learned = self._learned, None
        return learned

    def request_frame(self) -> None:
        """Hand over the next picture that is due even if nothing has moved."""
        self._say(Want())

    def take_clip(self, wish: TakeClip) -> None:
        """Make a clip of the packets; ``taken_clips`` gives it when its time is over."""
        self._wished_clips.add(wish.alert_id)
        self._say(wish)

    def taken_clips(self) -> list[TakenClip]:
        """The clips that ``receive`` has heard of. Its thread's; each descriptor is the caller's to close."""
        taken, self._taken_clips = self._taken_clips, []
        return taken

    def set_rate(self, rate_fps: float) -> None:
        """Frames a second from now on."""
        self._say(SetRate(rate_fps))

    def set_preprocess(self, preprocess: PlacesPictures) -> None:
        """Pictures are placed so from now on; frames that are under way still have the fit of before."""
        if preprocess not in self._told:
            self._told.append(preprocess)
        self._say(SetPreprocess(preprocess))

    def kill(self) -> None:
        """End the process at once, whatever it is doing. Idempotent."""
        self._end(goodbye_s=0.0)

    def close(self) -> None:
        """Let the process say goodbye to the camera, kill it where it cannot. Idempotent."""
        self._say(Stop())
        self._end(_GOODBYE_S)

    def _hear(self, message: FromCamera) -> FrameTime | None:
        assert self._link is not None
        self._heard_s = self._clock.monotonic_s()
        if isinstance(message, Failed):
            self._error = message.error
            raise message.error
        if isinstance(message, Layout):
            self._slots = receive_slots(self._link, message, self._told)
            return None
        if isinstance(message, ClipTaken):
            if message.alert_id not in self._wished_clips:
                raise WireError("a clip that nobody asked for")
            self._wished_clips.remove(message.alert_id)
            self._taken_clips.append(receive_clip(self._link, message))
            return None
        if isinstance(message, Learned):
            self._learned = message.view
            return None
        self._tally = message.tally
        if isinstance(message, Alive):
            return None
        if isinstance(message, Unfit):
            self._unfit = message.time
            return None
        if isinstance(message, Still):
            self._still = StillPicture(message.time, message.number == self._analysed_number)
            return None
        return self._put(message)

    def _put(self, message: Ready) -> FrameTime:
        if self._slots is None or message.layout != self._slots.number or not 0 <= message.slot < SLOTS:
            raise WireError("a frame in memory that there is not")
        held = _Held(message.number, self._slots, message.slot, message.time)
        with self._lock:
            superseded, self._newest = self._newest, held
        if superseded is not None:
            self._superseded += 1
            self._release(superseded, analysed=False)
        return message.time

    def _check_growth(self, now_s: float) -> None:
        if now_s < self._measure_s or self._process is None or self._process.pid is None:
            return
        self._measure_s = now_s + _MEASURE_EVERY_S
        roomy = runs_own_code(self._order.url, self._order.decode)
        if too_much := overgrown(self._process.pid, self.picture_size_px, roomy=roomy):
            raise self._fail("crashed", f"the camera process {too_much}")

    def _release(self, held: _Held, *, analysed: bool) -> None:
        self._say(Release(held.number, held.slots.number, held.slot, analysed))

    def _say(self, message: ToCamera) -> None:
        with self._lock:
            if self._link is None:
                return
            try:
                self._link.send(message)
            except (BrokenPipeError, ConnectionResetError, BlockingIOError):
                # Dead or deaf; ``receive`` finds out why.
                return

    def _fail(self, reason: Literal["timeout", "crashed"], what: str) -> SourceError:
        self._error = SourceError(reason, f"{self._order.shown}: {what}")
        return self._error

    def _end(self, goodbye_s: float) -> None:
        process = self._process
        if process is None:
            return
        fork_server.end(process, goodbye_s)
        with self._lock:
            assert self._link is not None
            self._link.close()
            for taken in self.taken_clips():
                if taken.descriptor is not None:
                    os.close(taken.descriptor)
            self._link = self._newest = self._slots = None
        self._process = None
