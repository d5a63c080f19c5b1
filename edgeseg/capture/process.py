"""Camera process, seen from the daemon: native decoders hang and crash and cannot be interrupted.

    with CaptureProcess("yard", CaptureOrder(url, shown, preprocess, rate_fps=5)) as capture:
        while not stop.is_set():
            for event in capture.receive(0.5):    # one thread: the camera's own
                if isinstance(event, NewFrame):
                    wake_a_worker()
    ...
    with capture.take() as frame:                 # any thread
        if frame is not None:
            engine.run(frame.views)               # in shared memory, not copied; valid inside the with
            capture.confirm(frame)                # it was analysed: the gate compares with it from now on

The newest frame wins: one that was not taken is dropped, and counted, when the next arrives. ``receive``
raises when the camera fails; it never retries.
"""

from __future__ import annotations

import multiprocessing
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
from edgeseg.capture.clip_request import ClipRequest
from edgeseg.capture.events import (
    CaptureEvent,
    ClipReady,
    NewFrame,
    ReferenceLearned,
    StillPicture,
    UnusablePicture,
)
from edgeseg.capture.memory_limit import memory_excess
from edgeseg.capture.messages import (
    SLOTS,
    CaptureCounts,
    CaptureOrder,
    ClipFinished,
    Failed,
    FrameReady,
    FromCamera,
    NothingMoved,
    PicturePlacer,
    Release,
    RequestFrame,
    SetPreprocess,
    SetRate,
    SlotLayout,
    Stop,
    Stream,
    ToCamera,
    Unusable,
    ViewLearned,
)
from edgeseg.capture.sandbox.confine import runs_own_code
from edgeseg.capture.shared_memory import Slots, receive_clip, receive_slots
from edgeseg.capture.wire_format import MAX_MESSAGE_BYTES, WireError, decode
from edgeseg.clock import Clock, SystemClock
from edgeseg.errors import SourceError
from edgeseg.frames import Frame, FrameTime, PictureHealth

