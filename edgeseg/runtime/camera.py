"""One camera as subscribers know it: its state, and what its frames gave."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

from edgeseg.clock import Clock
from edgeseg.drawing import overlay
from edgeseg.engines.base import Engine
from edgeseg.errors import SourceError
from edgeseg.events import Alert, CameraState, CommandAnswer, Degraded
from edgeseg.frames import Frame, FrameTime, PictureHealth
from edgeseg.geometry.view_registration import moved_zones
from edgeseg.models.model import Model
from edgeseg.observers import NO_OBSERVERS, NO_TIMER, EvidenceCollector, Observers
from edgeseg.pipeline import Analysis, CameraPipeline
from edgeseg.publish.base import Publisher
from edgeseg.rules import CameraAlert, RuleId, RuleMemory
from edgeseg.rules.serialization import fingerprints
from edgeseg.runtime.camera_memory import CameraMemory, RestoredState
from edgeseg.runtime.camera_publisher import CameraPublisher
from edgeseg.runtime.camera_status import CameraStatusTracker
from edgeseg.settings import CameraSettings
from edgeseg.state.node_state import CameraStateView

log = logging.getLogger(__name__)

# How often zones in which nothing moves are published; rules look at every picture that is checked.
_STILL_PUBLISHED_EVERY_S = 1.0
# Frame times are sums of floats.
_ROUNDING_S = 1e-3


class Camera:
    """Publishes each change of one camera's state and everything its frames gave.

    Knows no thread and no process: the daemon, where a ``LiveCapture`` feeds it, and ``edgeseg replay``
    run the same code. Safe to call from several threads; one lock keeps a camera's messages in order.

    Args:
        seq: numbers its occupancies.
        view: where what its rules know is saved for the next process, together with each alert.
        restored: what an earlier process saved.
        evidence: keeps pictures of alerts.
    """

    def __init__(
        self,
        node: str,
        settings: CameraSettings,
        model: Model,
        groups: Mapping[str, tuple[str, ...]],
        publisher: Publisher,
        clock: Clock,
        seq: Iterator[int],
        view: CameraStateView | None = None,
        restored: RestoredState | None = None,
        evidence: EvidenceCollector | None = None,
        observers: Observers = NO_OBSERVERS,
    ) -> None:
        past = restored or RestoredState()
        self.name = settings.name
        self.analysed = 0
        self.board = overlay.ZoneBoard(settings.zones)
        self._pipeline = CameraPipeline(
            node, settings, model, groups, seq, past.memories, past.bridge_until_s, observers.occupancies
        )
        self._clock = clock
        self._lock = threading.RLock()
        self._expected = False
        self._status = CameraStatusTracker(settings.name, settings.rate_fps, clock)
        self._zones = settings.zones
        self._health = PictureHealth()
        self._zones_published_s = 0.0
        self._away_alert = CameraAlert(node, settings.name, past.away, past.bridge_until_s)
        memory = (
            None
            if view is None
            else CameraMemory(
                view, fingerprints(settings.zones, model.classes), self._pipeline, self._away_alert
            )
        )
        self._output = CameraPublisher(settings.name, publisher, self.board, model.palette, evidence, memory)
        self._observers = observers

    @property
    def state(self) -> CameraState:
        return self._status.state

    @property
    def rate_fps(self) -> float:
        """Frames a second that are to be analysed."""
        return self._status.rate_fps

    def connecting(self) -> None:
        """The camera is switched on and being tried; its zones are unknown until the first picture."""
        with self._lock:
            self._expected = True
            self._output.send([CommandAnswer(self.name, "enabled", "ON"), self._rate_answer()])
            self._suspend("connecting", None)

    def offline(self, error: SourceError) -> None:
        """The camera cannot be read."""
        with self._lock:
            self._suspend("offline", error.reason)

    def disabled(self) -> None:
        """The camera is switched off; frames that are still under way are not analysed."""
        with self._lock:
            self._expected = False
            self._output.send([CommandAnswer(self.name, "enabled", "OFF")])
            self._suspend("disabled", None)

    def leave(self) -> None:
        """edgeseg stops: nothing that is retained may go on claiming a picture."""
        with self._lock:
            self._expected = False
            if self.state not in ("offline", "disabled") and self._enter("offline", "stopped"):
                # Whatever follows a stop, what was on and for how long is true until then.
                self._output.send(self._pipeline.interrupt("offline", self._now()))
            self._output.save_if_due(self._clock.monotonic_s(), always=True)

    def publish_ends(self, ends: Iterable[Alert]) -> None:
        """Publish the ends of alerts of an earlier process that this one cannot go on with."""
        with self._lock:
            self._output.send(ends)

    @property
    def memory(self) -> Mapping[str, Mapping[str, RuleMemory]]:
        """Zone -> rule -> what it knows now."""
        with self._lock:
            return self._pipeline.memory

    def retire(self, keep: Collection[RuleId] = ()) -> None:
        """The camera is gone from the file: alerts that are on end, and no frame is analysed any more.

        keep: zones and rules that live on in the camera that takes its place.
        """
        with self._lock:
            self._expected = False
            self._output.send(self._pipeline.retire(self._now(), keep))
            self._output.send(self._away_alert.retire(self._now()))
            self._enter("disabled", "removed")

    def received(self, time: FrameTime) -> None:
        """A picture has arrived; it may yet be replaced by a newer one before it is analysed."""
        self._status.received(time)

    def judged(self, health: PictureHealth, time: FrameTime | None = None) -> None:
        """Whether pictures can be measured from now on; while they cannot, zones are unknown and frames that
        are still under way are not analysed. time: of the picture that shows it."""
        if health == self._health and health.state in (None, self.state):
            return
        with self._lock:
            if health.state is None and health.transform != self._status.transform:
                self._status.transform = health.transform
                zones = moved_zones(self._zones, health.transform)
                self._pipeline.redraw(zones)
                self.board.redraw(zones)
            self._health = health
            self._status.expire()
            if health.state is not None and self._expected:
                self._suspend(health.state, health.reason, time)

    def analyse(self, frame: Frame, engine: Engine) -> Analysis | None:
        """Take a frame through the pipeline and publish what it gave; None for a camera that is switched
        off. Raises EngineError."""
        with self._lock:
            if not self._expected:
                return None
            if self._health.state is not None:
                if self._observers.frames:
                    # People may look at what cannot be measured.
                    label_map = self._pipeline.look(frame, engine)
                    for observer in self._observers.frames:
                        observer.on_frame(frame, label_map, ())
                return None
            self._interrupt_after_gap(frame.time)
            start_timer = self._observers.start_timer
            timer = NO_TIMER if start_timer is None else start_timer(self.name, frame.time.camera_time_s)
            analysis = self._pipeline.analyse(frame, engine, timer)
            self.analysed += 1
            self._zones_published_s = frame.time.camera_time_s
            self._status.analysed()
            self._enter("live", None)
            self._output.observe(self._pipeline.dwells, analysis.events, frame, analysis.label_map)
            self._output.send(analysis.events)
            timer("publish")
            self._output.send_snapshot(frame, analysis.label_map)
            for observer in self._observers.frames:
                observer.on_frame(frame, analysis.label_map, analysis.events)
            self._periodic(self._now())
            return analysis

    def still(self, time: FrameTime) -> None:
        """A picture was due and nothing in it has moved since the frame analysed last: what was true then
        is true now, and is published once a second. Skipped while a frame is being analysed."""
        with self._if_free() as free:
            if not free or not self._expected or self._health.state is not None:
                return
            self._interrupt_after_gap(time)
            self._enter("live", None)
            publish = time.camera_time_s - self._zones_published_s >= _STILL_PUBLISHED_EVERY_S - _ROUNDING_S
            if publish:
                self._zones_published_s = time.camera_time_s
            events = self._pipeline.still(time, publish=publish)
            self._output.observe(self._pipeline.dwells, events)
            self._output.send(events)
            self._periodic(self._now())

    def tick(self) -> None:
        """Once a second: notice that nothing came, and say how the camera does.

        Skipped while a frame is being analysed, which does the same at its end.
        """
        with self._if_free() as free:
            if not free:
                return
            now = self._now()
            if self.state != "live":
                events = self._pipeline.still_suspended(self.state, now)
                self._output.observe(self._pipeline.dwells, events)
                self._output.send(events)
            elif self._status.is_stale(now.camera_time_s):
                self._suspend("stale", self._status.stale_reason)
            self._periodic(now)

    def set_rate(self, rate_fps: float) -> None:
        """Frames are analysed at another rate from now on."""
        with self._lock:
            self._status.rate_fps = rate_fps
            self._output.send([self._rate_answer()])

    def degrade(self, degraded: Degraded | None) -> None:
        """It gets less from now on than it was set to, or (None) what it was set to."""
        if degraded == self._status.degraded:
            return
        self._status.degraded = degraded
        self._status.expire()
        # Where a frame is being analysed the status goes out at its end: this call does not wait for it.
        with self._if_free() as free:
            if free:
                self._publish_status()

    def ask_for_snapshot(self) -> None:
        """The next analysed frame is published as an overlay picture, if the camera is live."""
        if self.state == "live":
            self._output.snapshot_asked = True
        else:
            log.warning("camera %s: no snapshot, it is %s", self.name, self.state)

    @property
    def received_s(self) -> float | None:
        """Camera time of the newest picture that has arrived; None before the first."""
        return self._status.received_s

    @contextmanager
    def _if_free(self) -> Iterator[bool]:
        """Take the lock and yield True, unless a frame is being analysed."""
        free = self._lock.acquire(blocking=False)
        try:
            yield free
        finally:
            if free:
                self._lock.release()

    def _interrupt_after_gap(self, time: FrameTime) -> None:
        """Suspend for a moment where pictures were missing without a tick, since the whole machine was
        suspended: what the rules saw before does not go on."""
        if self._status.take_gap() and self.state == "live":
            self._suspend("stale", self._status.stale_reason, time)

    def _suspend(self, state: CameraState, reason: str | None, time: FrameTime | None = None) -> None:
        if self._enter(state, reason):
            self._output.snapshot_asked = False
            self._output.send(self._pipeline.suspend(state, time or self._now()))

    def _enter(self, state: CameraState, reason: str | None) -> bool:
        """Return whether the state is another one than before."""
        if not self._status.enter(state, reason):
            return False
        log.info("camera %s: %s%s", self.name, state, f" ({reason})" if reason else "")
        self._publish_status()
        return True

    def _periodic(self, now: FrameTime) -> None:
        """What is due whether or not frames come."""
        if self._status.is_due(now.camera_time_s):
            self._publish_status()
        self._output.send(self._away_alert.observe(self._status.peek(), now))
        self._output.save_if_due(now.camera_time_s)

    def _publish_status(self) -> None:
        self._output.send([self._status.status()])

    def _rate_answer(self) -> CommandAnswer:
        return CommandAnswer(self.name, "rate", f"{self.rate_fps:g}")

    def _now(self) -> FrameTime:
        return FrameTime(self._clock.monotonic_s(), self._clock.utc_s())
