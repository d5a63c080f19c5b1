"""Running camera: one camera of the daemon with what works for it, and how it is built."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from edgeseg.clock import Clock
from edgeseg.evidence.store import EvidenceStore
from edgeseg.models.model import Model
from edgeseg.observers import Observers
from edgeseg.publish.base import Publisher
from edgeseg.runtime.camera import Camera
from edgeseg.runtime.camera_memory import RestoredState
from edgeseg.runtime.capture_loop import LiveCapture
from edgeseg.runtime.engine_pool import EngineKey, Need
from edgeseg.runtime.scheduler import Scheduler
from edgeseg.settings import CameraSettings, FitName, PipelineSettings
from edgeseg.stages.preprocess import Preprocess
from edgeseg.state.node_state import CameraStateView, NodeState
from edgeseg.state.reference_views import CameraViews

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class RunningCamera:
    """One camera and what works for it."""

    settings: CameraSettings
    live: LiveCapture
    model: Model
    key: EngineKey
    fit: FitName


class CameraBuilder:
    """Builds and begins cameras. Belongs to the supervisor's thread.

    Args:
        state: where each camera's memory, views and overrides are saved.
        evidence: where pictures of alerts are kept; None for nowhere.
    """

    def __init__(
        self,
        publisher: Publisher,
        clock: Clock,
        state: NodeState,
        scheduler: Scheduler,
        evidence: EvidenceStore | None,
        observers: Observers,
    ) -> None:
        self._publisher = publisher
        self._clock = clock
        self._state = state
        self._scheduler = scheduler
        self._evidence = evidence
        self._observers = observers

    def build(
        self,
        settings: CameraSettings,
        need: Need,
        pipeline: PipelineSettings,
        seq: Iterator[int],
        restored: RestoredState | None,
    ) -> RunningCamera:
        """Return a camera that is not begun; the ends of alerts that it cannot go on with are published."""
        camera = Camera(
            # Camera time repeats when the machine is started again, alerts' ids must not.
            f"{pipeline.node} {self._state.now().boot}",
            settings,
            need.model,
            pipeline.groups,
            self._publisher,
            self._clock,
            seq,
            view=CameraStateView(self._state, settings.name),
            restored=restored,
            evidence=self._evidence.collector(settings, need.model) if self._evidence else None,
            observers=self._observers,
        )
        fit = settings.fit or need.model.fit
        live = LiveCapture(
            settings,
            camera,
            Preprocess(fit, need.key.input_size_px),
            self._scheduler,
            self._clock,
            CameraViews(self._state, settings.name),
            self._evidence.keep_clip if self._evidence else None,
        )
        if self._evidence is not None:
            self._evidence.record(settings.name, live.take_clip)
        if restored is not None:
            camera.publish_ends(restored.ends)
        return RunningCamera(settings, live, need.model, need.key, fit)

    def begin(self, running: RunningCamera) -> None:
        """Try the camera, at the rate of an earlier command, unless such a command has switched it off."""
        name, override = running.settings.name, self._state.override(running.settings.name)
        if override.rate_fps is not None and override.rate_of_file_fps == running.settings.rate_fps:
            running.live.set_rate(override.rate_fps)
        if override.enabled is False:
            log.info("camera %s: stays switched off by an earlier command", name)
            running.live.camera.disabled()
        else:
            running.live.start()
