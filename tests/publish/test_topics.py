"""Events become messages: topics, bytes, quality of service."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from edgeseg.clock import ManualClock
from edgeseg.events import CameraRemoved, CommandAnswer, Event, NodeStats, RuleState
from edgeseg.frames import FrameTime
from edgeseg.publish.base import Message
from edgeseg.publish.mqtt.commands import RateLimit, parse
from edgeseg.publish.payloads import OccupancyPayload
from edgeseg.publish.topics import FORBIDDEN, Topics
from tests.support.publish_events import (
    NOON_S,
    alert,
    camera_alert,
    occupancy,
    one_of_each,
    rule_state,
    stats,
    status,
)


def topics(*, now_s: float = NOON_S, prefix: str = "edgeseg", node: str = "gatehouse") -> Topics:
    return Topics(prefix, node, boot="b1", clock=ManualClock(utc_s=now_s))


def below(message: Message) -> str:
    return message.topic.removeprefix("edgeseg/gatehouse/")


def test_occupancy_bytes_are_exactly_these() -> None:
    first = topics(now_s=NOON_S + 0.1234).messages(occupancy())[0]
    assert below(first) == "yard/zone/gate/occupancy"
    assert (first.qos, first.retain) == (0, True)
    assert first.payload == (
        b'{"v":1,"camera":"yard","zone":"gate","state":"ok","reason":null,'
        b'"captured_at":"2026-11-18T11:06:40.250Z","analysed_at":"2026-11-18T11:06:40.250Z","age_ms":123,"seq":1,"boot":"b1",'
        b'"coverage":{"road":0.6,"car":0.1235,"vehicle":0.1235},"uncertain":0.2765,'
        b'"dominant":"road","confidence":0.8765,"model":"deeplab","ground":null}'
    )


def _is_level(name: str) -> bool:
    return not FORBIDDEN.search(name)


_SHARES = st.integers(0, 10_000).map(lambda steps: round(steps / 10_000, 4))


@given(
    coverage=st.dictionaries(
        st.text(min_size=1, max_size=12).filter(_is_level), _SHARES, min_size=1, max_size=5
    ),
    unknown=st.one_of(st.none(), st.sampled_from(["stale", "offline"])),
    model=st.text(max_size=20),
    confidence=st.one_of(st.none(), _SHARES),
)
def test_occupancy_bytes_are_the_models(
    coverage: dict[str, float], unknown: str | None, model: str, confidence: float | None
) -> None:
    """Written without pydantic, for speed: the same bytes as with it, whatever the names hold."""
    event = replace(occupancy(coverage=coverage, unknown=unknown), model=model, confidence=confidence)
    payload = topics().messages(event)[0].payload
    assert OccupancyPayload.model_validate_json(payload).encode() == payload


def test_in_a_replay_the_clock_is_camera_time_and_the_age_is_zero() -> None:
    assert json.loads(topics().messages(occupancy())[0].payload)["age_ms"] == 0


def test_a_clock_set_back_gives_no_negative_age() -> None:
    assert json.loads(topics(now_s=NOON_S - 5).messages(occupancy())[0].payload)["age_ms"] == 0


@pytest.mark.parametrize(
    ("event", "topic", "qos", "retain"),
    [
        (status(), "yard/status", 1, True),
        (rule_state(), "yard/zone/gate/rule/blocked", 1, True),
        (alert(), "alert", 1, False),
        (camera_alert(), "alert", 1, False),
        (stats(), "stats", 0, True),
        (CommandAnswer("yard", "enabled", "ON"), "yard/enabled", 1, True),
        (CommandAnswer("yard", "rate", "5"), "yard/rate", 1, True),
        (CommandAnswer("yard", "evidence", b"jpeg"), "yard/evidence", 1, False),
        (CommandAnswer("yard", "snapshot", b"\xff\xd8"), "yard/snapshot", 1, True),
    ],
)
def test_each_event_has_its_topic(event: Event, topic: str, qos: int, retain: bool) -> None:
    (message,) = topics().messages(event)
    assert (below(message), message.qos, message.retain) == (topic, qos, retain)


def test_classes_are_percent_with_one_decimal_and_none_while_unknown() -> None:
    node = topics()
    known = node.messages(occupancy(coverage={"road": 0.98765, "car": 0.0004}))[1:]
    assert {below(one): one.payload for one in known} == {
        "yard/zone/gate/class/road": b"98.8",
        "yard/zone/gate/class/car": b"0.0",
    }
    assert all(one.retain and one.qos == 0 for one in known)
    unknown = node.messages(occupancy(unknown="stale"))[1:]
    assert {below(one): one.payload for one in unknown} == dict.fromkeys(map(below, known), b"None")


def test_a_class_is_sent_again_only_when_its_text_changes() -> None:
    node = topics()
    node.messages(occupancy(coverage={"road": 0.5, "car": 0.25}))
    again = node.messages(occupancy(2, coverage={"road": 0.50001, "car": 0.26}))
    assert [below(one) for one in again] == ["yard/zone/gate/occupancy", "yard/zone/gate/class/car"]
    assert len(node.messages(occupancy(3, unknown="dark"))) == 3
    assert len(node.messages(occupancy(4, unknown="dark"))) == 1
    assert len(node.messages(occupancy(5, coverage={"road": 0.5, "car": 0.26}))) == 3


def test_a_zone_that_was_never_known_sets_no_class() -> None:
    node = topics()
    node.messages(occupancy(zone="gate"))
    assert len(node.messages(occupancy(zone="lane", unknown="starting"))) == 1


def test_an_alert_tells_its_times_scenes_and_evidence() -> None:
    said = json.loads(topics().messages(alert())[0].payload)
    assert said["began_at"] == "2026-11-18T11:06:40.250Z"
    assert said["at"] == "2026-11-18T11:06:50.250Z"
    assert said["ended_at"] is None
    assert said["before"] == {"coverage": {"road": 1.0, "car": 0.0}, "dominant": "road"}
    assert said["after"] == {"coverage": {"road": 0.5, "car": 0.5}, "dominant": "car"}
    assert said["evidence"]["trace"][1] == {"captured_at": "2026-11-18T11:06:41.250Z", "value": None}
    assert said["replayed"] is False


def test_the_same_events_give_the_same_bytes() -> None:
    first, second = topics(), topics()
    for event in one_of_each():
        assert first.messages(event) == second.messages(event)


def test_names_outside_ascii_stay_readable() -> None:
    message = topics().messages(replace(occupancy(), camera="Höfe"))[0]
    assert message.topic == "edgeseg/gatehouse/Höfe/zone/gate/occupancy"
    assert '"camera":"Höfe"'.encode() in message.payload


@pytest.mark.parametrize("name", ["", "a/b", "a+", "#", "a\x00b"])
def test_names_that_cannot_be_a_level_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a topic level"):
        topics(node=name)
    with pytest.raises(ValueError, match="camera"):
        topics().messages(replace(status(), camera=name))
    with pytest.raises(ValueError, match="rule"):
        topics().messages(RuleState("yard", "gate", name, "ON", FrameTime(0.0, 0.0)))
    with pytest.raises(ValueError, match="class"):
        topics().messages(occupancy(coverage={name: 1.0}))


def test_a_removed_camera_leaves_nothing_behind() -> None:
    all_topics = topics()
    given = [message for event in one_of_each() for message in all_topics.messages(event)]
    retained = {message.topic for message in given if message.retain and "/yard/" in message.topic}
    taken_back = all_topics.messages(CameraRemoved("yard"))
    assert {message.topic for message in taken_back} == retained
    assert all(message.retain and message.payload == b"" for message in taken_back)
    assert all_topics.messages(CameraRemoved("yard")) == []
    again = all_topics.messages(occupancy())
    assert any("/class/" in message.topic for message in again), "its classes are told anew"


def test_everything_retained_can_be_found_and_taken_back_by_the_next_run() -> None:
    given = [message for event in one_of_each() for message in topics().messages(event)]
    next_run = topics()
    for message in given:
        *last_words, taken_back = next_run.leftover(message.topic, message.payload) or [None]
        if not message.retain:
            assert taken_back is None
            continue
        assert taken_back == Message(message.topic, b"", message.qos, retain=True)
        unknown = {"class": b"None", "rule": b"unknown"}.get(message.topic.split("/")[-2])
        assert last_words == ([Message(message.topic, unknown, message.qos, retain=False)] if unknown else [])
        assert any(topic_matches_sub(one, message.topic) for one in next_run.leftover_filters)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("edgeseg/gatehouse/status", b"offline"),
        ("edgeseg/gatehouse/yard/set/enabled", b"OFF"),
        ("edgeseg/gatehouse/set/enabled/rate", b"1"),
        ("edgeseg/lodge/yard/status", b"{}"),
        ("edgeseg/lodge/yard/zone/gate/class/car", b"1.0"),
        ("yard/enabled", b"ON"),
        ("edgeseg/gatehouse/yard/notes", b"the owner's own"),
    ],
)
def test_what_is_not_left_by_this_node_is_left_alone(topic: str, payload: bytes) -> None:
    assert topics().leftover(topic, payload) == []
    assert not any(topic_matches_sub(one, topic) for one in topics().leftover_filters)


def test_the_availability_of_a_node_below_this_one_is_left_alone() -> None:
    assert topics().leftover("edgeseg/gatehouse/lodge/status", b"online") == []


def test_stats_tell_each_cause() -> None:
    counted = NodeStats(NOON_S, 60.0, {}, {}, {}, 1, 14, 2, 3, 4, 5, 6, 7, 8, 9)
    said = json.loads(topics().messages(counted)[0].payload)
    assert list(said.items())[-15:-5] == [
        ("outbox_waiting", 1),
        ("outbox_dropped", 14),
        ("outbox_expired", 2),
        ("outbox_overflowed", 3),
        ("outbox_rejected", 4),
        ("outbox_lost", 5),
        ("alerts_delivered", 6),
        ("alerts_unmatched", 7),
        ("messages_refused", 8),
        ("messages_oversized", 9),
    ]


def test_a_prefix_may_have_levels_but_no_empty_one() -> None:
    assert topics(prefix="site/edgeseg").status("online").topic == "site/edgeseg/gatehouse/status"
    with pytest.raises(ValueError, match="prefix"):
        topics(prefix="/edgeseg")


@pytest.mark.parametrize(
    ("thing", "payload", "value"),
    [
        ("enabled", b"ON", True),
        ("enabled", b"off", False),
        ("enabled", b"true", True),
        ("enabled", b"0", False),
        ("evidence", b" 0123456789abcdef ", "0123456789abcdef"),
        ("evidence", b"0123456789abcdef-before.jpg", "0123456789abcdef-before"),
        ("rate", b"0.1", 0.1),
        ("rate", b" 60 ", 60.0),
        ("snapshot", b"", None),
        ("snapshot", b"\xff please", None),
    ],
)
def test_commands_that_are_understood(thing: str, payload: bytes, value: object) -> None:
    command = parse("edgeseg/gatehouse", f"edgeseg/gatehouse/yard/set/{thing}", payload)
    assert (command.camera, command.thing, command.value) == ("yard", thing, value)
    assert type(command.value) is type(value)


@pytest.mark.parametrize(
    ("thing", "payload"),
    [
        ("enabled", b"maybe"),
        ("enabled", b""),
        ("enabled", b"2"),
        ("evidence", b""),
        ("evidence", b"../../x"),
        ("evidence", b"0123456789abcdef-between"),
        ("evidence", b"0123456789ABCDEF"),
        ("rate", b"0.09"),
        ("rate", b"61"),
        ("rate", b"nan"),
        ("rate", b"inf"),
        ("rate", b"1e1"),
        ("rate", b"1_0"),
        ("rate", "٣".encode()),
        ("rate", b"\xff"),
        ("rate", b"5" * 5000),
        ("colour", b"red"),
    ],
)
def test_commands_that_are_refused_say_what_was_expected(thing: str, payload: bytes) -> None:
    with pytest.raises(ValueError, match="expected") as refusal:
        parse("edgeseg/gatehouse", f"edgeseg/gatehouse/yard/set/{thing}", payload)
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("topic", ["edgeseg/gatehouse/yard", "edgeseg/other/yard/set/rate", "a/set/b"])
def test_other_topics_are_no_commands(topic: str) -> None:
    with pytest.raises(ValueError, match="not a command"):
        parse("edgeseg/gatehouse", topic, b"1")


def test_the_rate_limit_allows_a_burst_and_then_its_rate() -> None:
    limit = RateLimit(burst=3, per_s=2.0)
    assert [limit.allow(0.0) for _ in range(5)] == [True, True, True, False, False]
    assert [limit.allow(0.5) for _ in range(2)] == [True, False]
    assert [limit.allow(100.0) for _ in range(4)] == [True, True, True, False]
