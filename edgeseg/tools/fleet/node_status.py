"""What many nodes tell of themselves in retained topics: ``status``, ``stats``, ``<camera>/status``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeseg.clock import parse_utc
from edgeseg.publish.mqtt.subscriber import ReceivedMessage

# Anybody may publish below the prefix.
MOST_NODES, MOST_CAMERAS = 100_000, 256
# Twice as long as a node waits between two of its stats, and some.
SILENT_AFTER_S = 150.0
_LONGEST_WORD = 100


@dataclass(slots=True)
class Node:
    """One device. cameras: their states by name. stats: the newest, as published, or empty."""

    availability: str = "unknown"
    cameras: dict[str, str] = field(default_factory=dict)
    stats: Mapping[str, Any] = field(default_factory=dict)

    @property
    def online(self) -> bool:
        """As its broker says; a node that says nothing any more may still be."""
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
        """Of edgeseg; None where the node is too old to tell."""
        return self._word("version")

    @property
    def pipeline(self) -> str | None:
        """sha256 of the pipeline file in force, in hex; None where the node is too old to tell."""
        return self._word("pipeline")

    @property
    def alerts_waiting(self) -> int | None:
        """Alerts that its broker has not acknowledged."""
        return self._count("outbox_waiting")

    @property
    def restarts(self) -> int | None:
        """Restarts in the last 24 hours that nobody asked for."""
        return self._count("restarts")

    @property
    def heard_at_s(self) -> float | None:
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
    """Nodes by name; with several prefixes the names begin with theirs. Believes nothing: what does not fit
    is left out."""

    def __init__(self, prefixes: Sequence[str]) -> None:
        self.nodes: dict[str, Node] = {}
        self._prefixes = tuple(prefixes)

    @property
    def filters(self) -> tuple[str, ...]:
        """What to subscribe to: nothing of the zones, which are most of what nodes say."""
        below = ("+/status", "+/stats", "+/+/status")
        return tuple(f"{prefix}/{rest}" for prefix in self._prefixes for rest in below)

    def hear(self, heard: ReceivedMessage) -> None:
        """Take in one message; an empty one takes back what was retained."""
        for prefix in self._prefixes:
            if heard.topic.startswith(f"{prefix}/"):
                name, *rest = heard.topic.removeprefix(f"{prefix}/").split("/")
                self._take_in(f"{prefix}/{name}" if len(self._prefixes) > 1 else name, rest, heard.payload)

    def _take_in(self, name: str, rest: list[str], payload: bytes) -> None:
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

    def _node(self, name: str) -> Node:
        return self.nodes.setdefault(name, Node())

    def _camera(self, node: Node, camera: str, state: object) -> None:
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
