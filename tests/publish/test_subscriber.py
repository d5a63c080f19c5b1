"""The listening half against a real broker: what comes, what is said while nothing can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgeseg.errors import PublishError
from edgeseg.publish.mqtt.subscriber import ReceivedMessage, Subscriber
from edgeseg.settings import MqttSettings, Secret
from tests.support.broker import Broker, Certificates, nobody_may_subscribe, wait_until
from tests.support.broker import Subscriber as Other


def settings_for(broker: Broker, user: str | None = None, password: str | None = None) -> MqttSettings:
    return MqttSettings(
        host="127.0.0.1",
        port=broker.port,
        tls=broker.tls is not None,
        ca_file=str(broker.tls.ca) if broker.tls else None,
        username=user,
        password=Secret(password) if password else None,
        password_file=None,
        prefix="edgeseg",
    )


def take_until(
    subscriber: Subscriber, condition: Callable[[list[ReceivedMessage]], bool]
) -> list[ReceivedMessage]:
    heard: list[ReceivedMessage] = []

    def done() -> bool:
        heard.extend(subscriber.take(0.1))
        return condition(heard)

    wait_until(done, "the messages")
    return heard


def test_what_was_kept_and_what_is_new(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, Other(broker.port) as publisher:
        publisher.publish("edgeseg/a/status", "online", retain=True)
        with Subscriber(settings_for(broker), ("edgeseg/#",)) as subscriber:
            kept = take_until(subscriber, bool)
            publisher.publish("edgeseg/a/alert", "{}")
            new = take_until(subscriber, bool)
            assert subscriber.trouble is None
    assert kept == [ReceivedMessage("edgeseg/a/status", b"online", retained=True)]
    assert new == [ReceivedMessage("edgeseg/a/alert", b"{}", retained=False)]


def test_back_after_a_restart_of_the_broker(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, Subscriber(settings_for(broker), ("#",)) as subscriber:
        wait_until(lambda: subscriber.trouble is None, "connected")
        broker.kill()
        wait_until(lambda: subscriber.trouble, "trouble")
        broker.start()
        wait_until(lambda: subscriber.trouble is None, "connected again")
        with Other(broker.port) as publisher:
            publisher.publish("edgeseg/a/status", "online")
        assert take_until(subscriber, bool)[0].payload == b"online"


def test_what_nobody_takes_is_bounded_and_counted(tmp_path: Path) -> None:
    with (
        Broker(tmp_path) as broker,
        Other(broker.port) as publisher,
        Subscriber(settings_for(broker), ("edgeseg/#",), most_waiting=3) as subscriber,
    ):
        wait_until(lambda: subscriber.trouble is None, "connected")
        for number in range(5):
            publisher.publish("edgeseg/n", str(number))
        wait_until(lambda: subscriber.dropped == 2, "two dropped")
        assert [heard.payload for heard in subscriber.take(0)] == [b"2", b"3", b"4"]


def test_a_refused_login_says_so(tmp_path: Path) -> None:
    with (
        Broker(tmp_path, users={"viewer": "right"}) as broker,
        Subscriber(settings_for(broker, "viewer", "wrong"), ("edgeseg/#",)) as subscriber,
    ):
        wait_until(lambda: subscriber.refused, "refused")
        assert "user name and password" in str(subscriber.trouble)
        assert "wrong" not in str(subscriber.trouble)


def test_a_refused_subscription_says_so(tmp_path: Path) -> None:
    with (
        Broker(tmp_path, extra=nobody_may_subscribe(tmp_path)) as broker,
        Subscriber(settings_for(broker), ("edgeseg/#",)) as subscriber,
    ):
        wait_until(lambda: subscriber.refused, "refused")
        assert "does not allow to subscribe to edgeseg/# (Not authorized)" in str(subscriber.trouble)


# paho leaves a socket that failed its handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_certificate_is_verified(tmp_path: Path) -> None:
    with Broker(tmp_path, tls=Certificates.make(tmp_path / "tls")) as broker:
        with Subscriber(settings_for(broker), ("#",)) as subscriber:
            wait_until(lambda: subscriber.trouble is None, "connected")
        strangers = MqttSettings("127.0.0.1", broker.port, True, None, None, None, None, "edgeseg")
        with Subscriber(strangers, ("#",)) as subscriber:
            wait_until(lambda: "certificate" in str(subscriber.trouble), "not trusted")


def test_a_host_that_is_none() -> None:
    with (
        pytest.raises(PublishError),
        Subscriber(MqttSettings("a" * 70, 1883, False, None, None, None, None, "edgeseg"), ("#",)),
    ):
        pass
