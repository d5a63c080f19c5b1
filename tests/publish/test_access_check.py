"""What a broker would take of a node, asked of a real one."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path

import pytest

from edgeseg.clock import SystemClock
from edgeseg.publish.mqtt.access_check import Verdict, ask, reach
from edgeseg.settings import MqttSettings, Secret
from tests.support.broker import Broker, Certificates, Subscriber, free_port, nobody_may_subscribe, old_broker

TOPICS = ("edgeseg/gate/status", "edgeseg/gate/alert", "edgeseg/gate/yard/zone/bay/occupancy")


def settings_for(broker: Broker, user: str | None = None, password: str | None = None) -> MqttSettings:
    ca_file = str(broker.tls.ca) if broker.tls else None
    secret = Secret(password) if password else None
    return MqttSettings(
        "127.0.0.1", broker.port, broker.tls is not None, ca_file, user, secret, None, "edgeseg"
    )


def asked(broker: Broker, user: str | None = None, password: str | None = None) -> Verdict:
    settings = settings_for(broker, user, password)
    return ask(settings, "edgeseg/gate", TOPICS, 10.0, SystemClock(), threading.Event())


def test_all_is_allowed_and_nothing_stays(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        subscriber.publish("edgeseg/gate/status", "online", retain=True)
        assert asked(broker) == Verdict(version="5")
        heard = subscriber.wait_for(lambda all_: [one for one in all_ if not one.payload][2:] and all_)
        with Subscriber(broker.port) as late:
            kept = late.wait_for(lambda all_: all_)
    assert [(one.topic, one.payload, one.retain) for one in heard[1:]] == [
        (topic, b"", False) for topic in TOPICS
    ]
    assert [(one.topic, one.payload) for one in kept] == [("edgeseg/gate/status", b"online")]


def test_a_topic_that_is_refused(tmp_path: Path) -> None:
    acl = "user edge\ntopic write edgeseg/gate/status\ntopic write edgeseg/gate/+/zone/#\n"
    with Broker(tmp_path, users={"edge": "right"}, acl=acl) as broker:
        verdict = asked(broker, "edge", "right")
    assert verdict.version == "5"
    assert verdict.refused == {"edgeseg/gate/alert": "Not authorized"}


def test_a_login_that_is_refused(tmp_path: Path) -> None:
    with Broker(tmp_path, users={"edge": "right"}) as broker:
        verdict = asked(broker, "edge", "wrong")
    assert (verdict.version, verdict.trouble) == (None, "Not authorized")


def test_commands_that_are_refused(tmp_path: Path) -> None:
    with Broker(tmp_path, extra=nobody_may_subscribe(tmp_path)) as broker:
        verdict = asked(broker)
    assert (verdict.version, verdict.commands, verdict.refused) == ("5", "Not authorized", {})


def test_a_broker_of_mqtt_3_cannot_tell(tmp_path: Path) -> None:
    with old_broker(tmp_path) as port:
        settings = MqttSettings("127.0.0.1", port, False, None, None, None, None, "edgeseg")
        verdict = ask(settings, "edgeseg/gate", TOPICS, 6.0, SystemClock(), threading.Event())
    assert (verdict.version, verdict.trouble, verdict.refused) == ("3.1.1", None, {})


def test_a_frozen_broker_takes_no_longer_than_told(tmp_path: Path) -> None:
    clock = SystemClock()
    with Broker(tmp_path) as broker:
        broker.freeze()
        began_s = clock.monotonic_s()
        verdict = ask(settings_for(broker), "edgeseg/gate", TOPICS, 1.0, clock, threading.Event())
        assert clock.monotonic_s() - began_s < 60
    assert verdict.trouble == "it does not answer"


def test_the_way_there(tmp_path: Path) -> None:
    with pytest.raises(ConnectionRefusedError):
        reach(MqttSettings("127.0.0.1", free_port(), False, None, None, None, None, "edgeseg"))
    with Broker(tmp_path, tls=Certificates.make(tmp_path / "tls")) as broker:
        settings = settings_for(broker)
        left_s = (reach(settings).expires_utc_s or 0) - SystemClock().utc_s()
        assert 0 < left_s < 3 * 86_400
        strangers = MqttSettings("127.0.0.1", broker.port, True, None, None, None, None, "edgeseg")
        with pytest.raises(ssl.SSLCertVerificationError):
            reach(strangers)
