"""Home Assistant's discovery: what is announced, on a real broker, through restarts of everybody.

``make test-homeassistant`` shows the same payloads to Home Assistant itself.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeseg.clock import ManualClock, SystemClock
from edgeseg.errors import ConfigError
from edgeseg.publish.homeassistant.discovery import Discovery, filters
from edgeseg.publish.homeassistant.entities import Json
from edgeseg.publish.mqtt.commands import parse
from edgeseg.publish.mqtt.outbox import Outbox
from edgeseg.publish.mqtt.publisher import MqttPublisher
from edgeseg.publish.topics import TABLE, Topics
from edgeseg.settings import HomeAssistantSettings, MqttSettings
from tests.conftest import TESTS, write_clip
from tests.end_to_end.test_run import pipeline
from tests.support.broker import Broker, Received, Subscriber, wait_until
from tests.support.daemon import Daemon
from tests.support.homeassistant_pipeline import ABOVE, BASE, PIPELINE, devices_of, settings_of
from tests.support.publish_events import rule_state

GOLDEN = TESTS / "golden" / "homeassistant.json"
YARD = f"{ABOVE}/yard/config"


@pytest.fixture
def announced(tmp_path: Path) -> dict[str, Json]:
    return devices_of(settings_of(PIPELINE, tmp_path))


def test_the_payloads_are_exactly_these(announced: dict[str, Json]) -> None:
    # Exact but for the version and the list of camera states: whoever changes a unique id or a topic takes
    # people's history and automations.
    for device in announced.values():
        device["device"]["sw_version"] = device["origin"]["sw_version"] = "VERSION"
        if "status" in device["components"]:
            device["components"]["status"]["options"] = "CAMERA STATES"
    assert announced == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_topics_are_those_that_edgeseg_publishes_and_obeys(announced: dict[str, Json]) -> None:
    published = [re.sub(r"{\w+}", "[^/]+", topic.template) for topic in TABLE]
    for device in announced.values():
        for part in (device, *device["components"].values()):
            places = [place["topic"] for place in part.get("availability", [])]
            places += [part[key] for key in part if key.endswith("_topic") and key != "command_topic"]
            for place in places:
                below = place.removeprefix(f"{BASE}/")
                assert any(re.fullmatch(row, below) for row in published), place
            if "command_topic" in part:
                parse(
                    BASE,
                    part["command_topic"],
                    {"switch": b"ON", "number": b"5"}.get(part["platform"], b"PRESS"),
                )


def test_ids_are_unique_and_entities_can_have_them(announced: dict[str, Json]) -> None:
    parts = [part for device in announced.values() for part in device["components"].values()]
    for key in ("unique_id", "default_entity_id"):
        ids = [part[key] for part in parts]
        assert len(set(ids)) == len(ids)
    # homeassistant.core.VALID_ENTITY_ID
    valid = re.compile(r"(?!.+__)(?!_)[\da-z_]+(?<!_)\.(?!_)[\da-z_]+(?<!_)")
    assert all(valid.fullmatch(part["default_entity_id"]) for part in parts)


def test_without_commands_nothing_can_be_set(tmp_path: Path) -> None:
    text = PIPELINE.replace('1883"}', '1883", commands: off}')
    parts = devices_of(settings_of(text, tmp_path))[YARD]["components"].values()
    assert not [part for part in parts if "command_topic" in part]


def test_named_classes_alone(tmp_path: Path) -> None:
    text = PIPELINE.replace("homeassistant: on", "homeassistant: {coverage: named}")
    keys = devices_of(settings_of(text, tmp_path))[YARD]["components"]
    assert [key for key in keys if key.startswith("zone.door.class")] == [
        "zone.door.class.pedestrian",
        "zone.door.class.vehicle",
    ]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("on", HomeAssistantSettings()),
        ("true", HomeAssistantSettings()),
        ("off", None),
        ("{discovery: off}", None),
        ("{prefix: site/ha}", HomeAssistantSettings(prefix="site/ha")),
        ("{coverage: named}", HomeAssistantSettings(coverage="named")),
    ],
)
def test_the_key(tmp_path: Path, written: str, expected: HomeAssistantSettings | None) -> None:
    text = PIPELINE.replace("homeassistant: on", f"homeassistant: {written}")
    assert settings_of(text, tmp_path).homeassistant == expected


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("homeassistant: on", "homeassistant: {prefx: x}", "did you mean 'prefix'"),
        ("homeassistant: on", "homeassistant: {prefix: 'a/+'}", "expected topic levels"),
        ("homeassistant: on", "homeassistant: 3", "expected on, off or keys"),
        ('mqtt: {url: "mqtt://127.0.0.1:1883"}\n', "", "needs mqtt beside it"),
    ],
)
def test_mistakes_in_the_key(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        settings_of(PIPELINE.replace(old, new), tmp_path)
    assert all("homeassistant" in problem.where for problem in caught.value.problems)


def test_what_is_gone_says_farewell_once(announced: dict[str, Json]) -> None:
    discovery = Discovery()
    assert {message.topic for message in discovery.announce(announced)} == set(announced)
    assert discovery.announce(announced) == []
    fewer = without(announced, "zone.door")
    (message,) = discovery.announce(fewer)
    parts = json.loads(message.payload)["components"]
    gone = [key for key in announced[YARD]["components"] if key.startswith("zone.door")]
    assert list(parts)[: len(gone)] == gone, "before all others"
    assert all(set(parts[key]) == {"platform"} for key in gone)
    (again,) = discovery.announce(fewer)
    assert not [
        part for part in json.loads(again.payload)["components"].values() if set(part) == {"platform"}
    ]


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"components": 3}', b'{"components": {"a": 1}}'])
def test_a_strangers_payload_is_only_replaced(announced: dict[str, Json], payload: bytes) -> None:
    discovery = Discovery()
    discovery.announce(announced)
    assert discovery.found(YARD, payload) is None


def without(announced: dict[str, Json], prefix: str) -> dict[str, Json]:
    return {
        topic: {
            **device,
            "components": {
                key: part for key, part in device["components"].items() if not key.startswith(prefix)
            },
        }
        for topic, device in announced.items()
    }


@pytest.fixture
def publisher_for(tmp_path: Path) -> Iterator[Callable[..., MqttPublisher]]:
    with contextlib.ExitStack() as stack:

        def make(port: int, devices: dict[str, Json], prefix: str | None = "homeassistant") -> MqttPublisher:
            clock = SystemClock()
            publisher = MqttPublisher(
                MqttSettings("127.0.0.1", port, False, None, None, None, None, "edgeseg"),
                Topics("edgeseg", "gatehouse", boot="b1", clock=clock),
                Outbox(tmp_path / "outbox.sqlite", clock),
                clock,
                reconnect_s=(0.1, 0.4),
                drain_s=0.5,
                discovery_prefixes=("homeassistant",),
            )
            publisher.announce(devices, prefix)
            publisher.start()
            stack.callback(publisher.close)
            return publisher

        yield make


def kept(messages: list[Received]) -> dict[str, Any]:
    """The discovery that the broker keeps, by topic: the newest of each."""
    found = {one.topic: one.payload for one in messages if one.topic.startswith("homeassistant/device/")}
    return {topic: json.loads(payload) for topic, payload in found.items() if payload}


def parts_with(messages: list[Received], topic: str, prefix: str) -> dict[str, Any] | None:
    """The entities that are announced there, once some of them begin so."""
    parts: dict[str, Any] = kept(messages).get(topic, {}).get("components", {})
    return parts if any(key.startswith(prefix) for key in parts) else None


def wait_for_kept(port: int, condition: Callable[[dict[str, Any]], bool], what: str) -> None:
    """As a Home Assistant that starts now would find it."""

    def found() -> bool:
        with Subscriber(port, "homeassistant/#") as late:
            late.publish("homeassistant/end", "")
            late.wait_for(lambda all_: [one for one in all_ if one.topic == "homeassistant/end"])
            return condition(kept([one for one in late.messages if one.retain]))

    wait_until(found, what)


def test_through_restarts_of_publisher_broker_and_home_assistant(
    tmp_path: Path, announced: dict[str, Json], publisher_for: Callable[..., MqttPublisher]
) -> None:
    with Broker(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        first = publisher_for(broker.port, announced)
        first.send(rule_state("ON"))
        subscriber.wait_for(lambda all_: kept(all_) == announced, "all devices")
        subscriber.wait_for_payload("rule/blocked", "ON")
        order = [one.topic for one in subscriber.messages]
        assert order[0] == f"{BASE}/status", "whoever finds a device finds it available"

        subscriber.forget()
        broker.kill()
        broker.start()
        subscriber.wait_for(lambda all_: kept(all_) == announced, "all devices after the broker's restart")
        subscriber.wait_for_payload("rule/blocked", "ON")
        subscriber.wait_for_payload(f"{BASE}/status", "online")

        subscriber.forget()
        subscriber.publish("homeassistant/status", "offline")
        subscriber.publish("homeassistant/status", "online")
        subscriber.wait_for(lambda all_: kept(all_) == announced, "all devices after Home Assistant's start")
        subscriber.wait_for_payload("rule/blocked", "ON")

        first.close()
        assert subscriber.wait_for_payload(f"{BASE}/status", "offline")
        subscriber.forget()
        publisher_for(broker.port, announced)
        subscriber.wait_for(lambda all_: kept(all_) == announced, "all devices after our restart")
        assert not [one for one in subscriber.on("/config") if not one.payload], "nothing was taken back"


def test_what_an_earlier_run_announced_is_taken_back(
    tmp_path: Path, announced: dict[str, Json], publisher_for: Callable[..., MqttPublisher]
) -> None:
    stranger = "homeassistant/device/zigbee2mqtt/config"
    with Broker(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        subscriber.publish(stranger, "{}", retain=True)
        first = publisher_for(broker.port, announced)
        subscriber.wait_for(lambda all_: announced.items() <= kept(all_).items(), "all devices")
        first.close()
        subscriber.forget()

        fewer = without(
            {topic: device for topic, device in announced.items() if "back-yard" not in topic}, "zone.door"
        )
        second = publisher_for(broker.port, fewer)
        subscriber.wait_for_payload("back-yard/config", b"")
        farewell = subscriber.wait_for(
            lambda all_: kept(all_).get(YARD, {}).get("components", {}).get("zone.door.dominant"),
            "a farewell",
        )
        assert farewell == {"platform": "sensor"}
        second.close()

        publisher_for(broker.port, {}, None)
        wait_for_kept(broker.port, lambda found: set(found) == {stranger}, "all of ours are gone")


def test_reload_adds_changes_and_takes_back(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        more = f'homeassistant: on\nmqtt: {{url: "{broker.url}"}}\n'
        file = pipeline(tmp_path, write_clip(tmp_path / "long.mp4", fps=5, frames=600), more=more)
        whole = file.read_text()
        node = "homeassistant/device/edgeseg-test"
        yard = f"{node}/yard/config"
        state = {"XDG_STATE_HOME": str(tmp_path / "state")}
        with Daemon(file, state) as daemon:
            wait_for_kept(
                broker.port,
                lambda found: set(found) == {f"{node}/config", yard},
                "both devices",
            )
            with Subscriber(broker.port) as subscriber:

                def reload(text: str) -> None:
                    subscriber.forget()
                    file.write_text(text)
                    daemon.process.send_signal(signal.SIGHUP)

                reload(whole.replace("      right:", "      left:"))
                parts = subscriber.wait_for(lambda all_: parts_with(all_, yard, "zone.left"), "the new zone")
                assert parts["zone.right.rule.seen"] == {"platform": "binary_sensor"}
                assert parts["zone.left.rule.seen"]["name"] == "Left seen"
                reload(whole.replace("homeassistant: on", "homeassistant: off"))
                subscriber.wait_for_payload(f"{node}/config", b"")
                subscriber.wait_for_payload(yard, b"")
                reload(whole)
                subscriber.wait_for(lambda all_: yard in kept(all_), "on again")
                subscriber.forget()
                subscriber.publish("homeassistant/status", "online")
                subscriber.wait_for(lambda all_: yard in kept(all_), "births are heard again")
            assert daemon.stop() == 0
            file.write_text(whole.replace("homeassistant: on\n", ""))
        # Started again without the key, it still knows what to take back.
        with Daemon(file, state) as again:
            again.wait_for_log("live")
            wait_for_kept(broker.port, lambda found: not found, "nothing is left")


def test_filters_cover_what_is_announced(announced: dict[str, Json]) -> None:
    # A manual clock: nothing here waits.
    assert Topics("edgeseg", "gatehouse", boot="b", clock=ManualClock()).base == BASE
    patterns = [re.compile(one.replace("+", "[^/]+")) for one in filters("homeassistant", BASE)]
    assert all(any(pattern.fullmatch(topic) for pattern in patterns) for topic in announced)
