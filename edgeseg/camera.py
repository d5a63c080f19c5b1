"""One camera as subscribers know it: its state, and what its frames gave."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable

from edgeseg import overlay
from edgeseg.clock import Clock
from edgeseg.engines.base import Engine
from edgeseg.errors import SourceError
from edgeseg.frames import (
    CameraState,
    CameraStatus,
    CommandAnswer,
    Event,
    Frame,
    FrameTime,
    RuleState,
    ZoneOccupancy,
)
from edgeseg.manifest import Model
from edgeseg.pipeline import Analysis, CameraPipeline
from edgeseg.publish.base import Publisher
from edgeseg.rules import CameraAlert
from edgeseg.settings import CameraSettings

log = logging.getLogger(__name__)

# Pictures older than this are stale; a camera analysed more slowly gets three sampling intervals.
_STALE_AFTER_S = 3.0
_STALE_AFTER_INTERVALS = 3
_STATUS_EVERY_S = 10.0
_FPS_WINDOW_S = 10.0


class Camera:
    """Connecting, live, stale, offline, disabled: publishes each change and everything its frames gave.

    Knows no thread and no process: the daemon, where a ``LiveCapture`` feeds it, and ``edgeseg replay``
    run the same code. Safe to call from several threads; one lock keeps a camera's messages in order.
    """

    def __init__(
        self,
        node: str,
        settings: CameraSettings,
        pipeline: CameraPipeline,
        model: Model,
        publisher: Publisher,
        clock: Clock,
    ) -> None:
        self.name = settings.name
        self.state: CameraState = "connecting"
        self.analysed = 0
        self._settings = settings
        self._pipeline = pipeline
        self._model = model
        self._publisher = publisher
        self._clock = clock
        self._rate_fps = settings.rate_fps
        self._lock = threading.RLock()
        self._reason: str | None = None
        self._since_s: float | None = None
        self._status_due_s = 0.0
        self._newest_s: float | None = None
        self._analysed_at_s: deque[float] = deque()
        self._away_alert = CameraAlert(node, settings.name)
        self._occupancies: dict[str, ZoneOccupancy] = {}
        self._rules_on: set[tuple[str, str]] = set()
        self._snapshot_asked = False

    def connecting(self) -> None:
        """The camera is being tried; its zones are unknown until the first picture."""
        self._enter("connecting", None)

    def offline(self, error: SourceError) -> None:
        """The camera cannot be read."""
        self._enter("offline", error.reason)

    def disabled(self) -> None:
        """Somebody switched the camera off."""
        self._enter("disabled", None)

    def retire(self) -> None:
        """The camera is gone from the file: alerts that are on end, its zones are unknown for good."""
        with self._lock:
            now = self._now()
            self._send(self._pipeline.retire(now))
            self._send(self._away_alert.retire(now))
            self._enter("disabled", "removed")

    def analyse(self, frame: Frame, engine: Engine) -> Analysis:
        """Take a frame through the pipeline and publish what it gave. Raises EngineError."""
        with self._lock:
            analysis = self._pipeline.analyse(frame, engine)
            self.analysed += 1
            self._newest_s = frame.time.camera_time_s
            self._analysed_at_s.append(self._clock.monotonic_s())
            self._enter("live", None)
            self._send(analysis.events)
            if self._snapshot_asked:
                self._snapshot_asked = False
                self._send([CommandAnswer(self.name, "snapshot", self._snapshot(frame, analysis))])
            return analysis

    def tick(self) -> None:
        """Once a second: notice that no frame came, and say how the camera does.

        Skipped while a frame is being analysed; that is progress enough.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            now = self._now()
            if self.state == "live":
                if now.camera_time_s - (self._newest_s or 0.0) > self.stale_after_s:
                    self._enter("stale", f"no picture for {self.stale_after_s:g} s")
            else:
                # Rules measure how long a zone is unknown; subscribers were told once that it is.
                events = self._pipeline.suspend(self.state, now)
                self._send(event for event in events if not isinstance(event, ZoneOccupancy))
            if now.camera_time_s >= self._status_due_s:
                self._say_status()
            self._send(self._away_alert.observe(self._status(), now))
        finally:
            self._lock.release()

    def set_rate(self, rate_fps: float) -> None:
        """Frames are analysed at another rate from now on; said back, retained."""
        with self._lock:
            self._rate_fps = rate_fps
            self._send([CommandAnswer(self.name, "rate", f"{rate_fps:g}")])

    def say_enabled(self, enabled: bool) -> None:
        """The retained answer to ``set/enabled``."""
        self._send([CommandAnswer(self.name, "enabled", "ON" if enabled else "OFF")])

    def ask_for_snapshot(self) -> None:
        """The next analysed frame is published as an overlay picture."""
        self._snapshot_asked = True

    @property
    def stale_after_s(self) -> float:
        return max(_STALE_AFTER_S, _STALE_AFTER_INTERVALS / self._rate_fps)

    def drawings(self) -> list[overlay.ZoneDrawing]:
        """The zones as they stand, for an overlay."""
        return [
            overlay.ZoneDrawing(
                zone,
                self._occupancies.get(zone.name),
                alarmed=any((zone.name, rule.name) in self._rules_on for rule in zone.rules),
            )
            for zone in self._settings.zones
        ]

    def _enter(self, state: CameraState, reason: str | None) -> None:
        with self._lock:
            if self._since_s is not None and (state, reason) == (self.state, self._reason):
                return
            self.state, self._reason, self._since_s = state, reason, self._clock.utc_s()
            self._say_status()
            if state != "live":
                self._send(self._pipeline.suspend(state, self._now()))

    def _say_status(self) -> None:
        self._status_due_s = self._clock.monotonic_s() + _STATUS_EVERY_S
        self._send([self._status()])

    def _status(self) -> CameraStatus:
        now_s = self._clock.monotonic_s()
        while self._analysed_at_s and now_s - self._analysed_at_s[0] > _FPS_WINDOW_S:
            self._analysed_at_s.popleft()
        times = self._analysed_at_s
        span_s = times[-1] - times[0] if len(times) > 1 else 0.0
        return CameraStatus(
            camera=self.name,
            state=self.state,
            reason=self._reason,
            since_s=self._since_s or self._clock.utc_s(),
            fps=round((len(times) - 1) / span_s, 2) if span_s > 0 else None,
            age_s=None if self._newest_s is None else round(max(0.0, now_s - self._newest_s), 3),
        )

    def _send(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, ZoneOccupancy):
                self._occupancies[event.zone] = event
            elif isinstance(event, RuleState):
                on = self._rules_on.add if event.state == "ON" else self._rules_on.discard
                on((event.zone, event.rule))
            self._publisher.send(event)

    def _snapshot(self, frame: Frame, analysis: Analysis) -> bytes:
        picture = overlay.picture_of(frame)
        shown = overlay.render(picture, analysis.label_map, self._model.palette, self.drawings())
        return overlay.encode_jpeg(shown)

    def _now(self) -> FrameTime:
        return FrameTime(self._clock.monotonic_s(), self._clock.utc_s())
