"""What happens, as messages for pages that are open: the newest of each kind, and every alert."""

from __future__ import annotations

import json
import threading
from collections import deque

from edgeseg.clock import Clock
from edgeseg.events import (
    Alert,
    CameraRemoved,
    CameraStatus,
    CommandAnswer,
    Event,
    NodeStats,
    RuleState,
    ZoneOccupancy,
)
from edgeseg.publish.base import SilentPublisher
from edgeseg.publish.payloads import AlertPayload, CameraStatusPayload, OccupancyPayload, StatsPayload

# A page that was asleep need not hear of more; /api/v1/alerts has the rest.
_MOST_ALERTS = 100


class Listener:
    """One page's queue. Replaced by what is newer are all but alerts. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: dict[tuple[str, ...], Event | str] = {}
        self._alerts: deque[Event | str] = deque(maxlen=_MOST_ALERTS)

    def put(self, key: tuple[str, ...] | None, what: Event | str) -> None:
        """key: None for what may not be replaced."""
        with self._lock:
            if key is None:
                self._alerts.append(what)
            else:
                # At the end: a state that changes after an alert is told after it.
                self._newest.pop(key, None)
                self._newest[key] = what

    def take(self) -> list[Event | str]:
        """All that came since the last time: states first, then alerts."""
        with self._lock:
            taken = [*self._newest.values(), *self._alerts]
            self._newest.clear()
            self._alerts.clear()
            return taken


class LiveFeed(SilentPublisher):
    """A publisher that hands events to those who listen; ``send`` costs nothing while nobody does."""

    def __init__(self, boot: str, clock: Clock) -> None:
        self._boot = boot
        self._clock = clock
        self._listeners: tuple[Listener, ...] = ()
        self._lock = threading.Lock()

    def send(self, event: Event) -> None:
        for listener in self._listeners:
            listener.put(_key(event), event)

    def say(self, key: tuple[str, ...], fields: dict[str, object]) -> None:
        """A message of the server's own. key: what replaces it."""
        for listener in self._listeners:
            listener.put(key, json.dumps(fields))

    def listen(self) -> Listener:
        """Until ``leave``."""
        listener = Listener()
        with self._lock:
            self._listeners = (*self._listeners, listener)
        return listener

    def leave(self, listener: Listener) -> None:
        with self._lock:
            self._listeners = tuple(one for one in self._listeners if one is not listener)

    def text(self, what: Event | str) -> str:
        """The message as JSON."""
        if isinstance(what, str):
            return what
        match what:
            case ZoneOccupancy():
                now_s = self._clock.utc_s()
                return _data("occupancy", OccupancyPayload.encoded(what, boot=self._boot, now_s=now_s))
            case Alert():
                return _data("alert", AlertPayload.of(what).encode())
            case CameraStatus():
                return _data("camera", CameraStatusPayload.of(what).encode())
            case NodeStats():
                return _data("stats", StatsPayload.of(what).encode())
            case RuleState():
                state = {"camera": what.camera, "zone": what.zone, "rule": what.rule, "state": what.state}
                if what.reason is not None:
                    state["reason"] = what.reason
                return json.dumps({"type": "rule", "data": state})
            case CommandAnswer():
                value = what.value if isinstance(what.value, str) else None
                answer = {"type": "answer", "camera": what.camera, "thing": what.thing, "value": value}
                return json.dumps(answer)
            case CameraRemoved():
                return json.dumps({"type": "removed", "camera": what.camera})
            case _:
                return json.dumps({"type": "other"})


def _key(event: Event) -> tuple[str, ...] | None:
    match event:
        case ZoneOccupancy():
            return "occupancy", event.camera, event.zone
        case RuleState():
            return "rule", event.camera, event.zone, event.rule
        case CameraStatus() | CameraRemoved():
            return type(event).__name__, event.camera
        case CommandAnswer():
            return "answer", event.camera, event.thing
        case NodeStats():
            return ("stats",)
        case _:
            return None


def _data(kind: str, payload: bytes) -> str:
    return f'{{"type":"{kind}","data":{payload.decode()}}}'
