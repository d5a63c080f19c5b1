"""Capture loop: receives one camera's pictures in a thread and reconnects when the camera fails."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import count

from edgeseg.capture.clip_request import ClipRequest
from edgeseg.capture.messages import CaptureOrder
from edgeseg.capture.process import CaptureProcess
from edgeseg.clock import Clock
from edgeseg.engines.base import Engine
from edgeseg.errors import EngineAwayError, EngineCancelledError, SourceError
from edgeseg.runtime.camera import Camera
from edgeseg.runtime.capture_events import CaptureEventHandler
from edgeseg.runtime.clip_stream import ClipStream, SaveClip, take_from
from edgeseg.runtime.reconnect import GOOD_AFTER_S, reconnect
from edgeseg.runtime.scheduler import Scheduler, staleness_budget_s
from edgeseg.screening.health.monitor import health_monitor_settings
from edgeseg.screening.motion_gate import motion_gate_settings
from edgeseg.settings import SLOWEST_FPS, CameraSettings
from edgeseg.sources.open import is_finite
from edgeseg.stages.preprocess import Preprocess
from edgeseg.state.reference_views import CameraViews

log = logging.getLogger(__name__)

_RECEIVE_TIMEOUT_S = 0.5
# A signal to the whole process group ends the camera process before the daemon stops it.
_STOPPING_WITHIN_S = 0.2


class LiveCapture:
    """Feeds a ``Camera`` from a capture process, in a thread of its own, until it is stopped.

    A source that fails is tried again without end, a first connect like any other; so is an HTTP clip, which
    then begins anew. A clip or a folder on disk ends: then ``finished`` is true, and ``failure`` says why.
    ``start``, ``stop``, ``set_rate`` and ``set_quality`` belong to one thread. ``turns`` grows as long as the
    thread that receives is alive.

    Args:
        settings: the camera's. Raises ValueError where they were not resolved.
        camera: receives pictures, health and status.
        preprocess: makes the network inputs, until ``set_quality`` changes it.
        scheduler: is offered each new frame.
        views: store of the camera's reference views; a clip's are not saved.
        save_clip: is called with clips of alerts; None makes no clips.
    """

    def __init__(
        self,
        settings: CameraSettings,
        camera: Camera,
        preprocess: Preprocess,
        scheduler: Scheduler,
        clock: Clock,
        views: CameraViews | None = None,
        save_clip: SaveClip | None = None,
    ) -> None:
        if settings.source.url is None:
            raise ValueError(f"camera {settings.name}: its source was not resolved")
        self.camera = camera
        self.failure: SourceError | None = None
        self.reconnects = 0
        self.turns = 0
        self._url = settings.source.url.reveal()
        self._settings = settings
        self._preprocess = preprocess
        self._events = CaptureEventHandler(settings, camera, scheduler, views, save_clip)
        self._rate_share = 1.0
        self._scheduler = scheduler
        self._clock = clock
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._capture: CaptureProcess | None = None
        self._dropped: Counter[str] = Counter()
        self._seq = count()
        self._record_s: float | None = None
        self._clip_stream: ClipStream | None = None
        evidence = settings.evidence
        if save_clip is not None and evidence is not None and evidence.clip is not None:
            before_s = evidence.clip.before_s
            if evidence.record_source is None:
                self._record_s = before_s
            else:
                self._clip_stream = ClipStream(
                    settings.name, evidence.record_source, before_s, save_clip, clock
                )

    def start(self) -> None:
        """Begin to try the camera. Returns at once."""
        self._stop.clear()
        self.failure = None
        self.camera.connecting()
        self._thread = threading.Thread(target=self._run, name=f"camera {self.camera.name}", daemon=True)
        self._thread.start()
        if self._clip_stream is not None:
            self._clip_stream.start()

    def ask_to_stop(self) -> None:
        """Stop soon; ``stop`` waits for it."""
        self._stop.set()
        if self._clip_stream is not None:
            self._clip_stream.ask_to_stop()

    def stop(self) -> None:
        """Stop; the capture process is gone when this returns. Idempotent."""
        self.ask_to_stop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._clip_stream is not None:
            self._clip_stream.stop()
        self._scheduler.forget(self.camera.name)

    def analyse(self, engine_for: Callable[[tuple[int, int]], Engine | None]) -> bool:
        """Take the newest frame, if there is one, through the camera's pipeline. Called by workers.

        engine_for: the loaded engine for frames of that (width, height). Returns whether it was analysed: not
        if it is older than its camera's budget.
        """
        capture = self._capture
        if capture is None:
            return False
        with capture.take() as frame:
            if frame is None or self._stop.is_set():
                return False
            age_s = self._clock.monotonic_s() - frame.time.camera_time_s
            engine = engine_for((frame.fit.input_width_px, frame.fit.input_height_px))
            if age_s > staleness_budget_s(self._settings.max_age_s, self.effective_fps):
                self._drop("stale")
            elif engine is None:
                self._drop("resized")
            else:
                try:
                    analysis = self.camera.analyse(frame, engine)
                except (EngineAwayError, EngineCancelledError) as error:
                    # Servers that run the model may be back for the next frame, and what hung on this one may
                    # do the next; this one is lost.
                    self._drop("engine")
                    log.debug("camera %s: %s", self.camera.name, error)
                    return False
                if analysis is not None:
                    capture.confirm(frame)
                    return True
        return False

    def take_clip(self, request: ClipRequest) -> str | None:
        """Make a clip of the camera's packets, or of its second stream's. Any thread.

        Returns the suffix of its file, or None while there is nothing to make it of.
        """
        if self._clip_stream is not None:
            return self._clip_stream.take(request)
        return None if self._record_s is None else take_from(self._capture, request)

    def ask_for_snapshot(self) -> None:
        """The next picture that is due is analysed and published, whether or not anything moves."""
        self.camera.ask_for_snapshot()
        self.request_frame()

    def request_frame(self) -> None:
        """The next picture that is due is analysed, whether or not anything moves. Any thread."""
        with self._lock:
            if self._capture is not None:
                self._capture.request_frame()

    def set_rate(self, rate_fps: float) -> None:
        """Frames a second from now on."""
        self.camera.set_rate(rate_fps)
        with self._lock:
            if self._capture is not None:
                self._capture.set_rate(self.effective_fps)

    def set_quality(self, rate_share: float, preprocess: Preprocess) -> None:
        """From now on analyse this share of the rate that was set, placed so."""
        with self._lock:
            self._rate_share, self._preprocess = rate_share, preprocess
            if self._capture is not None:
                self._capture.set_rate(self.effective_fps)
                self._capture.set_preprocess(preprocess)

    @property
    def effective_fps(self) -> float:
        """Frames a second that are analysed at most: the rate that was set, or less on a busy device."""
        return max(SLOWEST_FPS, self.camera.rate_fps * self._rate_share)

    @property
    def pid(self) -> int | None:
        """The capture process; None while there is none."""
        capture = self._capture
        return None if capture is None else capture.pid

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped since."""
        return self._thread is not None

    @property
    def finite(self) -> bool:
        """Whether the source is a clip or a folder on disk, which has a beginning that counts and an end."""
        return is_finite(self._url)

    @property
    def finished(self) -> bool:
        """Whether the source was finite and has been read, or never will be."""
        return self.failure is not None

    @property
    def dropped(self) -> Mapping[str, int]:
        """Frames that were due and not analysed, by cause, since the start."""
        with self._lock:
            running = self._capture.dropped if self._capture is not None else {}
            return self._dropped + Counter(running)

    def _drop(self, cause: str) -> None:
        with self._lock:
            self._dropped[cause] += 1

    def _run(self) -> None:
        reconnect(self._connect, self._url, self._stop, self._clock, on_wait=self._count_turn)

    def _count_turn(self) -> None:
        self.turns += 1

    def _connect(self) -> bool:
        """Run one connection. Returns whether to connect again; raises SourceError where a pause should
        follow."""
        self.turns += 1
        self._events.begin()
        try:
            self._read()
        except SourceError as error:
            if self._stop.wait(_STOPPING_WITHIN_S):
                return False
            self.camera.offline(error)
            if self.finite:
                level = logging.INFO if error.reason == "ended" else logging.ERROR
                log.log(level, "camera %s: %s", self.camera.name, error)
                self.failure = error
                return False
            self.reconnects += 1
            log.warning("camera %s: %s; trying again", self.camera.name, error)
            first_s = self._events.first_frame_s
            if first_s is None or self._clock.monotonic_s() - first_s < GOOD_AFTER_S:
                raise
        return True

    def _order(self) -> CaptureOrder:
        settings = self._settings
        return CaptureOrder(
            self._url,
            settings.source.shown,
            self._preprocess,
            self.effective_fps,
            gate=motion_gate_settings(settings),
            decode=settings.decode,
            health=health_monitor_settings(settings, self._events.references()),
            repeat=settings.repeat,
            record_s=self._record_s,
        )

    def _read(self) -> None:
        """Receive until stopped. Raises SourceError."""
        with CaptureProcess(self.camera.name, self._order(), seq=self._seq, clock=self._clock) as capture:
            with self._lock:
                self._capture = capture
                # They may have been changed while the process started.
                capture.set_rate(self.effective_fps)
                capture.set_preprocess(self._preprocess)
            try:
                while not self._stop.is_set():
                    self.turns += 1
                    events = capture.receive(_RECEIVE_TIMEOUT_S)
                    self._events.handle(events, capture)
            finally:
                with self._lock:
                    self._capture = None
                    self._dropped.update(capture.dropped)
