"""Which event goes to which topic, with which quality of service, retained or not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgeseg.clock import Clock
from edgeseg.frames import (
    Alert,
    CameraRemoved,
    CameraStatus,
    CommandAnswer,
    Event,
    NodeStats,
    RuleState,
    ZoneOccupancy,
)
from edgeseg.publish import payloads
from edgeseg.publish.base import Message, QoS

# MQTT 5 section 4.7: / separates levels, + and # are wildcards, NUL is forbidden.
FORBIDDEN = re.compile(r"[+#/\x00]")


@dataclass(frozen=True, slots=True)
class Topic:
    """One row of the topic table. ``template`` follows ``<prefix>/<node>/``; ``payload`` is a type
    pydantic can describe."""

    template: str
    qos: QoS
    retain: bool
    payload: Any
    description: str


STATUS = Topic("status", 1, True, payloads.Availability, "Whether edgeseg runs; offline is its last will.")
CAMERA_STATUS = Topic("{camera}/status", 1, True, payloads.CameraStatusPayload, "How a camera is doing.")
OCCUPANCY = Topic(
    "{camera}/zone/{zone}/occupancy", 0, True, payloads.OccupancyPayload, "How much each class covers."
)
CLASS = Topic("{camera}/zone/{zone}/class/{class}", 0, True, payloads.Percent, "One class of a zone.")
RULE = Topic("{camera}/zone/{zone}/rule/{rule}", 1, True, payloads.RuleText, "The state of a rule.")
ALERT = Topic("alert", 1, False, payloads.AlertPayload, "What happened; delivered at least once.")
STATS = Topic("stats", 0, True, payloads.StatsPayload, "Counters, once a minute.")
ANSWERS = {
    "enabled": Topic("{camera}/enabled", 1, True, payloads.EnabledText, "Answer to {camera}/set/enabled."),
    "rate": Topic("{camera}/rate", 1, True, payloads.Rate, "Answer to {camera}/set/rate."),
    "snapshot": Topic("{camera}/snapshot", 1, True, payloads.Snapshot, "Answer to {camera}/set/snapshot."),
}
TABLE = (STATUS, CAMERA_STATUS, OCCUPANCY, CLASS, RULE, ALERT, STATS, *ANSWERS.values())

# The availability is said at each connect, and is not camera state.
_LEFT_BEHIND = tuple(topic for topic in TABLE if topic.retain and topic is not STATUS)
_LAST_WORD = {CLASS.template: b"None", RULE.template: b"unknown"}
_PLACEHOLDER = re.compile(r"{\w+}")


class Topics:
    """Turns events into messages for one node. Not thread-safe: the publisher that owns it locks.

    Remembers two things. The text last given for each class of a zone: a class is sent again only when
    its text changes (it is retained, so nobody misses it), and when a zone becomes unknown every class
    it ever reported is set to ``None``. And which topics of a camera are retained: when it is removed,
    an empty payload takes each of them back (MQTT 5 section 3.3.1.3).

    prefix: may have several levels. node: one level. boot: names this start of the process; a replay
    gives a constant. clock: what ``age_ms`` is measured with; a replay gives camera time.
    """

    def __init__(self, prefix: str, node: str, *, boot: str, clock: Clock) -> None:
        for part in prefix.split("/"):
            _level("prefix", part)
        self.base = f"{prefix}/{_level('node', node)}"
        self._boot = boot
        self._clock = clock
        self._class_texts: dict[tuple[str, str], dict[str, bytes]] = {}
        self._retained: dict[str, dict[str, Topic]] = {}

    def status(self, availability: payloads.Availability) -> Message:
        """The node's own availability; ``offline`` is also its last will."""
        return self._message(STATUS, availability.encode())

    def messages(self, event: Event) -> list[Message]:
        """The messages of one event, in the order in which they should be sent.

        Raises ValueError for a name that cannot be a topic level; the configuration refuses those.
        """
        match event:
            case ZoneOccupancy():
                return [self._occupancy(event), *self._classes(event)]
            case RuleState():
                names = {"camera": event.camera, "zone": event.zone, "rule": event.rule}
                return [self._message(RULE, event.state.encode(), names)]
            case Alert():
                return [self._message(ALERT, payloads.AlertPayload.of(event).encode())]
            case CameraStatus():
                status = payloads.CameraStatusPayload.of(event)
                return [self._message(CAMERA_STATUS, status.encode(), {"camera": event.camera})]
            case CommandAnswer():
                value = event.value if isinstance(event.value, bytes) else event.value.encode()
                return [self._message(ANSWERS[event.thing], value, {"camera": event.camera})]
            case CameraRemoved():
                return list(self._taken_back(event.camera))
            case NodeStats():
                return [self._message(STATS, payloads.StatsPayload.of(event).encode())]

    @property
    def leftover_filters(self) -> tuple[str, ...]:
        """Topic filters that match what this node may have left retained, and neither its own availability
        nor any command."""
        return tuple(f"{self.base}/{_PLACEHOLDER.sub('+', topic.template)}" for topic in _LEFT_BEHIND)

    def leftover(self, place: str, payload: bytes) -> list[Message]:
        """What takes back a retained message that an earlier run left; nothing where it is not ours.

        Those who listen now would keep the old value: to them the last word is unknown. Thread-safe.
        """
        below = place.removeprefix(self.base + "/")
        topic = next((topic for topic in _LEFT_BEHIND if _pattern(topic).fullmatch(below)), None)
        # <prefix>/<node> may be the prefix of other nodes, whose availability looks like a camera's status.
        other_node = topic is CAMERA_STATUS and payload in (b"online", b"offline")
        if topic is None or below == place or other_node:
            return []
        taken_back = Message(place, b"", topic.qos, retain=True)
        last_word = _LAST_WORD.get(topic.template)
        return [
            *([Message(place, last_word, topic.qos, retain=False)] if last_word else []),
            taken_back,
        ]

    def _occupancy(self, event: ZoneOccupancy) -> Message:
        payload = payloads.OccupancyPayload.of(event, boot=self._boot, now_s=self._clock.utc_s())
        return self._message(OCCUPANCY, payload.encode(), {"camera": event.camera, "zone": event.zone})

    def _classes(self, event: ZoneOccupancy) -> Iterator[Message]:
        texts = self._class_texts.setdefault((event.camera, event.zone), {})
        if event.coverage is None:
            now = dict.fromkeys(texts, b"None")
        else:
            now = {name: payloads.percent_text(share) for name, share in event.coverage.items()}
        for name, text in now.items():
            if texts.get(name) != text:
                texts[name] = text
                yield self._message(CLASS, text, {"camera": event.camera, "zone": event.zone, "class": name})

    def _taken_back(self, camera: str) -> Iterator[Message]:
        for key in [key for key in self._class_texts if key[0] == camera]:
            del self._class_texts[key]
        for place, topic in self._retained.pop(camera, {}).items():
            yield Message(place, b"", topic.qos, retain=True)

    def _message(self, topic: Topic, payload: bytes, names: dict[str, str] | None = None) -> Message:
        levels = {what: _level(what, name) for what, name in (names or {}).items()}
        place = f"{self.base}/{topic.template.format(**levels)}"
        if topic.retain and "camera" in levels:
            self._retained.setdefault(levels["camera"], {})[place] = topic
        return Message(place, payload, topic.qos, topic.retain)


def _pattern(topic: Topic) -> re.Pattern[str]:
    return re.compile(_PLACEHOLDER.sub("[^/]+", topic.template))


def _level(what: str, name: str) -> str:
    if not name or FORBIDDEN.search(name):
        raise ValueError(f"{what} {name!r} cannot be a topic level: must not be empty nor hold / + # or NUL")
    return name
