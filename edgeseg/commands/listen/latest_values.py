"""Latest values: the state of every node from its messages, and each change as one line.

Any client of the broker can send these messages. So their shape and number are checked, and control
characters of terminals are removed.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_ZONES = 2000
MOST_ALERTS = 10
_MOST_CLASSES = 4
_MOST_CHARS = 200
# A share below this is left out of a line: half a percent of a zone is an edge or a flicker.
_LEAST_SHARE = 0.005


@dataclass(slots=True)
class ZoneRow:
    """A zone's latest values. text: its coverage. rules: name -> ON, OFF, unknown."""

    text: str = ""
    at: str = ""
    rules: dict[str, str] = field(default_factory=dict)


class NodeValues:
    """The latest values of all nodes. prefix: of the topics. Single-threaded."""

    def __init__(self, prefix: str) -> None:
        self.zones: dict[tuple[str, str, str], ZoneRow] = {}
        self.cameras: dict[tuple[str, str], str] = {}
        self.nodes: dict[str, str] = {}
        self.alerts: deque[str] = deque(maxlen=MOST_ALERTS)
        self._prefix = f"{prefix}/"

    def receive(self, topic: str, payload: bytes) -> str | None:
        """Apply one message. Return the change as one line; None without a change."""
        if not topic.startswith(self._prefix):
            return None
        match topic.removeprefix(self._prefix).split("/"):
            case [node, "status"]:
                return self._node(node, _text(payload))
            case [node, "alert"]:
                return self._alert(node, _object(payload))
            case [node, camera, "status"]:
                return self._camera(node, camera, payload)
            case [node, camera, "zone", zone, "occupancy"]:
                return self._occupancy((node, camera, zone), payload)
            case [node, camera, "zone", zone, "rule", rule]:
                return self._rule((node, camera, zone), rule, _text(payload))
        return None

    def _node(self, node: str, state: str) -> str | None:
        # A camera's status has the same form where <prefix>/<node> is the prefix of another node.
        if (
            state not in ("online", "offline")
            or self.nodes.get(node) == state
            or len(self.nodes) > MOST_ZONES
        ):
            return None
        self.nodes[node] = state
        return f"{'':8} {_clean(node)}: {state}"

    def _camera(self, node: str, camera: str, payload: bytes) -> str | None:
        if not payload:
            self.cameras.pop((node, camera), None)
            return None
        status = _object(payload)
        if "state" not in status or len(self.cameras) > MOST_ZONES:
            return None
        reason = f" ({_clean(status['reason'])})" if status.get("reason") else ""
        text = f"{_clean(status['state'])}{reason}"
        if self.cameras.get((node, camera)) == text:
            return None
        self.cameras[node, camera] = text
        return f"{'':8} {_clean(node)} {_clean(camera)}: {text}"

    def _occupancy(self, place: tuple[str, str, str], payload: bytes) -> str | None:
        if not payload:
            self.zones.pop(place, None)
            return None
        row = self._row(place)
        occupancy = _object(payload)
        if row is None or "state" not in occupancy:
            return None
        text = coverage_text(occupancy)
        row.at = _clean(occupancy.get("captured_at"))[11:19]
        if text == row.text:
            return None
        row.text = text
        return f"{row.at:8} {_place(*place)}: {text}"

    def _rule(self, place: tuple[str, str, str], rule: str, state: str) -> str | None:
        row = self._row(place)
        if row is None or len(row.rules) > MOST_ZONES:
            return None
        if not state:
            row.rules.pop(rule, None)
            return None
        if row.rules.get(rule) == state:
            return None
        row.rules[rule] = state
        return f"{'':8} {_place(*place)}: rule {_clean(rule)} {_clean(state)}"

    def _alert(self, node: str, alert: Mapping[str, Any]) -> str | None:
        if "event" not in alert:
            return None
        zone = f"/{_clean(alert['zone'])}" if alert.get("zone") else ""
        evidence = alert.get("evidence")
        value = evidence.get("value") if isinstance(evidence, dict) else None
        text = [
            f"{_clean(alert.get('at'))[11:19]:8} {_clean(node)} {_clean(alert.get('camera'))}{zone}:",
            f"ALERT {_clean(alert['event'])} {_clean(alert.get('rule'))} ({_clean(alert.get('kind'))})",
            *([f"at {percent(value)}"] if isinstance(value, (int, float)) else []),
            *([_clean(alert["end_reason"])] if alert.get("end_reason") else []),
            *(["replayed"] if alert.get("replayed") is True else []),
        ]
        self.alerts.append(" ".join(text))
        return self.alerts[-1]

    def _row(self, place: tuple[str, str, str]) -> ZoneRow | None:
        if place not in self.zones and len(self.zones) >= MOST_ZONES:
            return None
        return self.zones.setdefault(place, ZoneRow())


def coverage_text(occupancy: Mapping[str, Any]) -> str:
    """``car 12 %, road 60 %``, the largest first, or ``unknown: dark``."""
    coverage = occupancy.get("coverage")
    if occupancy["state"] != "ok" or not isinstance(coverage, dict):
        return f"unknown: {_clean(occupancy.get('reason'))}"
    shares = {name: share for name, share in coverage.items() if isinstance(share, (int, float))}
    largest = sorted(shares, key=lambda name: -shares[name])[:_MOST_CLASSES]
    text = [f"{_clean(name)} {percent(shares[name])}" for name in largest if shares[name] >= _LEAST_SHARE]
    return ", ".join(text) or "nothing"


def percent(share: float) -> str:
    """``12 %``"""
    return f"{100 * share:.0f} %"


def _place(node: str, camera: str, zone: str) -> str:
    return f"{_clean(node)} {_clean(camera)}/{_clean(zone)}"


def _object(payload: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(payload: bytes) -> str:
    return payload[:_MOST_CHARS].decode("utf-8", "replace")


def _clean(value: object) -> str:
    return "".join(char if char.isprintable() else "?" for char in str(value)[:_MOST_CHARS])
