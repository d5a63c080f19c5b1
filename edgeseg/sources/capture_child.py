"""The inside of a camera process: decode, pick, place into shared memory, tell.

It may hang in a native decoder or be killed by one at any point; nothing here is cleaned up by others
than the kernel.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import signal
from math import prod
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle

import cv2
import numpy as np

from edgeseg.clock import SystemClock
from edgeseg.errors import SourceError
from edgeseg.frames import U8, Fit, FrameTime, Picture, PictureHealth
from edgeseg.sources.base import Source
from edgeseg.sources.capture_messages import (
    SLOTS,
    Alive,
    CaptureOrder,
    ClipTaken,
    Failed,
    FromCamera,
    Layout,
    Learned,
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
    views_shape,
)
from edgeseg.sources.clips import TakeClip
from edgeseg.sources.confine import confine, runs_own_code
from edgeseg.sources.gate import Gate
from edgeseg.sources.growth import lacks_memory, refused
from edgeseg.sources.health import Health
from edgeseg.sources.open import open_source
from edgeseg.sources.pacer import Pacer
from edgeseg.sources.recorder import Recorder
from edgeseg.sources.times import ArrivalTimes
from edgeseg.sources.video import VideoSource
from edgeseg.sources.wire import encode

_PR_SET_PDEATHSIG = 1
# How often the daemon hears that pictures are decoded although none is due.
_ALIVE_EVERY_S = 0.5
_FPS_WINDOW_S = 2.0


def capture(link: Connection[FromCamera, ToCamera], order: CaptureOrder) -> None:
    """Run until told to stop, until the source fails, or until the daemon is gone."""
    # The fork server dies with the daemon, and this process with the fork server.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Both may reach the whole process group; when to stop is the daemon's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cv2.setNumThreads(1)
    try:
        inside: _Capture | None = None
        try:
            confine(order.url, order.decode)
            inside = _Capture(link, order)
            inside.run()
        except SourceError as error:
            link.send_bytes(encode(Failed(error)))
        except Exception as error:
            if not lacks_memory(error):
                raise
            link.send_bytes(encode(Failed(_out_of_memory(order, inside))))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _out_of_memory(order: CaptureOrder, capture: _Capture | None) -> SourceError:
    what = refused(
        capture.picture_size_px if capture is not None else None,
        roomy=runs_own_code(order.url, order.decode),
    )
    return SourceError("crashed", f"{order.shown}: the camera process {what}")


class _Capture:
    def __init__(self, link: Connection[FromCamera, ToCamera], order: CaptureOrder) -> None:
        self._link = link
        self._order = order
        self._clock = SystemClock()
        self._pacer = Pacer(order.rate_fps)
        self._preprocess = order.preprocess
        self._gate = Gate(order.gate) if order.gate is not None else None
        self._health = Health(order.health) if order.health is not None else None
        self._gated = self._unfit = 0
        self._wanted = False
        self._keyframes_alone = False
        self._number = 0
        self._stopped = False
        self._layout = 0
        self._fit: Fit | None = None
        self._slots: U8 | None = None
        self._free: list[int] = []
        self._no_slot = 0
        self._decoded = 0
        self._fps: float | None = None
        self._window_s = 0.0
        self._window_decoded = 0
        self._told_s = 0.0
        self._recorder: Recorder | None = None

    @property
    def picture_size_px(self) -> tuple[int, int] | None:
        """(width, height) of the pictures; None before the first."""
        return (self._fit.picture_width_px, self._fit.picture_height_px) if self._fit is not None else None

    def run(self) -> None:
        self._read_once()
        while self._order.repeat and not self._stopped:
            # The clip's times begin anew.
            self._pacer = Pacer(self._pacer.rate_fps)
            self._read_once()
        if not self._stopped:
            raise SourceError("ended", f"{self._order.shown}: the clip has ended")

    def _read_once(self) -> None:
        order = self._order
        source = open_source(
            order.url,
            shown=order.shown,
            clock=self._clock,
            open_timeout_s=order.open_timeout_s,
            read_timeout_s=order.read_timeout_s,
            decode=order.decode,
        )
        with source:
            if order.record_s is None or not isinstance(source, VideoSource):
                self._read(source)
                return
            self._recorder = Recorder(order.record_s, source.clip_writer, self._hand_over_clip)
            source.tap(self._recorder.add)
            try:
                (self._watch if order.record_only else self._read)(source)
            finally:
                # What a camera showed until it was cut off is worth most.
                self._recorder.finish()

    def _read(self, source: Source) -> None:
        started_s = self._window_s = self._clock.monotonic_s()
        arrivals = ArrivalTimes(self._clock)
        for picture in source:
            due = self._pacer.takes(picture.time.camera_time_s)
            time = picture.time
            if self._order.realtime and not source.live:
                self._pace(started_s + time.camera_time_s, source)
                time = arrivals.stamp(time.pts_s, time.sender_utc_s)
            self._listen_until(None)
            if self._stopped:
                return
            self._count()
            if self._health is not None:
                self._look(self._health, picture, time, source)
            if due:
                self._judge(picture, time, source)
            elif self._clock.monotonic_s() - self._told_s >= _ALIVE_EVERY_S:
                self._tell(Alive(self._tally(source)))

    def _watch(self, source: VideoSource) -> None:
        """Keep packets, and decode none."""
        for _ in source.packets():
            self._listen_until(None)
            if self._stopped:
                return
            self._count()
            if self._clock.monotonic_s() - self._told_s >= _ALIVE_EVERY_S:
                self._tell(Alive(self._tally(source)))

    def _pace(self, when_s: float, source: Source) -> None:
        """Wait for a clip's next picture, which a gap may put off for long, without seeming dead."""
        while not self._stopped and self._clock.monotonic_s() < when_s:
            self._listen_until(min(when_s, self._clock.monotonic_s() + _ALIVE_EVERY_S))
            if self._clock.monotonic_s() - self._told_s >= _ALIVE_EVERY_S:
                self._tell(Alive(self._tally(source)))

    def _tally(self, source: Source) -> Tally:
        return Tally(
            self._decoded,
            source.corrupt_packets,
            self._no_slot,
            self._fps,
            self._gated,
            source.notice,
            Stream(source.codec, source.keyframes.longest_s) if isinstance(source, VideoSource) else None,
            self._health.verdict if self._health is not None else PictureHealth(),
            self._unfit,
        )

    def _look(self, health: Health, picture: Picture, time: FrameTime, source: Source) -> None:
        changed = health.look(picture, time.camera_time_s)
        if (learned := health.take_learned()) is not None:
            self._tell(Learned(learned))
        if changed and health.verdict.state is not None:
            self._tell(Unfit(time, self._tally(source)))
        elif changed and self._gate is not None:
            self._gate.watch(health.zones)

    def _judge(self, picture: Picture, time: FrameTime, source: Source) -> None:
        if self._health is not None and self._health.doubtful:
            self._unfit += 1
            self._tell(Unfit(time, self._tally(source)))
            if self._wanted and self._health.verdict.state is not None:
                # For people to see what is wrong; the daemon measures nothing in it.
                self._hand_over(picture, time, self._tally(source))
            return
        gate = self._gate
        if gate is None:
            self._hand_over(picture, time, self._tally(source))
            return
        passes = gate.passes(picture, time.camera_time_s)
        self._gated += (self._pacer.passed if self._keyframes_alone else 1) - passes
        if passes or gate.reference is None:
            self._hand_over(picture, time, self._tally(source))
        else:
            self._tell(Still(gate.reference, time, self._tally(source)))
        self._keyframes_alone = gate.steer(source, self._pacer.rate_fps)

    def _hand_over(self, picture: Picture, time: FrameTime, tally: Tally) -> None:
        fit = self._preprocess.fit_for((picture.width_px, picture.height_px))
        if fit != self._fit:
            self._share(fit)
        if not self._free:
            self._no_slot += 1
            self._tell(Alive(tally))
            return
        assert self._slots is not None
        slot = self._free.pop()
        self._preprocess.place(picture, fit, self._slots[slot])
        self._number += 1
        self._wanted = False
        if self._gate is not None:
            self._gate.handed_over(self._number)
        self._tell(Ready(self._number, self._layout, slot, time, tally))

    def _hand_over_clip(self, alert_id: str, descriptor: int | None) -> None:
        self._tell(ClipTaken(alert_id, 0 if descriptor is None else os.fstat(descriptor).st_size))
        if descriptor is not None:
            send_handle(self._link, descriptor, os.getppid())

    def _share(self, fit: Fit) -> None:
        """New memory for every fit: slots of the old are still being read. It has no name in /dev/shm,
        so nothing is left behind however this process ends."""
        shape = (SLOTS, *views_shape(fit))
        descriptor = os.memfd_create("edgeseg-camera", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, prod(shape))
            # The daemon wants to be sure: memory that shrinks under a reader kills it (SIGBUS).
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
            self._slots = np.frombuffer(mmap.mmap(descriptor, prod(shape)), np.uint8).reshape(shape)
            self._layout += 1
            self._fit, self._free = fit, list(range(SLOTS))
            self._tell(Layout(self._layout, fit))
            send_handle(self._link, descriptor, os.getppid())
        finally:
            os.close(descriptor)

    def _listen_until(self, when_s: float | None) -> None:
        """Do what the daemon says; None: what it has said already."""
        while not self._stopped:
            wait_s = 0.0 if when_s is None else max(0.0, when_s - self._clock.monotonic_s())
            if not self._link.poll(wait_s):
                return
            message = self._link.recv()
            if isinstance(message, Release):
                if message.layout == self._layout:
                    self._free.append(message.slot)
                if self._gate is not None:
                    self._gate.settle(message.number, analysed=message.analysed)
            elif isinstance(message, Want):
                self._wanted = True
                if self._gate is not None:
                    self._gate.want()
            elif isinstance(message, TakeClip):
                if self._recorder is not None:
                    self._recorder.take(message)
            elif isinstance(message, SetRate):
                self._pacer.set_rate(message.rate_fps)
            elif isinstance(message, SetPreprocess):
                self._preprocess = message.preprocess
            elif isinstance(message, Stop):
                self._stopped = True

    def _count(self) -> None:
        self._decoded += 1
        window_s = self._clock.monotonic_s() - self._window_s
        if window_s >= _FPS_WINDOW_S:
            if not self._keyframes_alone:
                self._fps = (self._decoded - self._window_decoded) / window_s
            self._window_s += window_s
            self._window_decoded = self._decoded

    def _tell(self, message: FromCamera) -> None:
        self._told_s = self._clock.monotonic_s()
        self._link.send_bytes(encode(message))
