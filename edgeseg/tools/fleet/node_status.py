"""Node status: gathers the retained topics ``status``, ``stats`` and ``<camera>/status`` of many nodes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeseg.clock import parse_utc
from edgeseg.publish.mqtt.subscriber import ReceivedMessage

# Any client may publish below the prefix.
MOST_NODES, MOST_CAMERAS = 100_000, 256
# Twice as long as a node waits between two of its stats, and some.
SILENT_AFTER_S = 150.0
_LONGEST_WORD = 100


@dataclass(slots=True)
class NodeStatus:
    """One device. cameras: their states by name. stats: the newest, as published, or empty."""

    availability: str = "unknown"
    cameras: dict[str, str] = field(default_factory=dict)
    stats: Mapping[str, Any] = field(default_factory=dict)

    @property
    def online(self) -> bool:
        """By the broker's record; a silent node may still be online."""
        return self.availability == "online"

    @property
    def live(self) -> int:
        """How many cameras are live."""
        return sum(state == "live" for state in self.cameras.values())

    @property
    def states(self) -> Mapping[str, int]:
        """Camera state -> how many, the live ones first."""
        counted = Counter(self.cameras.values())
        return dict(sorted(counted.items(), key=lambda pair: (pair[0] != "live", pair[0])))

    @property
    def version(self) -> str | None:
        """Of edgeseg; None where the node is too old to report it."""
        return self._word("version")

    @property
    def pipeline(self) -> str | None:
        """sha256 of the pipeline file in force, in hex; None where the node is too old to report it."""
        return self._word("pipeline")

    @property
    def alerts_waiting(self) -> int | None:
        """Alerts that its broker has not acknowledged."""
        return self._count("outbox_waiting")

    @property
    def restarts(self) -> int | None:
        """Unplanned restarts in the last 24 hours."""
        return self._count("restarts")

    @property
    def reported_at_s(self) -> float | None:
        """UTC of its newest stats, by its own clock."""
        try:
            return parse_utc(str(self.stats.get("at")))
        except ValueError:
            return None

    def _word(self, key: str) -> str | None:
        value = self.stats.get(key)
        return value[:_LONGEST_WORD] if isinstance(value, str) and value.isprintable() else None

    def _count(self, key: str) -> int | None:
        value = self.stats.get(key)
        return value if isinstance(value, int) else None


class Fleet:
    """Nodes by name; with several prefixes the names begin with theirs.

    Messages are untrusted: what does not fit is ignored.
    """

    def __init__(self, prefixes: Sequence[str]) -> None:
        self.nodes: dict[str, NodeStatus] = {}
        self._prefixes = tuple(prefixes)

    @property
    def filters(self) -> tuple[str, ...]:
        """What to subscribe to: not the zones, which are most of the messages."""
        below = ("+/status", "+/stats", "+/+/status")
        return tuple(f"{prefix}/{rest}" for prefix in self._prefixes for rest in below)

    def receive(self, message: ReceivedMessage) -> None:
        """Apply one message; an empty one deletes what was retained."""
        for prefix in self._prefixes:
            if message.topic.startswith(f"{prefix}/"):
                name, *rest = message.topic.removeprefix(f"{prefix}/").split("/")
                self._apply(f"{prefix}/{name}" if len(self._prefixes) > 1 else name, rest, message.payload)

    def _apply(self, name: str, rest: list[str], payload: bytes) -> None:
        if name not in self.nodes and (not payload or len(self.nodes) >= MOST_NODES):
            return
        # They go to terminals.
        if not all(part.isprintable() for part in (name, *rest)):
            return
        match rest:
            case ["status"]:
                # A node whose retained status was taken back is no longer part of the fleet.
                if not payload:
                    del self.nodes[name]
                else:
                    self._node(name).availability = payload.decode("utf-8", "replace")[:20]
            case ["stats"]:
                self._node(name).stats = _object(payload)
            case [camera, "status"]:
                self._camera(self._node(name), camera, _object(payload).get("state"))

    def _node(self, name: str) -> NodeStatus:
        return self.nodes.setdefault(name, NodeStatus())

    def _camera(self, node: NodeStatus, camera: str, state: object) -> None:
        if not isinstance(state, str) or not state.isprintable():
            node.cameras.pop(camera, None)
        elif camera in node.cameras or len(node.cameras) < MOST_CAMERAS:
            node.cameras[camera] = state[:20]


def _object(payload: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(payload or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
