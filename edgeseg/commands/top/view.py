"""Overview of nodes: gathers their latest messages for ``edgeseg top``."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeseg.publish.mqtt.subscriber import ReceivedMessage

# Any client may publish below the prefix; what is beyond is ignored.
_MOST_NODES, _MOST_ZONES = 32, 512
_ALERTS_SHOWN = 5
# A share below is noise to a reader.
_LEAST_SHARE = 0.01
_CLASSES_SHOWN = 3
# The background class is left out while there is another.
_BACKGROUND = ("background", "unlabeled", "void")


@dataclass(slots=True)
class ZoneValues:
    """The newest occupancy, as published, and the rules' states by name."""

    occupancy: Mapping[str, Any] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)

    @property
    def shares(self) -> list[tuple[str, float]]:
        """The classes that cover most, largest first; empty while unknown."""
        coverage = self.occupancy.get("coverage") or {}
        named = [(name, share) for name, share in coverage.items() if share >= _LEAST_SHARE]
        shown = [pair for pair in named if pair[0] not in _BACKGROUND] or named
        return sorted(shown, key=lambda pair: -pair[1])[:_CLASSES_SHOWN]

    @property
    def on(self) -> list[str]:
        """The rules that hold now."""
        return sorted(name for name, state in self.rules.items() if state == "ON")

    @property
    def unknown(self) -> str | None:
        """Why nothing is known; None while something is."""
        if self.occupancy.get("state") == "unknown":
            return str(self.occupancy.get("reason") or "unknown")
        return None


@dataclass(slots=True)
class NodeRow:
    """One device. cameras: their statuses as published. zones: by camera and zone."""

    availability: str = "?"
    stats: Mapping[str, Any] = field(default_factory=dict)
    cameras: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    zones: dict[tuple[str, str], ZoneValues] = field(default_factory=dict)


class NodesOverview:
    """Nodes by name. prefix: of all topics. Messages are untrusted: what does not fit is ignored."""

    def __init__(self, prefix: str) -> None:
        self.nodes: dict[str, NodeRow] = {}
        self.alerts: deque[Mapping[str, Any]] = deque(maxlen=_ALERTS_SHOWN)
        self._prefix = prefix + "/"

    def receive(self, message: ReceivedMessage) -> None:
        """Apply one message. An empty one is ignored: it deletes a retained one, or is a test of `edgeseg
        doctor`."""
        if not message.payload or not message.topic.startswith(self._prefix):
            return
        name, *rest = message.topic.removeprefix(self._prefix).split("/")
        if name not in self.nodes and len(self.nodes) >= _MOST_NODES:
            return
        match rest:
            case ["status"]:
                self._node(name).availability = message.payload.decode("utf-8", "replace")[:20]
            case ["stats"]:
                self._node(name).stats = _object(message)
            case ["alert"]:
                self.alerts.append({"node": name, **_object(message)})
            case [camera, "status"]:
                if status := _object(message):
                    self._node(name).cameras[camera] = status
            case [camera, "zone", zone, "occupancy"]:
                self._zone(name, camera, zone).occupancy = _object(message)
            case [camera, "zone", zone, "rule", rule]:
                self._zone(name, camera, zone).rules[rule] = message.payload.decode("utf-8", "replace")[:20]

    def _node(self, name: str) -> NodeRow:
        return self.nodes.setdefault(name, NodeRow())

    def _zone(self, name: str, camera: str, zone: str) -> ZoneValues:
        zones = self._node(name).zones
        if (camera, zone) not in zones and len(zones) >= _MOST_ZONES:
            return ZoneValues()
        return zones.setdefault((camera, zone), ZoneValues())


def _object(message: ReceivedMessage) -> Mapping[str, Any]:
    try:
        found = json.loads(message.payload)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
