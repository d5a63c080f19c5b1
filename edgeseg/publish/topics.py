"""Which event goes to which topic, with which quality of service, retained or not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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
    "snapshot": Topic(
        "{camera}/snapshot", 1, True, payloads.SnapshotJpeg, "Answer to {camera}/set/snapshot."
    ),
    "evidence": Topic(
        "{camera}/evidence", 1, False, payloads.EvidencePicture, "Answer to {camera}/set/evidence."
    ),
}
TABLE = (STATUS, CAMERA_STATUS, OCCUPANCY, CLASS, RULE, ALERT, STATS, *ANSWERS.values())

# The availability is said at each connect, and is not camera state.
_OBJECTS = tuple(topic.payload for topic in (CAMERA_STATUS, ALERT, STATS))
_LEFT_BEHIND = tuple(topic for topic in TABLE if topic.retain and topic is not STATUS)
_LAST_WORD = {CLASS.template: payloads.UNKNOWN_PERCENT, RULE.template: b"unknown"}
_PLACEHOLDER = re.compile(r"{\w+}")


@dataclass(slots=True)
class _SpokenClass:
    """Where a class of a zone is told, and its last share, 0-1 (None: unknown), as number and as text."""

    place: str
    share: float | None = None
    text: bytes = b""


@dataclass(frozen=True, slots=True)
class _SpokenZone:
    place: str
    classes: dict[str, _SpokenClass]


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
        self._zones: dict[tuple[str, str], _SpokenZone] = {}
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
                return list(self._zone(event))
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

    def _zone(self, event: ZoneOccupancy) -> Iterator[Message]:
        spoken = self._zones.get((event.camera, event.zone))
        if spoken is None:
            spoken = self._zones[event.camera, event.zone] = self._unspoken(event.camera, event.zone)
        payload = payloads.OccupancyPayload.encoded(event, boot=self._boot, now_s=self._clock.utc_s())
        yield Message(spoken.place, payload, OCCUPANCY.qos, OCCUPANCY.retain, is_json=True)
        classes = spoken.classes
        if event.coverage is None:
            for spoken_class in classes.values():
                if spoken_class.share is not None:
                    spoken_class.share, spoken_class.text = None, payloads.UNKNOWN_PERCENT
                    yield Message(spoken_class.place, spoken_class.text, CLASS.qos, CLASS.retain)
            return
        for name, share in event.coverage.items():
            known = classes.get(name)
            if known is None:
                known = classes[name] = _SpokenClass(self._class_place(event, name))
            if known.share != share:
                text = payloads.percent_text(share)
                changed, known.share, known.text = text != known.text, share, text
                if changed:
                    yield Message(known.place, text, CLASS.qos, CLASS.retain, is_json=True)

    def _unspoken(self, camera: str, zone: str) -> _SpokenZone:
        return _SpokenZone(self._message(OCCUPANCY, b"", {"camera": camera, "zone": zone}).topic, {})

    def _class_place(self, event: ZoneOccupancy, name: str) -> str:
        return self._message(CLASS, b"", {"camera": event.camera, "zone": event.zone, "class": name}).topic

    def _taken_back(self, camera: str) -> Iterator[Message]:
        for key in [key for key in self._zones if key[0] == camera]:
            del self._zones[key]
        for place, topic in self._retained.pop(camera, {}).items():
            yield Message(place, b"", topic.qos, retain=True)

    def _message(self, topic: Topic, payload: bytes, names: dict[str, str] | None = None) -> Message:
        levels = {what: _level(what, name) for what, name in (names or {}).items()}
        place = f"{self.base}/{topic.template.format(**levels)}"
        if topic.retain and "camera" in levels:
            self._retained.setdefault(levels["camera"], {})[place] = topic
        return Message(place, payload, topic.qos, topic.retain, is_json=topic.payload in _OBJECTS)


def _pattern(topic: Topic) -> re.Pattern[str]:
    return re.compile(_PLACEHOLDER.sub("[^/]+", topic.template))


def _level(what: str, name: str) -> str:
    if not name or FORBIDDEN.search(name):
        raise ValueError(f"{what} {name!r} cannot be a topic level: must not be empty nor hold / + # or NUL")
    return name
