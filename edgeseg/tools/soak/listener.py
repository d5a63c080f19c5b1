"""Soak subscriber: receives what the daemon publishes, and keeps what the verdict needs."""

from __future__ import annotations

import json
import threading
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edgeseg.clock import Clock


class SoakSubscriber:
    """A subscriber that is back at once after a broker's restart; ``here`` says when.

    alerts: payloads as they came. ages_s: when each known occupancy came (monotonic) and its age when it was
    published. disorder: occupancies whose number did not grow. live: cameras that give results now. enabled:
    the last published state of each camera.
    """

    def __init__(self, port: int, topics: str, clock: Clock) -> None:
        self.here = threading.Event()
        self.alerts: list[dict[str, Any]] = []
        self.ages_s: list[tuple[float, float]] = []
        self.disorder = 0
        self.live: set[str] = set()
        self.enabled: dict[str, bool] = {}
        self._topics = topics
        self._clock = clock
        self._port = port
        self._seqs: dict[tuple[str, str], int] = {}
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.reconnect_delay_set(0.1, 0.2)  # type: ignore[arg-type]
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._message_came

    def __enter__(self) -> SoakSubscriber:
        self._client.connect_async("127.0.0.1", self._port)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: str) -> None:
        """QoS 0."""
        self._client.publish(topic, payload)

    def _connected(self, client: paho.Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if not reason.is_failure:
            client.subscribe(self._topics, 1)

    def _disconnected(self, client: paho.Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.here.clear()

    def _subscribed(self, client: paho.Client, _: Any, mid: int, reasons: Any, properties: Any) -> None:
        self.here.set()

    def _message_came(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        last = message.topic.rpartition("/")[2]
        if last == "alert":
            self.alerts.append(json.loads(message.payload))
        elif last == "occupancy" and not message.retain:
            self._add_occupancy(json.loads(message.payload))
        elif last == "enabled":
            self.enabled[message.topic.split("/")[-2]] = message.payload == b"ON"
        elif last == "status" and message.payload.startswith(b"{"):
            status = json.loads(message.payload)
            (self.live.add if status["state"] == "live" else self.live.discard)(status["camera"])

    def _add_occupancy(self, occupancy: dict[str, Any]) -> None:
        place = f"{occupancy['camera']}/{occupancy['zone']}", occupancy["boot"]
        if occupancy["state"] == "ok":
            # A seq counts frames; what is unknown has none of its own.
            self.disorder += occupancy["seq"] <= self._seqs.get(place, -1)
            self._seqs[place] = occupancy["seq"]
            self.ages_s.append((self._clock.monotonic_s(), occupancy["age_ms"] / 1000))
