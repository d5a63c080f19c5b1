"""MQTT against real brokers that are absent, die, freeze, refuse, and know only MQTT 3.1.1."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from edgeseg.clock import SystemClock
from edgeseg.errors import EdgesegError, PublishError, StateError
from edgeseg.events import CommandAnswer
from edgeseg.publish.base import Command
from edgeseg.publish.mqtt.outbox import Outbox
from edgeseg.publish.mqtt.publisher import MqttPublisher
from edgeseg.publish.mqtt.sender import RIVAL_LOSSES
from edgeseg.publish.topics import Topics
from edgeseg.settings import MqttSettings, Secret
from tests.conftest import ROOT
from tests.support.broker import Broker, Certificates, Received, Subscriber, old_broker, wait_until
from tests.support.publish_events import alert, occupancy, one_of_each, rule_state, stats, status

BASE = "edgeseg/gatehouse"
EVERYBODY = {"edgeseg": "hunter2", "listener": "secret"}
LISTENER_ONLY = {"listener": "secret"}


@pytest.fixture
def publisher_for(tmp_path: Path) -> Iterator[Callable[..., MqttPublisher]]:
    """Makes publishers that reconnect fast, and closes them."""
    with contextlib.ExitStack() as stack:

        def make(
            port: int,
            *,
            host: str = "127.0.0.1",
            password: str | None = None,
            ca: Path | None = None,
            tls: bool = False,
            on_command: Callable[[Command], None] | None = None,
            keepalive_s: int = 5,
            capacity: int = 10_000,
            reconnect_s: tuple[float, float] = (0.1, 0.4),
        ) -> MqttPublisher:
            clock = SystemClock()
            publisher = MqttPublisher(
                MqttSettings(
                    host=host,
                    port=port,
                    tls=tls,
                    ca_file=str(ca) if ca else None,
                    username="edgeseg" if password else None,
                    password=Secret(password) if password else None,
                    password_file=None,
                    prefix="edgeseg",
                ),
                Topics("edgeseg", "gatehouse", boot="b1", clock=clock),
                Outbox(tmp_path / "outbox.sqlite", clock, capacity=capacity),
                clock,
                on_command=on_command,
                keepalive_s=keepalive_s,
                reconnect_s=reconnect_s,
                drain_s=0.5,
            )
            stack.callback(publisher.close)
            return publisher

        yield make


def connected(publisher: MqttPublisher) -> None:
    wait_until(lambda: publisher.connected, "the publisher is connected")


def bodies(messages: list[Received]) -> list[tuple[int, bool]]:
    """(seq, replayed) of the alerts."""
    alerts = [json.loads(one.payload) for one in messages if one.topic == f"{BASE}/alert"]
    return [(one["seq"], one["replayed"]) for one in alerts]


def seqs(messages: list[Received]) -> list[int]:
    return [seq for seq, _ in bodies(messages)]


def counted(subscriber: Subscriber) -> dict[str, int]:
    """The stats, as soon as there are some."""
    found = subscriber.wait_for(lambda all_: [one for one in all_ if one.topic == f"{BASE}/stats"], "stats")
    said = json.loads(found[-1].payload)
    assert isinstance(said, dict)
    return said


def child(port: int, outbox: Path, count: int, first: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.publish_child", str(port), str(outbox), str(count), str(first)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def test_a_late_subscriber_finds_all_state_and_no_alert(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher]
) -> None:
    with (
        Broker(tmp_path) as broker,
        Subscriber(broker.port) as early,
        publisher_for(broker.port) as publisher,
    ):
        for event in one_of_each():
            publisher.send(event)
        # The answer with a picture is for who listens now: before the connection it goes nowhere.
        early.wait_for(
            lambda all_: len({one.topic for one in all_ if not one.topic.endswith("/evidence")}) == 12,
            "each topic",
        )
        early.wait_for_payload("/class/vehicle", "None")
        early.wait_for_payload("/rule/blocked", "unknown")
        with Subscriber(broker.port) as late:
            late.wait_for(lambda all_: len(all_) >= 11, "the retained state")
            found = {one.topic.removeprefix(BASE + "/"): one for one in late.messages}
    assert all(one.retain for one in found.values())
    assert {topic: one.qos for topic, one in found.items()} == {
        "status": 1,
        "yard/status": 1,
        "yard/zone/gate/occupancy": 0,
        "yard/zone/gate/class/road": 0,
        "yard/zone/gate/class/car": 0,
        "yard/zone/gate/class/vehicle": 0,
        "yard/zone/gate/rule/blocked": 1,
        "yard/enabled": 1,
        "yard/rate": 1,
        "yard/snapshot": 1,
        "stats": 0,
    }
    assert found["status"].payload == b"online"
    assert found["yard/zone/gate/rule/blocked"].payload == b"unknown"
    assert found["yard/zone/gate/class/car"].payload == b"None"


def test_nobody_listening_counts_as_delivered_and_is_counted(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher]
) -> None:
    with Broker(tmp_path) as broker, publisher_for(broker.port) as publisher:
        publisher.send(alert())
        wait_until(lambda: publisher.counts.unmatched == 1, "no matching subscribers")
        assert (publisher.counts.delivered, publisher.outbox_counts.waiting) == (1, 0)
        publisher.send(stats())
        with Subscriber(broker.port) as late:
            said = counted(late)
        assert (said["alerts_delivered"], said["alerts_unmatched"], said["messages_refused"]) == (1, 1, 0)


def test_offline_is_said_on_close(tmp_path: Path, publisher_for: Callable[..., MqttPublisher]) -> None:
    with Broker(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        with publisher_for(broker.port):
            subscriber.wait_for_payload(f"{BASE}/status", "online")
        subscriber.wait_for_payload(f"{BASE}/status", "offline")
        with Subscriber(broker.port) as late:
            assert late.wait_for_payload(f"{BASE}/status", "offline").retain


def test_the_last_will_is_said_after_sigkill(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        with child(broker.port, tmp_path / "o.sqlite", 0) as process:
            subscriber.wait_for_payload(f"{BASE}/status", "online")
            process.kill()
        will = subscriber.wait_for_payload(f"{BASE}/status", "offline")
        assert will.qos == 1
        with Subscriber(broker.port) as late:
            assert late.wait_for_payload(f"{BASE}/status", "offline").retain


def test_a_broker_that_comes_late_gets_everything(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(tmp_path, users=LISTENER_ONLY)
    with publisher_for(broker.port, password="hunter2") as publisher:
        for seq in range(5):
            publisher.send(alert(seq))
        publisher.send(rule_state("ON"))
        publisher.send(occupancy(7))
        wait_until(lambda: "cannot reach 127.0.0.1" in caplog.text, "the absence is logged")
        assert publisher.outbox_counts.waiting == 5
        # The subscriber must be there first: alerts are not retained. So the publisher may not yet enter.
        with broker, Subscriber(broker.port, username="listener", password="secret") as subscriber:
            broker.users = EVERYBODY
            broker.reload()
            subscriber.wait_for(lambda all_: len(seqs(all_)) >= 5, "the alerts")
            assert bodies(subscriber.messages) == [(seq, True) for seq in range(5)]
            subscriber.wait_for_payload("/rule/blocked", "ON")
            subscriber.wait_for(lambda all_: any(b'"seq":7,' in one.payload for one in all_), "occupancy")
            publisher.send(alert(5))
            subscriber.wait_for(lambda all_: bodies(all_)[-1:] == [(5, False)], "a fresh alert")
    assert "hunter2" not in caplog.text


def test_alerts_survive_a_broker_that_is_killed_and_forgets(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    with Broker(tmp_path, users=EVERYBODY) as broker:
        publisher = publisher_for(broker.port, password="hunter2")
        with (
            Subscriber(broker.port, username="listener", password="secret") as subscriber,
            publisher,
        ):
            connected(publisher)
            publisher.send(rule_state("ON"))
            publisher.send(stats())
            publisher.send(alert(0))
            subscriber.wait_for(lambda all_: seqs(all_) == [0], "the first alert")
            for seq in range(1, 60):
                if seq == 10:
                    # So that some are on their way when it dies.
                    broker.freeze()
                if seq == 40:
                    broker.kill()
                publisher.send(alert(seq))
            publisher.send(rule_state("OFF"))
            before = seqs(subscriber.messages)
            subscriber.forget()
            broker.users = LISTENER_ONLY
            broker.start()
            subscriber.wait_until_subscribed(2)
            wait_until(lambda: "refuses the connection" in caplog.text, "the publisher is kept out")
            broker.users = EVERYBODY
            broker.reload()
            subscriber.wait_for(lambda all_: seqs(all_)[-1:] == [59], "the last alert")
            after = bodies(subscriber.messages)
            subscriber.wait_for_payload("/rule/blocked", "OFF")
            subscriber.wait_for(lambda all_: any(one.topic == f"{BASE}/stats" for one in all_), "stats")
            wait_until(lambda: publisher.outbox_counts.waiting == 0, "the outbox is empty")
    assert [seq for seq, _ in after] == list(range(after[0][0], 60))
    assert sorted({*before, *(seq for seq, _ in after)}) == list(range(60))
    assert all(replayed for _, replayed in after)


def test_an_alert_that_the_acl_refuses_waits_until_it_may_pass(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    all_but_alerts = f"topic read #\ntopic write {BASE}/status\ntopic write {BASE}/yard/#\n"
    with (
        Broker(tmp_path, acl=all_but_alerts) as broker,
        Subscriber(broker.port) as subscriber,
        publisher_for(broker.port) as publisher,
    ):
        connected(publisher)
        for seq in range(30):
            publisher.send(alert(seq))
        wait_until(lambda: publisher.counts.refused >= 1, "a refusal")
        publisher.send(rule_state("ON"))
        subscriber.wait_for_payload("/rule/blocked", "ON")
        assert publisher.outbox_counts.waiting == 30
        assert publisher.counts.delivered == 0
        assert f"refuses {BASE}/alert: Not authorized; kept" in caplog.text
        broker.acl = "topic readwrite #\n"
        broker.reload()
        subscriber.wait_for(lambda all_: len(seqs(all_)) >= 30, "the alerts")
        wait_until(lambda: publisher.outbox_counts.waiting == 0, "the outbox is empty")
    assert seqs(subscriber.messages) == list(range(30))
    assert len([record for record in caplog.records if "Not authorized" in record.getMessage()]) <= 6


def test_a_wrong_password_blocks_nothing_and_is_said_in_words(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    with Broker(tmp_path, users=EVERYBODY) as broker:
        began_s = time.monotonic()
        with publisher_for(broker.port, password="hunter3") as publisher:
            for event in one_of_each():
                publisher.send(event)
            wait_until(lambda: "refuses the connection" in caplog.text, "the refusal is logged")
            assert not publisher.connected
            assert publisher.outbox_counts.waiting == 2
            broker.users = {**EVERYBODY, "edgeseg": "hunter3"}
            broker.reload()
            wait_until(lambda: publisher.counts.delivered == 2, "the alerts are delivered")
        assert time.monotonic() - began_s < 90
    # mosquitto 2.0 answers a bad password with 'Not authorized'.
    assert "refuses the connection: Not authorized; check username, password" in caplog.text
    assert "hunter" not in caplog.text


def test_tls_is_verified_with_the_given_authority(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher]
) -> None:
    certificates = Certificates.make(tmp_path / "tls")
    with (
        Broker(tmp_path, tls=certificates, users=EVERYBODY) as broker,
        Subscriber(broker.port, username="listener", password="secret", ca=certificates.ca) as subscriber,
        publisher_for(broker.port, tls=True, ca=certificates.ca, password="hunter2") as publisher,
    ):
        publisher.send(alert())
        subscriber.wait_for(lambda all_: len(seqs(all_)) == 1, "the alert")


# paho drops a socket whose handshake failed without closing it; the collector does, with this warning.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("trust", ["another authority", "the system's"])
def test_an_unknown_authority_is_refused(
    trust: str,
    tmp_path: Path,
    publisher_for: Callable[..., MqttPublisher],
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = Certificates.make(tmp_path / "other").ca if trust == "another authority" else None
    with (
        Broker(tmp_path, tls=Certificates.make(tmp_path / "tls")) as broker,
        publisher_for(broker.port, tls=True, ca=other) as publisher,
    ):
        publisher.send(alert())
        wait_until(lambda: "its certificate is not accepted" in caplog.text, "the refusal is logged")
        assert not publisher.connected
        assert publisher.outbox_counts.waiting == 1


def test_a_ca_file_that_is_none_is_said_at_the_start(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher]
) -> None:
    with pytest.raises(PublishError, match=r"mqtt\.ca_file: .*ca\.pem: No such file.*expected a PEM"):
        publisher_for(1, tls=True, ca=tmp_path / "ca.pem").start()
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(PublishError, match=r"mqtt\.ca_file: .*expected a PEM"):
        publisher_for(1, tls=True, ca=tmp_path / "ca.pem").start()


def test_a_host_that_cannot_be_one_is_said_at_the_start(
    publisher_for: Callable[..., MqttPublisher],
) -> None:
    with pytest.raises(PublishError, match=r"'a\.\.b' cannot be a host name"):
        publisher_for(1883, host="a..b").start()


def test_mqtt_3_1_1_is_spoken_where_the_broker_knows_no_better(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    commands: list[Command] = []
    with (
        old_broker(tmp_path) as port,
        Subscriber(port, protocol=MQTTProtocolVersion.MQTTv311) as subscriber,
        contextlib.ExitStack() as stack,
    ):
        subscriber.publish(f"{BASE}/yard/set/rate", "1", retain=True)
        publisher = publisher_for(port, on_command=commands.append, keepalive_s=1)
        stack.enter_context(publisher)
        connected(publisher)
        publisher.send(alert())
        publisher.send(rule_state("ON"))
        subscriber.wait_for(lambda all_: len(seqs(all_)) == 1, "the alert")
        subscriber.wait_for_payload("/rule/blocked", "ON")
        wait_until(lambda: publisher.outbox_counts.waiting == 0, "the acknowledgement")

        def commanded() -> bool:
            subscriber.publish(f"{BASE}/yard/set/enabled", "OFF")
            return bool(commands)

        wait_until(commanded, "a command")
    assert commands[0] == Command("yard", "enabled", False), "the retained one was obeyed"
    assert "does not answer MQTT 5; trying MQTT 3.1.1" in caplog.text


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_nothing_that_an_earlier_run_left_outlives_the_next_start(
    version: str, tmp_path: Path, publisher_for: Callable[..., MqttPublisher]
) -> None:
    strangers = {
        f"{BASE}/yard/set/enabled": b"OFF",
        f"{BASE}/yard/notes": b"mine",
        f"{BASE}/lodge/status": b"online",
        "edgeseg/lodge/stats": b"{}",
        "edgeseg/lodge/yard/zone/gate/class/car": b"38.0",
    }
    broker = Broker(tmp_path)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(old_broker(tmp_path)) if version == "3.1.1" else broker.port
        if version == "5":
            stack.enter_context(broker)
        with Subscriber(port, protocol=MQTTProtocolVersion.MQTTv311) as watching:
            for topic, payload in strangers.items():
                watching.publish(topic, payload, retain=True)
            with publisher_for(port, keepalive_s=1) as earlier:
                for event in one_of_each():
                    earlier.send(event)
                earlier.send(occupancy(coverage={"person": 0.38, "car": 0.1}))
                earlier.send(CommandAnswer("yard", "snapshot", bytes(300_000)))
                earlier.send(occupancy(zone="no longer there"))
                watching.wait_for_payload("/no longer there/class/car", "12.3")
            watching.wait_for_payload(f"{BASE}/status", "offline")
            watching.forget()
            with publisher_for(port, keepalive_s=1) as publisher:
                publisher.send(occupancy(unknown="starting"))
                publisher.send(rule_state("OFF"))
                connected(publisher)
                watching.wait_for_payload("/gate/class/person", "")
                watching.wait_for_payload("/no longer there/occupancy", "")
                watching.wait_for_payload("/yard/snapshot", "")
                words = [one.payload for one in watching.on("/gate/class/person")]
                assert words == [b"None", b""], "those who listen keep the old number"
                # Said anew while the publisher still looks back, and known to it as its own.
                publisher.send(occupancy(2, coverage={"person": 0.5}))
                watching.wait_for_payload("/gate/class/person", "50.0")
                if version == "5":
                    wait_until(lambda: "UNSUBSCRIBE from edgeseg-gatehouse" in broker.log_text, "its end")
                publisher.send(alert())
                watching.wait_for(seqs, "a sign of life")
                with Subscriber(port, protocol=MQTTProtocolVersion.MQTTv311) as late:
                    late.wait_for(lambda all_: len(all_) >= 4 + len(strangers), "the retained state")
                    late.publish("edgeseg/fence", b"")
                    late.wait_for_payload("/fence", "")
                    left = {one.topic: one.payload for one in late.messages if one.retain}
    assert {topic: left.pop(topic) for topic in strangers} == strangers
    assert set(left) == {
        f"{BASE}/status",
        f"{BASE}/yard/zone/gate/occupancy",
        f"{BASE}/yard/zone/gate/class/person",
        f"{BASE}/yard/zone/gate/rule/blocked",
    }
    assert left[f"{BASE}/yard/zone/gate/class/person"] == b"50.0"


class SternBroker:
    """Speaks as much MQTT 5 as it takes to answer a SUBSCRIBE with ``answer``, or to hang up on it."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self.port = self._listener.getsockname()[1]
        self.subscriptions = 0

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as packets, contextlib.suppress(OSError):
                while self._converse(connection, packets):
                    pass

    def _converse(self, connection: socket.socket, packets: BinaryIO) -> bool:
        head = packets.read(1)
        if not head:
            return False
        size, shift = 0, 0
        while (byte := packets.read(1)[0]) & 0x80:
            size, shift = size + ((byte & 0x7F) << shift), shift + 7
        body = packets.read(size + (byte << shift))
        match head[0] & 0xF6:
            case 0x10:
                connection.sendall(b"\x20\x03\x00\x00\x00")
            case 0x82:
                self.subscriptions += 1
                if self._answer is None:
                    return False
                connection.sendall(b"\x90\x0b" + body[:2] + b"\x00" + 8 * self._answer)
            case 0x32:
                mid_at = 2 + int.from_bytes(body[:2], "big")
                connection.sendall(b"\x40\x02" + body[mid_at : mid_at + 2])
            case 0xC0:
                connection.sendall(b"\xd0\x00")
        return True

    def __enter__(self) -> SternBroker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.mark.parametrize(("answer", "attempts"), [(b"\x87", 1), (None, 3)], ids=["refuses", "hangs up"])
