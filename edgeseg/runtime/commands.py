"""Commands: executes what came over MQTT or HTTP, and keeps what has to outlive the process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from edgeseg.events import CommandAnswer
from edgeseg.evidence.store import EvidenceStore
from edgeseg.publish.base import Command, Publisher
from edgeseg.runtime.running_camera import RunningCamera
from edgeseg.state.node_state import NodeState

log = logging.getLogger(__name__)


class CommandExecutor:
    """Belongs to the supervisor's thread.

    Args:
        cameras: those in force, by name; changes with each reload.
        state: where overrides are saved for the next process.
        rate_changed: called after a camera was given another rate.
    """

    def __init__(
        self,
        cameras: Mapping[str, RunningCamera],
        state: NodeState,
        publisher: Publisher,
        evidence: EvidenceStore | None,
        rate_changed: Callable[[], None],
    ) -> None:
        self._cameras = cameras
        self._state = state
        self._publisher = publisher
        self._evidence = evidence
        self._rate_changed = rate_changed

    def execute(self, command: Command) -> None:
        """Execute a validated command. One for an unknown camera is logged and ignored."""
        camera = self._cameras.get(command.camera)
        if camera is None:
            log.warning("command %s for camera %s ignored: no such camera", command.thing, command.camera)
        elif command.thing == "snapshot":
            camera.live.ask_for_snapshot()
        elif command.thing == "evidence":
            picture = self._evidence.picture(command.camera, str(command.value)) if self._evidence else None
            self._publisher.send(CommandAnswer(command.camera, "evidence", picture or b""))
        elif command.thing == "rate" and isinstance(command.value, float):
            self._set_rate(camera, command.value)
        elif command.thing == "enabled":
            self._enable(camera, enabled=bool(command.value))

    def _set_rate(self, camera: RunningCamera, rate_fps: float) -> None:
        name = camera.settings.name
        override = self._state.override(name)
        override = replace(override, rate_fps=rate_fps, rate_of_file_fps=camera.settings.rate_fps)
        self._state.save_override(name, override)
        camera.live.set_rate(rate_fps)
        self._rate_changed()

    def _enable(self, camera: RunningCamera, *, enabled: bool) -> None:
        name = camera.settings.name
        self._state.save_override(name, replace(self._state.override(name), enabled=enabled))
        if not enabled:
            camera.live.stop()
            camera.live.camera.disabled()
        elif not camera.live.running:
            camera.live.start()
