"""Camera process, from the inside: decode, screen, place into shared memory, send.

It may hang in a native decoder or be killed by one at any point; only the kernel cleans up after it.
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

from edgeseg.capture.clip_recorder import ClipRecorder
from edgeseg.capture.clip_request import ClipRequest
from edgeseg.capture.memory_limit import refusal
from edgeseg.capture.messages import (
    SLOTS,
    CaptureCounts,
    CaptureOrder,
    ClipFinished,
    Failed,
    FrameReady,
    FromCamera,
    Heartbeat,
    NothingMoved,
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
    views_shape,
)
from edgeseg.capture.sandbox.confine import confine, runs_own_code
from edgeseg.capture.wire_format import encode
from edgeseg.clock import SystemClock
from edgeseg.errors import SourceError
from edgeseg.frames import U8, Fit, FrameTime, Picture, PictureHealth
from edgeseg.screening.health.monitor import HealthMonitor
from edgeseg.screening.motion_gate import MotionGate
from edgeseg.sources.base import Source
from edgeseg.sources.open import open_source
from edgeseg.sources.pacer import Pacer
from edgeseg.sources.timestamps import ArrivalTimes
from edgeseg.sources.video_source import VideoSource
from edgeseg.system.out_of_memory import is_out_of_memory

_PR_SET_PDEATHSIG = 1
# How often the process reports that it decodes pictures although none is due.
_HEARTBEAT_EVERY_S = 0.5
_FPS_WINDOW_S = 2.0


def capture(link: Connection[FromCamera, ToCamera], order: CaptureOrder) -> None:
    """Run until the daemon stops it, until the source fails, or until the daemon is gone."""
    # The fork server dies with the daemon, and this process with the fork server.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Both may reach the whole process group; when to stop is the daemon's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cv2.setNumThreads(1)
    try:
        process: _CameraProcess | None = None
        try:
            confine(order.url, order.decode)
            process = _CameraProcess(link, order)
            process.run()
        except SourceError as error:
            link.send_bytes(encode(Failed(error)))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            link.send_bytes(encode(Failed(_out_of_memory(order, process))))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _out_of_memory(order: CaptureOrder, capture: _CameraProcess | None) -> SourceError:
    what = refusal(
        capture.picture_size_px if capture is not None else None,
        roomy=runs_own_code(order.url, order.decode),
    )
    return SourceError("crashed", f"{order.shown}: the camera process {what}")


class _CameraProcess:
    """Reads one source until it is stopped or fails."""

    def __init__(self, link: Connection[FromCamera, ToCamera], order: CaptureOrder) -> None:
        self._link = link
        self._order = order
        self._clock = SystemClock()
        self._pacer = Pacer(order.rate_fps)
        self._preprocess = order.preprocess
        self._gate = MotionGate(order.gate) if order.gate is not None else None
        self._health_monitor = HealthMonitor(order.health) if order.health is not None else None
        self._gated = self._unusable = 0
        self._frame_requested = False
        self._keyframes_only = False
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
        self._last_sent_s = 0.0
        self._recorder: ClipRecorder | None = None

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
            self._recorder = ClipRecorder(order.record_s, source.clip_writer, self._hand_over_clip)
            source.tap(self._recorder.add)
            try:
                (self._read_packets if order.record_only else self._read)(source)
            finally:
                # The last packets before a camera was cut off matter most.
                self._recorder.finish()

    def _read(self, source: Source) -> None:
        started_s = self._window_s = self._clock.monotonic_s()
        arrivals = ArrivalTimes(self._clock)
        for picture in source:
            due = self._pacer.is_due(picture.time.camera_time_s)
            time = picture.time
            if self._order.realtime and not source.live:
                self._pace(started_s + time.camera_time_s, source)
                time = arrivals.stamp(time.pts_s, time.sender_utc_s)
            self._receive_until(None)
            if self._stopped:
                return
            self._count_picture()
            if self._health_monitor is not None:
                self._check_health(self._health_monitor, picture, time, source)
            if due:
                self._screen(picture, time, source)
            else:
                self._send_heartbeat(source)

    def _read_packets(self, source: VideoSource) -> None:
        """Buffer packets, and decode none."""
        for _ in source.packets():
            self._receive_until(None)
            if self._stopped:
                return
            self._count_picture()
            self._send_heartbeat(source)

    def _pace(self, when_s: float, source: Source) -> None:
        """Wait until a clip's next picture is due, and send heartbeats: a gap may last long."""
        while not self._stopped and self._clock.monotonic_s() < when_s:
            self._receive_until(min(when_s, self._clock.monotonic_s() + _HEARTBEAT_EVERY_S))
            self._send_heartbeat(source)

    def _counts(self, source: Source) -> CaptureCounts:
        return CaptureCounts(
            self._decoded,
            source.corrupt_packets,
            self._no_slot,
            self._fps,
            self._gated,
            source.notice,
            Stream(source.codec, source.keyframes.longest_s) if isinstance(source, VideoSource) else None,
            self._health_monitor.health if self._health_monitor is not None else PictureHealth(),
            self._unusable,
        )

    def _check_health(self, health: HealthMonitor, picture: Picture, time: FrameTime, source: Source) -> None:
        changed = health.update(picture, time.camera_time_s)
        if (learned := health.take_learned_view()) is not None:
            self._send(ViewLearned(learned))
        if changed and health.health.state is not None:
            self._send(Unusable(time, self._counts(source)))
        elif changed and self._gate is not None:
            self._gate.set_zones(health.zones)

    def _screen(self, picture: Picture, time: FrameTime, source: Source) -> None:
        if self._health_monitor is not None and self._health_monitor.suspect:
            self._unusable += 1
            self._send(Unusable(time, self._counts(source)))
            if self._frame_requested and self._health_monitor.health.state is not None:
                # It shows a person what is wrong; the daemon measures nothing in it.
                self._hand_over(picture, time, self._counts(source))
            return
        gate = self._gate
        if gate is None:
            self._hand_over(picture, time, self._counts(source))
            return
        passes = gate.passes(picture, time.camera_time_s)
        self._gated += (self._pacer.passed if self._keyframes_only else 1) - passes
        if passes or gate.reference is None:
            self._hand_over(picture, time, self._counts(source))
        else:
            self._send(NothingMoved(gate.reference, time, self._counts(source)))
        self._keyframes_only = gate.choose_decoding(source, self._pacer.rate_fps)

    def _hand_over(self, picture: Picture, time: FrameTime, counts: CaptureCounts) -> None:
        fit = self._preprocess.fit_for((picture.width_px, picture.height_px))
        if fit != self._fit:
            self._share_memory(fit)
        if not self._free:
            self._no_slot += 1
            self._send(Heartbeat(counts))
            return
        assert self._slots is not None
        slot = self._free.pop()
        self._preprocess.place(picture, fit, self._slots[slot])
        self._number += 1
        self._frame_requested = False
        if self._gate is not None:
            self._gate.mark_handed_over(self._number)
        self._send(FrameReady(self._number, self._layout, slot, time, counts))

    def _hand_over_clip(self, alert_id: str, descriptor: int | None) -> None:
        self._send(ClipFinished(alert_id, 0 if descriptor is None else os.fstat(descriptor).st_size))
        if descriptor is not None:
            send_handle(self._link, descriptor, os.getppid())

    def _share_memory(self, fit: Fit) -> None:
        """Share new memory for a fit: slots of the old are still being read.

        It has no name in /dev/shm, so nothing is left behind however this process ends.
        """
        shape = (SLOTS, *views_shape(fit))
        descriptor = os.memfd_create("edgeseg-camera", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, prod(shape))
            # The daemon checks this seal: memory that shrinks under a reader kills it (SIGBUS).
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
            self._slots = np.frombuffer(mmap.mmap(descriptor, prod(shape)), np.uint8).reshape(shape)
            self._layout += 1
            self._fit, self._free = fit, list(range(SLOTS))
            self._send(SlotLayout(self._layout, fit))
            send_handle(self._link, descriptor, os.getppid())
        finally:
            os.close(descriptor)

    def _receive_until(self, when_s: float | None) -> None:
        """Handle the daemon's messages until ``when_s``; None: those that have arrived already."""
        while not self._stopped:
            wait_s = 0.0 if when_s is None else max(0.0, when_s - self._clock.monotonic_s())
            if not self._link.poll(wait_s):
                return
            self._handle(self._link.recv())

    def _handle(self, message: ToCamera) -> None:
        match message:
            case Release(number, layout, slot, analysed):
                if layout == self._layout:
                    self._free.append(slot)
                if self._gate is not None:
                    self._gate.mark_done(number, analysed=analysed)
            case RequestFrame():
                self._frame_requested = True
                if self._gate is not None:
                    self._gate.request_frame()
            case ClipRequest():
                if self._recorder is not None:
                    self._recorder.start_clip(message)
            case SetRate(rate_fps):
                self._pacer.set_rate(rate_fps)
            case SetPreprocess(preprocess):
                self._preprocess = preprocess
            case Stop():
                self._stopped = True

    def _count_picture(self) -> None:
        self._decoded += 1
        window_s = self._clock.monotonic_s() - self._window_s
        if window_s >= _FPS_WINDOW_S:
            if not self._keyframes_only:
                self._fps = (self._decoded - self._window_decoded) / window_s
            self._window_s += window_s
            self._window_decoded = self._decoded

    def _send_heartbeat(self, source: Source) -> None:
        if self._clock.monotonic_s() - self._last_sent_s >= _HEARTBEAT_EVERY_S:
            self._send(Heartbeat(self._counts(source)))

    def _send(self, message: FromCamera) -> None:
        self._last_sent_s = self._clock.monotonic_s()
        self._link.send_bytes(encode(message))