def test_a_broker_that_lets_nobody_look_back_gets_everything_all_the_same(
    answer: bytes | None,
    attempts: int,
    publisher_for: Callable[..., MqttPublisher],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with SternBroker(answer) as broker, publisher_for(broker.port) as publisher:
        wait_until(lambda: broker.subscriptions == attempts, "the attempts")
        publisher.send(alert())
        wait_until(lambda: publisher.counts.delivered == 1, "the alert")
        assert publisher.connected
        publisher.close()
    assert broker.subscriptions == attempts
    assert "subscription" not in caplog.text


class RudeBroker:
    """Accepts connections and behaves as told: reads a bit, answers with these bytes, closes - or waits
    until the client does (hold)."""

    def __init__(self, answer: bytes, *, hold: bool = False) -> None:
        self._answer = answer
        self._hold = hold
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self.port = self._listener.getsockname()[1]
        self.levels: list[int] = []

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                # CONNECT: type, length, then 00 04 M Q T T and the protocol level.
                request = connection.recv(1024)
                if not request:
                    # The publisher was closed between its connect and its first words.
                    continue
                self.levels.append(request[8])
                connection.sendall(self._answer)
                while self._hold and connection.recv(1024):
                    pass

    def __enter__(self) -> RudeBroker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def test_a_refusal_of_mqtt_5_is_answered_with_3_1_1(
    publisher_for: Callable[..., MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    # The CONNACK that MQTT 3.1.1 asks for, section 3.1.2.2: unacceptable protocol level.
    with RudeBroker(b"\x20\x02\x00\x01") as broker, publisher_for(broker.port):
        wait_until(lambda: len(broker.levels) >= 2, "two attempts")
    assert broker.levels[:2] == [5, 4]
    assert "refuses MQTT 5; trying MQTT 3.1.1" in caplog.text


def test_a_broker_that_just_closes_on_mqtt_5_is_offered_3_1_1_now_and_then(
    publisher_for: Callable[..., MqttPublisher],
) -> None:
    with RudeBroker(b"") as broker, publisher_for(broker.port):
        wait_until(lambda: len(broker.levels) >= 6, "six attempts")
    assert broker.levels[:6] == [5, 5, 5, 4, 5, 5]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x20\x03\x00\xfe\x00",
        b"\x20\x02\x00\x00" + b"\x40\x01\x00",
        b"\x20\x03\x00\x00\x00" + b"\x30\x05\x00\xff\x00\x00\x00",
        b"\x20\x03\x00\x00\x00" + b"\xff" * 64,
    ],
    ids=["http", "unknown reason", "short CONNACK", "topic not UTF-8", "endless length"],
)
def test_garbage_ends_nothing(answer: bytes, publisher_for: Callable[..., MqttPublisher]) -> None:
    with RudeBroker(answer) as broker, publisher_for(broker.port) as publisher:
        publisher.send(alert())
        wait_until(lambda: len(broker.levels) >= 3, "it keeps trying")
        publisher.send(alert(1))
        assert publisher.outbox_counts.waiting == 2


@pytest.mark.alone
def test_a_frozen_broker_does_not_block_send_or_close(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher]
) -> None:
    # A window full of these is more than the socket takes.
    picture = bytes(range(256)) * 4000
    with Broker(tmp_path) as broker:
        publisher = publisher_for(broker.port, keepalive_s=60)
        with publisher:
            connected(publisher)
            broker.freeze()
            slowest_s = 0.0
            for seq in range(300):
                began_s = time.monotonic()
                publisher.send(occupancy(seq, zone=f"zone {seq % 100}"))
                publisher.send(CommandAnswer(f"yard {seq % 30}", "snapshot", picture))
                if seq % 10 == 0:
                    publisher.send(alert(seq))
                slowest_s = max(slowest_s, time.monotonic() - began_s)
            # Nothing waits for the network; a second is for a loaded machine and a slow disk.
            assert slowest_s < 1.0
            assert publisher.outbox_counts.waiting == 30
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 30.0
        broker.resume()
        with Subscriber(broker.port) as late:
            late.wait_for_payload(f"{BASE}/status", "offline")


