"""One contract for every publisher, on a real broker and on a real stream."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from edgeseg.clock import ManualClock, SystemClock
from edgeseg.errors import PublishError
from edgeseg.publish.base import Message, Publisher
from edgeseg.publish.fan_out import FanOutPublisher
from edgeseg.publish.jsonl import JsonLinesPublisher, line
from edgeseg.publish.mqtt.outbox import Outbox
from edgeseg.publish.mqtt.publisher import MqttPublisher
from edgeseg.publish.schema import mqtt_schema
from edgeseg.publish.topics import Topics
from edgeseg.settings import MqttSettings
from tests.conftest import ROOT
from tests.support.broker import Broker, Subscriber
from tests.support.publish_events import NOON_S, alert, occupancy, one_of_each, status


@dataclass
class Setting:
    """A publisher and how to see what it said: ``said()`` waits for the given number of lines."""

    publisher: Publisher
    said: Callable[[int], list[dict[str, Any]]]


@pytest.fixture
def jsonl() -> Setting:
    stream = io.StringIO()
    topics = Topics("edgeseg", "gatehouse", boot="b1", clock=ManualClock(utc_s=NOON_S))

    def said(_: int) -> list[dict[str, Any]]:
        return [json.loads(text) for text in stream.getvalue().splitlines()]

    return Setting(JsonLinesPublisher(topics, stream), said)


@pytest.fixture
def mqtt(tmp_path: Path) -> Iterator[Setting]:
    clock = SystemClock()
    with Broker(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        publisher = MqttPublisher(
            MqttSettings("127.0.0.1", broker.port, False, None, None, None, None, "edgeseg"),
            Topics("edgeseg", "gatehouse", boot="b1", clock=clock),
            Outbox(tmp_path / "outbox.sqlite", clock),
            clock,
        )

        def said(count: int) -> list[dict[str, Any]]:
            subscriber.wait_for(lambda received: len(received) >= count, f"{count} messages")
            # A broker clears the retain flag for those who were subscribed before.
            return [
                json.loads(line(Message(one.topic, one.payload, 1 if one.qos else 0, retain=False)))
                for one in subscriber.messages
            ]

        yield Setting(publisher, said)
        publisher.close()


@pytest.fixture
def several() -> Setting:
    """What the second of two publishers heard."""
    stream = io.StringIO()
    topics = [Topics("edgeseg", "gatehouse", boot="b1", clock=ManualClock(utc_s=NOON_S)) for _ in range(2)]
    first, second = JsonLinesPublisher(topics[0], io.StringIO()), JsonLinesPublisher(topics[1], stream)

    def said(_: int) -> list[dict[str, Any]]:
        return [json.loads(text) for text in stream.getvalue().splitlines()]

    return Setting(FanOutPublisher(first, [second]), said)


@pytest.fixture(params=["jsonl", "mqtt", "several"])
def setting(request: pytest.FixtureRequest) -> Setting:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Setting)
    return found


def test_it_says_online_first_and_offline_last(setting: Setting) -> None:
    with setting.publisher as publisher:
        publisher.send(status())
        setting.said(2)
        assert not publisher.gone
    said = setting.said(3)
    assert [one["payload"] for one in said if one["topic"] == "edgeseg/gatehouse/status"] == [
        "online",
        "offline",
    ]
    assert said[0]["payload"] == "online"
    assert said[-1]["payload"] == "offline"
    assert said[1]["topic"] == "edgeseg/gatehouse/yard/status"


def test_every_message_fits_the_printed_schema(setting: Setting) -> None:
    validator = Draft202012Validator(mqtt_schema())
    with setting.publisher as publisher:
        for count, event in enumerate(one_of_each(), start=2):
            publisher.send(event)
            setting.said(count)
    for one in setting.said(12):
        # Whether it is retained, test_mqtt asks a late subscriber.
        validator.validate({**one, "retain": not one["topic"].endswith(("/alert", "/evidence"))})


def test_alerts_keep_their_order(setting: Setting) -> None:
    with setting.publisher as publisher:
        for seq in range(100):
            publisher.send(alert(seq))
        setting.said(101)
    alerts = [one["payload"]["seq"] for one in setting.said(102) if one["topic"].endswith("/alert")]
    assert alerts == list(range(100))


def test_the_last_value_arrives_whatever_was_skipped(setting: Setting) -> None:
    with setting.publisher as publisher:
        for seq in range(200):
            publisher.send(occupancy(seq))
    last = [one for one in setting.said(5) if one["topic"].endswith("/occupancy")][-1]
    assert last["payload"]["seq"] == 199


def test_threads_may_send_at_once(setting: Setting) -> None:
    with setting.publisher as publisher:
        threads = [
            threading.Thread(
                target=lambda name: [publisher.send(alert(seq, id_=name)) for seq in range(20)],
                args=(f"alert {number}",),
            )
            for number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        setting.said(81)
    seen: dict[str, list[int]] = {}
    for one in setting.said(82):
        if one["topic"].endswith("/alert"):
            seen.setdefault(one["payload"]["id"], []).append(one["payload"]["seq"])
    assert seen == {f"alert {number}": list(range(20)) for number in range(4)}


def test_close_is_idempotent_and_a_late_send_does_no_harm(setting: Setting) -> None:
    setting.publisher.close()
    setting.publisher.start()
    setting.said(1)
    setting.publisher.close()
    setting.publisher.close()
    setting.publisher.send(status())
    assert len(setting.said(2)) == 2


def test_json_lines_are_byte_identical_the_second_time() -> None:
    def transcript() -> str:
        stream = io.StringIO()
        with JsonLinesPublisher(
            Topics("edgeseg", "gatehouse", boot="replay", clock=ManualClock(utc_s=NOON_S)), stream
        ) as publisher:
            for event in one_of_each():
                publisher.send(event)
        return stream.getvalue()

    assert transcript() == transcript()


def test_a_json_line_shows_numbers_text_and_binary() -> None:
    def shown(payload: bytes) -> str:
        return line(Message("t", payload, 0, retain=True))

    assert shown(b"12.3") == '{"topic":"t","qos":0,"retain":true,"payload":12.3}'
    assert shown(b"None").endswith('"payload":"None"}')
    assert shown(b"NaN").endswith('"payload":"NaN"}')
    assert shown('{"a":"Höfe"}'.encode()).endswith('"payload":{"a":"Höfe"}}')
    assert json.loads(shown(b"\xff\xd8"))["payload"]["bytes"] == 2


_ENDLESS = """
import sys
from edgeseg.clock import ManualClock
from edgeseg.publish.jsonl import JsonLinesPublisher
from edgeseg.publish.topics import Topics
from tests.support.publish_events import occupancy
topics = Topics("edgeseg", "gatehouse", boot="b1", clock=ManualClock())
with JsonLinesPublisher(topics, sys.stdout) as publisher:
    seq = 0
    while not publisher.gone:
        seq += 1
        publisher.send(occupancy(seq))
"""


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        # Each line comes when it is written, not when a buffer is full.
        assert b'"online"' in child.stdout.readline()
        child.stdout.close()
        complaint = child.stderr.read()
        assert child.wait(240) == 0, complaint
        assert complaint == b""


def test_a_full_disk_is_a_publish_error() -> None:
    topics = Topics("edgeseg", "gatehouse", boot="b1", clock=ManualClock())
    full = Path("/dev/full").open("w")  # noqa: SIM115
    try:
        with pytest.raises(PublishError, match="JSON lines: No space left"):
            JsonLinesPublisher(topics, full).start()
    finally:
        with pytest.raises(OSError, match="No space"):
            full.close()
