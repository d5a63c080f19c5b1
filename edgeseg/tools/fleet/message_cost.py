"""Message cost: counts a camera's messages by the second, from `edgeseg replay`'s JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.clock import parse_utc
from edgeseg.errors import EdgesegError

Counts = npt.NDArray[np.float64]
# Fixed header with a length of two bytes, length of the topic, packet identifier with QoS 1 (MQTT 5, 3.3).
_HEADER_BYTES, _QOS1_BYTES, _PROPERTIES_BYTES = 5, 2, 1
# TCP's and IPv4's headers, as if each message went alone: an upper bound, small ones share a segment.
TCP_BYTES = 40
# Less shows nothing of how seconds differ.
_LEAST_S = 10


@dataclass(frozen=True, slots=True)
class MessageCost:
    """One camera over time. messages, bytes: float64 (seconds,), in each second, as MQTT packets without
    TCP. alerts: begun in all. retained: topics that hold a message at the end; retained_bytes: of payload and
    topic in them. kinds: what the topic is -> messages."""

    name: str
    messages: Counts
    bytes: Counts
    alerts: int
    retained: int
    retained_bytes: int
    kinds: Mapping[str, int]

    @property
    def seconds(self) -> int:
        return len(self.messages)


def count_messages(name: str, lines: Iterable[str]) -> MessageCost:
    """Count the messages of one camera.

    A message without a time of its own belongs to the second of the one before it. Raises
    EdgesegError where the lines are not edgeseg's messages, or cover less than 10 seconds.
    """
    seconds: list[int] = []
    sizes: list[int] = []
    kinds: dict[str, int] = {}
    retained: dict[str, int] = {}
    alerts, now_s = 0, None
    for number, line in enumerate(lines, 1):
        try:
            message = json.loads(line)
            topic, payload = str(message["topic"]), message["payload"]
        except (ValueError, TypeError, KeyError):
            raise EdgesegError(
                f"{name}:{number}: is no message as JSON; `edgeseg replay CLIP PIPELINE` writes them"
            ) from None
        now_s = _second(payload, now_s)
        size = _size(topic, payload)
        if message.get("retain"):
            retained[topic] = size
        kind = _kind(topic)
        alerts += kind == "alert" and payload.get("event") == "new"
        # Before the first picture there is no time, and the node's own messages are not the camera's.
        if (now_s is not None and topic.count("/") > 1 and kind != "stats") or kind == "alert":
            seconds.append(now_s or 0)
            sizes.append(
                size + _HEADER_BYTES + _PROPERTIES_BYTES + (_QOS1_BYTES if message.get("qos") else 0)
            )
            kinds[kind] = kinds.get(kind, 0) + 1
    if not seconds or max(seconds) - min(seconds) < _LEAST_S:
        raise EdgesegError(f"{name}: covers less than {_LEAST_S} seconds of a camera")
    at = np.array(seconds) - min(seconds)
    # The first second has every topic once, as after a start; the last one is not whole.
    messages = np.bincount(at).astype(float)[1:-1]
    in_bytes = np.bincount(at, weights=np.array(sizes, float)).astype(float)[1:-1]
    return MessageCost(name, messages, in_bytes, alerts, len(retained), sum(retained.values()), kinds)


def mean(all_: Sequence[MessageCost]) -> Counts:
    """Return float64 (2,): messages and bytes a second of the average camera."""
    return np.array(
        [np.mean([one.messages.mean() for one in all_]), np.mean([one.bytes.mean() for one in all_])]
    )


def _second(payload: Any, before: int | None) -> int | None:
    if isinstance(payload, dict):
        for key in ("captured_at", "at"):
            if isinstance(text := payload.get(key), str):
                moment = int(parse_utc(text))
                # A late message does not turn time back.
                return moment if before is None else max(moment, before)
    return before


def _size(topic: str, payload: Any) -> int:
    if isinstance(payload, dict) and payload.keys() == {"bytes", "sha256"}:
        return len(topic.encode()) + int(payload["bytes"])
    text = (
        payload
        if isinstance(payload, str)
        else json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    )
    return len(topic.encode()) + len(text.encode())


def _kind(topic: str) -> str:
    levels = topic.split("/")
    return next((level for level in reversed(levels) if level in _KINDS), levels[-1])


_KINDS = ("alert", "stats", "status", "occupancy", "class", "rule")
