"""Keeps one camera's capture process going: the only place that reconnects."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_when_event_set
from tenacity.wait import wait_exponential, wait_random

from edgeseg.capture.clip_request import TakeClip
from edgeseg.capture.process import CaptureProcess
from edgeseg.capture.reachability import answers
from edgeseg.clock import Clock
from edgeseg.engines.base import Engine
from edgeseg.errors import EngineAwayError, EngineCancelledError, SourceError
from edgeseg.runtime.camera import Camera
from edgeseg.runtime.clip_stream import ClipStream, KeepClip, hand_over, take_from
from edgeseg.runtime.scheduler import Scheduler, due_s, staleness_budget_s
from edgeseg.screening.health.drift import ReferenceView
from edgeseg.screening.health.monitor import health_order
from edgeseg.screening.health.reference_store import decode, encode
from edgeseg.screening.motion_gate import gate_order
from edgeseg.settings import SLOWEST_FPS, CameraSettings
from edgeseg.sources.open import is_finite
from edgeseg.stages.preprocess import Preprocess
from edgeseg.state.reference_views import CameraViews

log = logging.getLogger(__name__)

# After a failure about 1, 2, 4 ... 30 s; what is random keeps cameras that lost one switch apart.
_PAUSE = wait_exponential(multiplier=1.0, max=30.0) + wait_random(0.0, 2.0)
# How often a camera that was off is looked for within a pause: it should be seen within 3 s of its return.
_KNOCK_EVERY_S = 1.0
# A connection that gave pictures this long was good: after it the pauses begin anew.
_GOOD_AFTER_S = 30.0
_RECEIVE_TIMEOUT_S = 0.5
# Many cameras lock an account after some wrong passwords; a person has to mend it anyway.
_AFTER_REFUSED_LOGIN_S = 60.0
# A signal to the whole process group ends the camera process before we are told to stop.
_STOPPING_WITHIN_S = 0.2


class LiveCapture:
    """Feeds a ``Camera`` from a capture process, in a thread of its own, until it is stopped.

    A source that fails is tried again for ever, a first connect like any other; so is an HTTP clip, which
    then begins anew. A clip or a folder on disk ends: then ``finished`` is true, and ``failure`` says why.
    ``start``, ``stop``, ``set_rate`` and ``set_quality`` belong to one thread. ``turns`` grows as long as the
    thread that receives is well. views: where the camera's reference views are kept, but a clip's are not.
    keep_clip: is given clips of alerts; without it there are none. Raises ValueError for settings that were
    not resolved.
    """

    def __init__(
        self,
        settings: CameraSettings,
        camera: Camera,
        preprocess: Preprocess,
        scheduler: Scheduler,
        clock: Clock,
        views: CameraViews | None = None,
        keep_clip: KeepClip | None = None,
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
        self._views = views
        self._rate_share = 1.0
        self._scheduler = scheduler
        self._clock = clock
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._capture: CaptureProcess | None = None
        self._first_frame_s: float | None = None
        self._back = threading.Event()
        self._dropped: Counter[str] = Counter()
        self._seq = count()
        self._noticed: str | None = None
        self._keep_clip = keep_clip
        self._record_s: float | None = None
        self._second: ClipStream | None = None
        wanted = settings.evidence
        if keep_clip is not None and wanted is not None and wanted.clip is not None:
            if wanted.record_source is None:
                self._record_s = wanted.clip.before_s
            else:
                before_s = wanted.clip.before_s
                self._second = ClipStream(settings.name, wanted.record_source, before_s, keep_clip)

    def start(self) -> None:
        """Begin to try the camera. Returns at once."""
        self._stop.clear()
        self.failure = None
        self.camera.connecting()
        self._thread = threading.Thread(target=self._run, name=f"camera {self.camera.name}", daemon=True)
        self._thread.start()
        if self._second is not None:
            self._second.start()

    def ask_to_stop(self) -> None:
        """Stop soon; ``stop`` waits for it."""
        self._stop.set()
        if self._second is not None:
            self._second.ask_to_stop()

    def stop(self) -> None:
        """Stop; the capture process is gone when this returns. Idempotent."""
        self.ask_to_stop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._second is not None:
            self._second.stop()
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

    def take_clip(self, wish: TakeClip) -> str | None:
        """Make a clip of the camera's packets, or of its second stream's. Returns the suffix of its file, or
        None while there is nothing to make it of. Any thread."""
        if self._second is not None:
            return self._second.take(wish)
        return None if self._record_s is None else take_from(self._capture, wish)

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
        # A good connection that was lost begins anew, at once and with short pauses.
        while not self._stop.is_set() and not self.finished:
            self._back.clear()
            attempts = Retrying(
                retry=retry_if_exception_type(SourceError),
                wait=_pause,
                stop=stop_when_event_set(self._stop) | stop_when_event_set(self._back),
                sleep=self._wait_for_camera,
                reraise=True,
            )
            # Told to stop in the middle of a failure, tenacity raises that failure once more.
            with suppress(SourceError):
                attempts(self._connection)

    def _references(self) -> tuple[ReferenceView, ...]:
        """Views that earlier connections learned. A clip is another scene each time."""
        if self._views is None or self.finite:
            return ()
        kept = (decode(body, self._settings.zones) for body in self._views.stored())
        return tuple(view for view in kept if view is not None)

    def _wait_for_camera(self, pause_s: float) -> None:
        """A pause between two attempts, cut short when a camera that was off takes connections again. It may
        still be starting, so the pauses then begin anew."""
        until_s = self._clock.monotonic_s() + pause_s
        was_off = answers(self._url) is False
        while (left_s := until_s - self._clock.monotonic_s()) > 0:
            self.turns += 1
            if self._stop.wait(min(left_s, _KNOCK_EVERY_S)):
                return
            if was_off and answers(self._url):
                self._back.set()
                return

    def _connection(self) -> None:
        """One connection from opening to its end. Raises SourceError where a pause should follow."""
        self.turns += 1
        self._first_frame_s = None
        try:
            self._read()
        except SourceError as error:
            if self._stop.wait(_STOPPING_WITHIN_S):
                return
            self.camera.offline(error)
            if self.finite:
                level = logging.INFO if error.reason == "ended" else logging.ERROR
                log.log(level, "camera %s: %s", self.camera.name, error)
                self.failure = error
                return
            self.reconnects += 1
            log.warning("camera %s: %s; trying again", self.camera.name, error)
            first_s = self._first_frame_s
            if first_s is None or self._clock.monotonic_s() - first_s < _GOOD_AFTER_S:
                raise

    def _read(self) -> None:
        """Read until told to stop. Raises SourceError."""
        capture = CaptureProcess(
            self.camera.name,
            self._url,
            self._settings.source.shown,
            self._preprocess,
            self.effective_fps,
            seq=self._seq,
            clock=self._clock,
            gate=gate_order(self._settings),
            decode=self._settings.decode,
            health=health_order(self._settings, self._references()),
            repeat=self._settings.repeat,
            record_s=self._record_s,
        )
        with capture:
            with self._lock:
                self._capture = capture
                # They may have been changed while the process started.
                capture.set_rate(self.effective_fps)
                capture.set_preprocess(self._preprocess)
            try:
                while not self._stop.is_set():
                    self.turns += 1
                    time = capture.receive(_RECEIVE_TIMEOUT_S)
                    if capture.notice and capture.notice != self._noticed:
                        # Once, not at every connect.
                        self._noticed = capture.notice
                        log.warning("camera %s: %s", self.camera.name, capture.notice)
                    if self._keep_clip is not None:
                        hand_over(self.camera.name, capture, self._keep_clip)
                    unfit = capture.take_unfit()
                    if unfit is not None:
                        self.camera.received(unfit)
                    self.camera.judged(capture.health, unfit or time)
                    learned = capture.take_learned()
                    if learned is not None and self._views is not None and not self.finite:
                        self._views.keep(encode(learned, self._settings.zones), grey=learned.grey)
                    still = capture.take_still()
                    if still is not None:
                        self.camera.received(still.time)
                        if still.confirmed:
                            self.camera.still(still.time)
                    if time is not None:
                        if self._first_frame_s is None:
                            self._first_frame_s = time.camera_time_s
                            width, height = capture.picture_size_px or (0, 0)
                            log.info("camera %s: %d x %d pictures", self.camera.name, width, height)
                        self.camera.received(time)
                        place_s = due_s(time.camera_time_s, self._settings.priority)
                        self._scheduler.offer(self.camera.name, place_s)
            finally:
                if self._keep_clip is not None:
                    hand_over(self.camera.name, capture, self._keep_clip)
                with self._lock:
                    self._capture = None
                    self._dropped.update(capture.dropped)


def _pause(state: RetryCallState) -> float:
    """Seconds until the next attempt."""
    error = state.outcome.exception() if state.outcome is not None else None
    refused_login = isinstance(error, SourceError) and error.reason == "auth"
    return max(_PAUSE(state), _AFTER_REFUSED_LOGIN_S if refused_login else 0.0)