def test_a_frozen_broker_that_wakes_up_gets_the_last_values(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher]
) -> None:
    with (
        Broker(tmp_path) as broker,
        Subscriber(broker.port) as subscriber,
        publisher_for(broker.port) as publisher,
    ):
        connected(publisher)
        broker.freeze()
        for seq in range(2000):
            publisher.send(occupancy(seq))
        publisher.send(alert(0))
        broker.resume()
        subscriber.wait_for(lambda all_: any(b'"seq":1999,' in one.payload for one in all_), "the last")
        subscriber.wait_for(lambda all_: seqs(all_)[:1] == [0], "the alert")


@pytest.mark.parametrize("trouble", ["absent", "frozen", "well"])
def test_sigkill_between_send_and_acknowledgement_loses_nothing(trouble: str, tmp_path: Path) -> None:
    outbox = tmp_path / "outbox.sqlite"
    broker = Broker(tmp_path)
    said: list[int] = []
    heard: list[int] = []
    with contextlib.ExitStack() as stack:
        if trouble != "absent":
            stack.enter_context(broker)
            subscriber = stack.enter_context(Subscriber(broker.port))
        for kill_after in (1, 17, 40):
            with child(broker.port, outbox, 500, first=len(said)) as process:
                assert process.stdout is not None
                for number in range(kill_after):
                    said.append(int(process.stdout.readline()))
                    if number == kill_after // 2 and trouble == "frozen":
                        broker.freeze()
                process.kill()
                said += [int(text) for text in process.stdout.read().split("\n")[:-1]]
            if trouble == "frozen":
                broker.resume()
        if trouble == "absent":
            stack.enter_context(broker)
            subscriber = stack.enter_context(Subscriber(broker.port))
        # What the last process stored but did not come to say may follow.
        last = child(broker.port, outbox, 1, first=99_999)
        with last:
            subscriber.wait_for(lambda all_: 99_999 in seqs(all_), "the last alert of all")
            wait_until(lambda: seqs(subscriber.messages)[-1] == 99_999, "nothing after it")
        heard = seqs(subscriber.messages)
    assert set(said) <= set(heard), sorted(set(said) - set(heard))
    first_heard = list(dict.fromkeys(heard))
    assert [seq for seq in first_heard if seq in set(said)] == sorted(set(said))