# Connecting, probing, and the longest usual distance between two keyframes.
FIRST_PICTURE_WITHIN_S = 20.0
# Time to close the camera's session; it may allow few and hold an abandoned one for a minute.
_CLOSE_WITHIN_S = 0.5
# Half a message holds its reader, and a process that does not listen its writer, for at most that long.
_MESSAGE_TIMEOUT_S = 5
_CHECK_MEMORY_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A slot that the daemon holds."""

    number: int
    slots: Slots
    slot: int
    time: FrameTime


class CaptureProcess:
    """Reads one camera or clip in a process that can be killed.

    ``start``, ``receive`` and ``close`` belong to one thread, the rest may be called from any.

    Args:
        camera: its name.
        order: what the process does.
        seq: numbers the frames; pass one iterator to the processes that follow each other for one camera.
        stall_after_s: how long no picture may be decoded; at least 2, since the process reports twice a
            second. With a gate at least 3: keyframes alone may be up to 2 s apart.
        first_picture_within_s: the same before the first picture.
    """

    def __init__(
        self,
        camera: str,
        order: CaptureOrder,
        *,
        seq: Iterator[int] | None = None,
        clock: Clock | None = None,
        stall_after_s: float = 10.0,
        first_picture_within_s: float = FIRST_PICTURE_WITHIN_S,
    ) -> None:
        self._camera = camera
        self._order = order
        # All that were sent so far: the memory that the process shares must fit one of them.
        self._preprocesses = [order.preprocess]
        self._stall_after_s = stall_after_s
        self._first_picture_within_s = first_picture_within_s
        self._seq = count() if seq is None else seq
        self._clock = clock or SystemClock()
        self._process: ForkServerProcess | None = None
        self._link: Connection[ToCamera, FromCamera] | None = None
        self._lock = threading.Lock()
        self._slots: Slots | None = None
        self._newest: _Held | None = None
        self._confirmed_seq: int | None = None
        self._analysed_number: int | None = None
        self._counts = CaptureCounts(0, 0, 0, None, 0)
        self._superseded = 0
        self._last_message_s = 0.0
        self._check_memory_s = 0.0
        self._error: SourceError | None = None
        self._requested_clips: set[str] = set()

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
            patience = struct.pack("ll", _MESSAGE_TIMEOUT_S, 0)
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        self._process, self._link = process, ours
        self._last_message_s = self._clock.monotonic_s()

    @property
    def pid(self) -> int | None:
        """The camera process; None when it is not running."""
        return self._process.pid if self._process is not None else None

    @property
    def dropped(self) -> Mapping[str, int]:
        """Frames that were due and not analysed, by cause, and packets that did not decode."""
        counts = self._counts
        return +Counter(
            superseded=self._superseded,
            no_slot=counts.no_slot,
            corrupt=counts.corrupt_packets,
            gated=counts.gated,
            unfit=counts.unusable,
        )

    @property
    def notice(self) -> str | None:
        """One line on what the source does otherwise than asked: it decodes in software."""
        return self._counts.notice

    @property
    def health(self) -> PictureHealth:
        """Whether the camera's pictures can be measured, as of the last message."""
        return self._counts.health

    @property
    def source_fps(self) -> float | None:
        """Pictures a second that the source delivers, measured; None in the first seconds."""
        return self._counts.source_fps

    @property
    def stream(self) -> Stream | None:
        """What the source sends; None before the first picture, and where no decoder of ours reads it."""
        return self._counts.stream

    @property
    def picture_size_px(self) -> tuple[int, int] | None:
        """(width, height) of the camera's pictures; None before the first."""
        slots = self._slots
        return (slots.fit.picture_width_px, slots.fit.picture_height_px) if slots else None

    def receive(self, timeout_s: float) -> list[CaptureEvent]:
        """Wait for the camera. Returns events as soon as there is one; none after ``timeout_s``.

        Raises SourceError: the source's own; ``timeout`` when no picture was decoded for ``stall_after_s``;
        ``crashed`` when the process died, or took more memory than its pictures explain. Then close it.
        """
        if self._error is not None:
            raise self._error
        assert self._link is not None, "start the capture process first"
        until_s = self._clock.monotonic_s() + timeout_s
        while True:
            now_s = self._clock.monotonic_s()
            patience_s = self._stall_after_s if self._counts.decoded else self._first_picture_within_s
            stalls_s = self._last_message_s + patience_s
            self._check_memory(now_s)
            if self._link.poll(max(0.0, min(until_s, stalls_s) - now_s)):
                if events := self._receive_message():
                    return events
                continue
            if self._clock.monotonic_s() >= stalls_s:
                raise self._fail("timeout", f"no picture for {patience_s:g} s")
            if self._clock.monotonic_s() >= until_s:
                return []

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
        """Mark the frame as analysed; call it inside its ``take``."""
        self._confirmed_seq = frame.seq

    def request_frame(self) -> None:
        """Request the next picture that is due, even if nothing has moved."""
        self._send(RequestFrame())

    def take_clip(self, request: ClipRequest) -> None:
        """Make a clip of the packets; ``receive`` returns ``ClipReady`` when its time is over."""
        self._requested_clips.add(request.alert_id)
        self._send(request)

    def set_rate(self, rate_fps: float) -> None:
        """Set the frames a second that are handed over."""
        self._send(SetRate(rate_fps))

    def set_preprocess(self, preprocess: PicturePlacer) -> None:
        """Place pictures by this preprocess from now on; frames under way still have the fit of before."""
        if preprocess not in self._preprocesses:
            self._preprocesses.append(preprocess)
        self._send(SetPreprocess(preprocess))

    def kill(self) -> None:
        """End the process at once, whatever it is doing. Idempotent."""
        self._end(grace_s=0.0)

    def close(self) -> None:
        """Let the process close the camera's session; kill it where it cannot. Idempotent."""
        self._send(Stop())
        self._end(_CLOSE_WITHIN_S)

    def _receive_message(self) -> list[CaptureEvent]:
        """Read one message. Raises SourceError."""
        assert self._link is not None
        try:
            message = decode(self._link.recv_bytes(MAX_MESSAGE_BYTES))
            self._last_message_s = self._clock.monotonic_s()
            return self._handle(message, self._link)
        except (EOFError, ConnectionResetError):
            assert self._process is not None
            what = f"the camera process {fork_server.cause_of_death(self._process)}"
            raise self._fail("crashed", what) from None
        except (WireError, OSError) as error:
            # A process that decodes untrusted data may have been taken over.
            raise self._fail("crashed", f"the camera process sent an invalid message: {error}") from None

    def _handle(self, message: FromCamera, link: Connection[ToCamera, FromCamera]) -> list[CaptureEvent]:
        match message:
            case Failed(error):
                self._error = error
                raise error
            case SlotLayout():
                self._slots = receive_slots(link, message, self._preprocesses)
                return []
            case ClipFinished(alert_id):
                if alert_id not in self._requested_clips:
                    raise WireError("a clip that was not requested")
                self._requested_clips.remove(alert_id)
                return [ClipReady(receive_clip(link, message))]
            case ViewLearned(view):
                return [ReferenceLearned(view)]
        self._counts = message.counts
        match message:
            case FrameReady():
                return [self._replace_newest(message)]
            case NothingMoved(number, time):
                return [StillPicture(time, confirmed=number == self._analysed_number)]
            case Unusable(time):
                return [UnusablePicture(time)]
        return []

    def _replace_newest(self, message: FrameReady) -> NewFrame:
        if self._slots is None or message.layout != self._slots.number or not 0 <= message.slot < SLOTS:
            raise WireError("a frame in memory that does not exist")
        held = _Held(message.number, self._slots, message.slot, message.time)
        with self._lock:
            superseded, self._newest = self._newest, held
        if superseded is not None:
            self._superseded += 1
            self._release(superseded, analysed=False)
        return NewFrame(message.time)

    def _check_memory(self, now_s: float) -> None:
        if now_s < self._check_memory_s or self._process is None or self._process.pid is None:
            return
        self._check_memory_s = now_s + _CHECK_MEMORY_EVERY_S
        roomy = runs_own_code(self._order.url, self._order.decode)
        if too_much := memory_excess(self._process.pid, self.picture_size_px, roomy=roomy):
            raise self._fail("crashed", f"the camera process {too_much}")

    def _release(self, held: _Held, *, analysed: bool) -> None:
        self._send(Release(held.number, held.slots.number, held.slot, analysed))

    def _send(self, message: ToCamera) -> None:
        with self._lock:
            if self._link is None:
                return
            try:
                self._link.send(message)
            except (BrokenPipeError, ConnectionResetError, BlockingIOError):
                # Dead or hanging; ``receive`` finds out why.
                return

    def _fail(self, reason: Literal["timeout", "crashed"], what: str) -> SourceError:
        self._error = SourceError(reason, f"{self._order.shown}: {what}")
        return self._error

    def _end(self, grace_s: float) -> None:
        process = self._process
        if process is None:
            return
        fork_server.end(process, grace_s)
        with self._lock:
            assert self._link is not None
            self._link.close()
            self._link = self._newest = self._slots = None
        self._process = None
