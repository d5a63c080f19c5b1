"""What the web server knows of the daemon around it: a few questions, each of which any thread may ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from edgeseg.clock import Clock
from edgeseg.engines.base import Engine
from edgeseg.errors import EdgesegError
from edgeseg.events import NodeStats
from edgeseg.evidence.store import EvidenceStore
from edgeseg.publish.base import Command, Publisher
from edgeseg.publish.mqtt.publisher import MqttPublisher
from edgeseg.runtime.running_camera import RunningCamera
from edgeseg.settings import PipelineSettings
from edgeseg.web.metrics import CameraFacts, Facts
from edgeseg.web.request import RefusedError


class Supervised(Protocol):
    """A ``Supervisor``, as far as it is asked."""

    @property
    def cameras(self) -> Mapping[str, RunningCamera]: ...

    @property
    def evidence(self) -> EvidenceStore | None: ...

    def request_frame(self, camera: str) -> None: ...

    def engine_of(self, camera: str) -> Engine | None: ...

    def stats(self) -> NodeStats: ...


@dataclass(frozen=True, slots=True)
class Reload:
    """The newest reload. error: why it was refused."""

    at_s: float
    error: str | None


class DaemonView:
    """The daemon at work. command: takes a validated wish. stuck: see ``metrics.Facts``."""

    def __init__(
        self,
        settings: PipelineSettings,
        publisher: Publisher,
        command: Callable[[Command], None],
        clock: Clock,
        boot: str,
        stuck: int,
    ) -> None:
        self.settings = settings
        self.command = command
        self.clock = clock
        self.boot = boot
        self.reload: Reload | None = None
        self._publisher = publisher
        self._stuck = stuck
        self._supervisor: Supervised | None = None

    def attach(self, supervisor: Supervised) -> None:
        """There is somebody to ask from now on."""
        self._supervisor = supervisor

    def reloaded(self, settings: PipelineSettings, error: EdgesegError | None) -> None:
        """settings: those in force from now on."""
        self.settings = settings
        self.reload = Reload(self.clock.utc_s(), None if error is None else str(error))

    def request_frame(self, camera: str) -> None:
        if self._supervisor is not None:
            self._supervisor.request_frame(camera)

    def camera(self, camera: str) -> RunningCamera:
        """Raises RefusedError (404)."""
        running = self._supervisor.cameras.get(camera) if self._supervisor is not None else None
        if running is None:
            raise RefusedError(404, f"no camera {camera!r}")
        return running

    @property
    def cameras(self) -> list[RunningCamera]:
        """In the order of the file."""
        cameras = self._supervisor.cameras if self._supervisor is not None else {}
        return [cameras[camera.name] for camera in self.settings.cameras if camera.name in cameras]

    @property
    def evidence(self) -> EvidenceStore | None:
        """Where pictures of alerts are kept."""
        return self._supervisor.evidence if self._supervisor is not None else None

    @property
    def connected(self) -> bool | None:
        """Whether the broker is there; None where none is wanted."""
        return self._publisher.connected if isinstance(self._publisher, MqttPublisher) else None

    @property
    def stats(self) -> NodeStats:
        """The counters of now. Raises RefusedError (503) before there are any."""
        if self._supervisor is None:
            raise RefusedError(503, "edgeseg is starting")
        stats = self._supervisor.stats()
        return self._publisher.counted(stats) if isinstance(self._publisher, MqttPublisher) else stats

    def facts(self) -> Facts:
        """For metrics. Raises RefusedError (503) before there are any."""
        return Facts(
            stats=self.stats,
            connected=self.connected,
            stuck=self._stuck,
            cameras=tuple(self._facts_of(running) for running in self.cameras),
        )

    def _facts_of(self, running: RunningCamera) -> CameraFacts:
        live, supervisor = running.live, self._supervisor
        received_s = live.camera.received_s
        engine = supervisor.engine_of(running.settings.name) if supervisor is not None else None
        return CameraFacts(
            name=running.settings.name,
            age_s=None if received_s is None else max(0.0, self.clock.monotonic_s() - received_s),
            model=running.model.name,
            engine=None if engine is None else engine.name,
            input_px=running.key.input_size_px,
            rate_fps=live.camera.rate_fps,
            effective_fps=live.effective_fps,
            gated=running.settings.gate is not None,
        )