def test_commands_arrive_validated_and_invalid_ones_are_refused(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    commands: list[Command] = []
    with Broker(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        subscriber.publish(f"{BASE}/yard/set/enabled", "OFF", retain=True)
        with publisher_for(broker.port, on_command=commands.append) as publisher:
            connected(publisher)
            wait_until(lambda: f"{BASE}/+/set/+" in broker.log_text, "the subscription")
            subscriber.publish(f"{BASE}/yard/set/rate", "2.5")
            subscriber.publish(f"{BASE}/yard/set/rate", "fast")
            subscriber.publish(f"{BASE}/yard/set/snapshot", b"")
            subscriber.publish(f"{BASE}/yard/set/enabled", "ON")
            wait_until(lambda: len(commands) == 3, "the commands")
    assert commands == [
        Command("yard", "rate", 2.5),
        Command("yard", "snapshot", None),
        Command("yard", "enabled", True),
    ]
    assert "command refused: edgeseg/gatehouse/yard/set/rate: got 'fast'; expected frames" in caplog.text


def test_a_flood_of_commands_is_limited(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    commands: list[Command] = []
    with (
        Broker(tmp_path) as broker,
        Subscriber(broker.port) as subscriber,
        publisher_for(broker.port, on_command=commands.append) as publisher,
    ):
        connected(publisher)
        wait_until(lambda: f"{BASE}/+/set/+" in broker.log_text, "the subscription")
        began_s = time.monotonic()
        for _ in range(100):
            subscriber.publish(f"{BASE}/yard/set/snapshot", b"")
        wait_until(lambda: "too many commands" in caplog.text, "the limit is logged")
        allowed = 10 + 2 * (time.monotonic() - began_s) + 1
    assert 10 <= len(commands) <= allowed


def test_a_callback_that_fails_ends_nothing(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(command: Command) -> None:
        raise RuntimeError("no such thing")

    with (
        Broker(tmp_path) as broker,
        Subscriber(broker.port) as subscriber,
        publisher_for(broker.port, on_command=fail) as publisher,
    ):
        connected(publisher)
        wait_until(lambda: f"{BASE}/+/set/+" in broker.log_text, "the subscription")
        subscriber.publish(f"{BASE}/yard/set/snapshot", b"")
        wait_until(lambda: "no such thing" in caplog.text, "the failure is logged")
        publisher.send(alert())
        subscriber.wait_for(lambda all_: len(seqs(all_)) == 1, "the alert")


def test_the_broker_s_size_limit_does_not_end_in_a_circle(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    with (
        Broker(tmp_path, extra="max_packet_size 5000") as broker,
        Subscriber(broker.port) as subscriber,
        publisher_for(broker.port) as publisher,
    ):
        connected(publisher)
        publisher.send(CommandAnswer("yard", "snapshot", bytes(6000)))
        publisher.send(status())
        publisher.send(alert())
        subscriber.wait_for(lambda all_: len(seqs(all_)) == 1, "the alert")
        subscriber.wait_for(lambda all_: any(one.topic.endswith("yard/status") for one in all_), "state")
        assert publisher.connected
        publisher.send(stats())
        assert counted(subscriber)["messages_oversized"] == 1
    assert "the broker takes at most 5000; not sent" in caplog.text


def test_brokers_are_told_how_long_an_alert_is_worth_keeping(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher]
) -> None:
    with Broker(tmp_path) as broker, Subscriber(broker.port) as subscriber, publisher_for(broker.port) as one:
        connected(one)
        one.send(alert(0))
        one.send(status())
        subscriber.wait_for(lambda all_: seqs(all_) == [0], "the alert")
        (told,) = [message for message in subscriber.messages if message.topic == f"{BASE}/alert"]
        assert told.expires_s is not None
        assert 86_390 <= told.expires_s <= 86_400
        assert all(message.expires_s is None for message in subscriber.messages if message is not told)


def test_an_outbox_of_a_newer_version_is_refused_at_the_start(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher]
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "outbox.sqlite")) as database:
        database.execute("PRAGMA user_version=999")
    with pytest.raises(StateError, match="newer"):
        publisher_for(1883).start()


def test_state_of_the_outbox_is_in_the_stats(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    deny = f"topic read #\ntopic write {BASE}/status\ntopic write {BASE}/stats\n"
    with (
        Broker(tmp_path, acl=deny) as broker,
        Subscriber(broker.port) as subscriber,
        publisher_for(broker.port, capacity=3) as publisher,
    ):
        for seq in range(5):
            publisher.send(alert(seq))
        wait_until(lambda: publisher.counts.refused, "a refusal")
        publisher.send(stats())
        said = counted(subscriber)
        assert (said["outbox_waiting"], said["outbox_dropped"], said["outbox_overflowed"]) == (3, 2, 2)
        assert said["messages_refused"] >= 1
    assert f"connected to 127.0.0.1:{broker.port} (MQTT 5)" in caplog.text


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_broker_that_ends_is_said_in_words(
    end: str,
    tmp_path: Path,
    publisher_for: Callable[..., MqttPublisher],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Broker(tmp_path) as broker, publisher_for(broker.port) as publisher:
        connected(publisher)
        getattr(broker, end)()
        wait_until(lambda: f"mqtt: lost 127.0.0.1:{broker.port}: " in caplog.text, "the loss is logged")
    assert re.search(r"lost \S+ (the broker closed the connection|Server shutting down); recon", caplog.text)
    assert "Unspecified" not in caplog.text


# paho drops a socket whose handshake failed without closing it; the collector does, with this warning.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_to_a_plain_port_is_guessed(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    with Broker(tmp_path) as broker, publisher_for(broker.port, tls=True):
        wait_until(lambda: "the broker may not speak TLS on this port: use mqtt://" in caplog.text, "a hint")


def test_plain_words_to_a_tls_port_are_guessed(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    with (
        Broker(tmp_path, tls=Certificates.make(tmp_path / "tls")) as broker,
        publisher_for(broker.port),
    ):
        wait_until(lambda: "if the broker speaks TLS on this port, use mqtts://" in caplog.text, "a hint")
    assert "Unspecified" not in caplog.text


def test_a_rival_with_our_name_is_told_once_and_not_fought(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    longest_s = 2.0
    held_s = []
    with Broker(tmp_path) as broker, publisher_for(broker.port, reconnect_s=(0.01, longest_s)) as publisher:
        for _ in range(RIVAL_LOSSES + 1):
            connected(publisher)
            with Subscriber(broker.port, client_id="edgeseg-gatehouse", stay_away=True) as rival:
                began_s = time.monotonic()
                wait_until(partial(getattr, rival, "thrown_off"), "the rival is thrown off")
                held_s.append(time.monotonic() - began_s)
    assert min(held_s[RIVAL_LOSSES - 1 :]) > 0.4 * longest_s, held_s
    told = [one for one in caplog.messages if "another client uses the id edgeseg-gatehouse" in one]
    assert len(told) == 1
    assert "give this file a `node:` of its own" in told[0]
    assert "does not answer" not in caplog.text


def test_a_takeover_that_the_broker_names_is_believed_at_once(
    publisher_for: Callable[..., MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    longest_s = 2.0
    # CONNACK, DISCONNECT with "session taken over".
    answer = b"\x20\x03\x00\x00\x00" + b"\xe0\x02\x8e\x00"
    with RudeBroker(answer, hold=True) as broker, publisher_for(broker.port, reconnect_s=(0.01, longest_s)):
        wait_until(lambda: broker.levels, "it comes")
        began_s = time.monotonic()
        wait_until(lambda: len(broker.levels) == 2, "it comes back")
        assert time.monotonic() - began_s > 0.4 * longest_s
    told = [one for one in caplog.messages if "another client uses the id edgeseg-gatehouse" in one]
    assert len(told) == 1
    assert "give this file a `node:` of its own" in told[0]


def test_refused_commands_of_other_kinds_are_told_apart(
    tmp_path: Path, publisher_for: Callable[..., MqttPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    def unknown(command: Command) -> None:
        raise EdgesegError(f"no camera {command.camera}")

    with (
        Broker(tmp_path) as broker,
        Subscriber(broker.port) as subscriber,
        publisher_for(broker.port, on_command=unknown) as publisher,
    ):
        connected(publisher)
        wait_until(lambda: f"{BASE}/+/set/+" in broker.log_text, "the subscription")
        for topic, payload in (
            ("yard/set/rate", "fast"),
            ("yard/set/zoom", "2"),
            ("yard/set/enabled", "perhaps"),
            ("yard/set/enabled", "ON"),
        ):
            subscriber.publish(f"{BASE}/{topic}", payload)
        for words in ("got 'fast'", "unknown command 'zoom'", "got 'perhaps'", "no camera yard"):
            wait_until(lambda: any(words in one for one in caplog.messages), words)  # noqa: B023
    assert "more like it" not in caplog.text
