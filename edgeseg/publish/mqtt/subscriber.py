"""Hears what nodes publish, for programs that look at them (``edgeseg listen``, ``edgeseg top``).

with Subscriber(settings, ("edgeseg/#",)) as subscriber:
    while not stop.is_set():
        for heard in subscriber.take(0.5):
            print(heard.topic, heard.payload)
        if subscriber.trouble: ...        # why nothing comes, in words; it comes back by itself
"""

from __future__ import annotations

import ssl
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.reasoncodes import ReasonCode

from edgeseg.publish.mqtt.connect_errors import check_host, failure_words, tls_context
from edgeseg.publish.mqtt.paho_connection import loss_words, new_client
from edgeseg.publish.mqtt.sender import UNSUPPORTED_PROTOCOL, Version
from edgeseg.settings import MqttSettings

# A node of 256 zones and 20 classes retains half of it.
MOST_WAITING = 10_000
_KEEPALIVE_S = 15
_RECONNECT_S = (0.5, 5.0)
# A broker that hangs up on MQTT 5 instead of refusing it, and not one that is being restarted.
_SILENT_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """One message. retained: it was kept by the broker from earlier, and is not news."""

    topic: str
    payload: bytes
    retained: bool


class Subscriber:
    """Subscribes at each connect and comes back by itself, in MQTT 5 or else 3.1.1.

    topics: filters. most_waiting: of messages that nobody took the oldest go, and are counted.
    Its credentials never stand in any message. ``take`` belongs to one thread.
    """

    def __init__(
        self, settings: MqttSettings, topics: Sequence[str], *, most_waiting: int = MOST_WAITING
    ) -> None:
        self._settings = settings
        self._topics = tuple(topics)
        self._waiting: deque[ReceivedMessage] = deque(maxlen=most_waiting)
        self._news = threading.Condition()
        self._dropped = 0
        self._trouble: str | None = "connecting"
        self._refused = False
        self._version: Version = "5"
        self._answered = False
        self._silent_attempts = 0
        self._tls: ssl.SSLContext | None = None
        self._client: paho.Client | None = None

    @property
    def trouble(self) -> str | None:
        """Why there is no connection with granted subscriptions now; None while there is one."""
        return self._trouble

    @property
    def refused(self) -> bool:
        """Whether the broker answered no, to the login or to a subscription: waiting will not help."""
        return self._refused

    @property
    def dropped(self) -> int:
        """Messages that nobody took in time."""
        return self._dropped

    def __enter__(self) -> Subscriber:
        """Begins to connect. Raises PublishError for a CA file or a host that cannot be one."""
        if self._settings.tls:
            self._tls = tls_context(self._settings.ca_file)
        check_host(self._settings.host)
        self._connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._disconnect()

    def take(self, timeout_s: float) -> list[ReceivedMessage]:
        """What came since the last call, in order; waits so long for the first of it, or for news of the
        connection. Empty where there was none."""
        if self._silent_attempts >= _SILENT_ATTEMPTS:
            self._change_version()
        with self._news:
            if not self._waiting:
                self._news.wait(timeout_s)
            heard = list(self._waiting)
            self._waiting.clear()
        return heard

    def _change_version(self) -> None:
        self._disconnect()
        self._silent_attempts = 0
        self._version = "3.1.1" if self._version == "5" else "5"
        self._connect()

    def _connect(self) -> None:
        client = new_client(self._settings, "", self._tls, self._version, None, _KEEPALIVE_S)
        first_s, longest_s = _RECONNECT_S
        # It sleeps fractions as well, though its annotation says int.
        client.reconnect_delay_set(first_s, longest_s)  # type: ignore[arg-type]
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_connect_fail = self._unreachable
        client.on_subscribe = self._subscribed
        client.on_message = self._heard
        client.loop_start()
        self._client = client

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()
            client.on_connect = client.on_disconnect = client.on_connect_fail = None
            client.on_subscribe = client.on_message = None

    def _connected(
        self, client: paho.Client, _: Any, flags: object, reason: ReasonCode, properties: object
    ) -> None:
        self._answered = True
        if reason.value == UNSUPPORTED_PROTOCOL and self._version == "5":
            self._silent_attempts = _SILENT_ATTEMPTS
        elif reason.is_failure:
            self._say(f"refused: {reason}; check user name and password", refused=True)
        else:
            self._silent_attempts = 0
            client.subscribe([(topic, 1) for topic in self._topics])

    def _subscribed(
        self, client: paho.Client, _: Any, mid: int, reasons: list[ReasonCode], properties: object
    ) -> None:
        refusals = [
            f"{topic} ({reason})"
            for topic, reason in zip(self._topics, reasons, strict=False)
            if reason.is_failure
        ]
        if refusals:
            words = f"the broker's access list does not allow to subscribe to {', '.join(refusals)}"
            self._say(words, refused=True)
        else:
            self._say(None)

    def _disconnected(
        self, client: paho.Client, _: Any, flags: paho.DisconnectFlags, reason: ReasonCode, properties: object
    ) -> None:
        if not self._answered:
            self._silent_attempts += 1
        if not self._refused:
            self._say(loss_words(flags, reason))
        self._answered = False

    def _unreachable(self, client: paho.Client, _: Any) -> None:
        self._say(failure_words(tls=self._tls is not None))

    def _say(self, trouble: str | None, *, refused: bool = False) -> None:
        with self._news:
            self._trouble, self._refused = trouble, refused
            self._news.notify_all()

    def _heard(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        with self._news:
            self._dropped += len(self._waiting) == self._waiting.maxlen
            self._waiting.append(ReceivedMessage(message.topic, bytes(message.payload), message.retain))
            self._news.notify_all()
