"""What the pipeline has said last: the newest of everything, by camera and zone."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeseg.events import CameraRemoved, CameraStatus, CommandAnswer, Event, RuleState, ZoneOccupancy
from edgeseg.publish.base import SilentPublisher


@dataclass(frozen=True, slots=True)
class PublishedState:
    """The state of a rule. since_s: UTC of the picture it began with."""

    state: RuleState
    since_s: float


@dataclass(slots=True)
class Standing:
    """How one camera stands. rules: (zone, rule) -> its state."""

    status: CameraStatus | None = None
    enabled: bool = True
    rate_fps: float | None = None
    occupancies: dict[str, ZoneOccupancy] = field(default_factory=dict)
    rules: dict[tuple[str, str], PublishedState] = field(default_factory=dict)


class LatestValues(SilentPublisher):
    """A publisher that keeps the newest event of each kind. Thread-safe; ``send`` takes a microsecond."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cameras: dict[str, Standing] = {}

    def send(self, event: Event) -> None:
        with self._lock:
            match event:
                case ZoneOccupancy():
                    self._standing(event.camera).occupancies[event.zone] = event
                case RuleState():
                    rules = self._standing(event.camera).rules
                    rules[event.zone, event.rule] = PublishedState(event, event.time.captured_at_s)
                case CameraStatus():
                    self._standing(event.camera).status = event
                case CommandAnswer(thing="enabled"):
                    self._standing(event.camera).enabled = event.value == "ON"
                case CommandAnswer(thing="rate"):
                    self._standing(event.camera).rate_fps = float(event.value)
                case CameraRemoved():
                    self._cameras.pop(event.camera, None)
                case _:
                    pass

    def standing(self, camera: str) -> Standing:
        """A copy."""
        with self._lock:
            found = self._cameras.get(camera, Standing())
            return Standing(
                found.status, found.enabled, found.rate_fps, dict(found.occupancies), dict(found.rules)
            )

    def statuses(self) -> Mapping[str, CameraStatus]:
        """Camera -> its newest status."""
        with self._lock:
            return {name: one.status for name, one in self._cameras.items() if one.status is not None}

    def _standing(self, camera: str) -> Standing:
        return self._cameras.setdefault(camera, Standing())
