"""paho behind the sender's seam: MQTT 5, or 3.1.1 where the broker knows no better."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import ssl
from collections.abc import Callable
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edgeseg.clock import Clock
from edgeseg.publish.base import Message
from edgeseg.publish.mqtt import sender
from edgeseg.publish.mqtt.connect_errors import failure_words
from edgeseg.publish.mqtt.sender import Connection, Note, Version
from edgeseg.settings import MqttSettings
from edgeseg.system.rate_limited_log import RateLimitedLog

log = logging.getLogger(__name__)

# Without a bound, messages of 256 MB would be taken into memory. Commands are a few bytes, but the pictures
# that an earlier run left retained come in as well.
LARGEST_INCOMING_BYTES = 8 * 1024 * 1024

# Home Assistant's default (https://www.home-assistant.io/integrations/mqtt/#birth-and-last-will-messages).
BORN = b"online"

_ENDED = {
    "Unspecified error": "the broker closed the connection",
    "Keep alive timeout": "the broker no longer answers",
}
_PAHO_VERSION = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}


def new_client(
    settings: MqttSettings,
    client_id: str,
    tls: ssl.SSLContext | None,
    version: Version,
    will: Message | None,
    keepalive_s: int,
) -> paho.Client:
    """A client that knows where to connect and what its last will is, and has not begun to."""
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id,
        protocol=_PAHO_VERSION[version],
        clean_session=None if version == "5" else True,
    )
    # An exception in a callback is logged; it must not end the network thread.
    client.suppress_exceptions = True
    # Delivery has its own window, kept across connections; paho's would only queue behind it.
    client.max_inflight_messages_set(0)
    if tls is not None:
        client.tls_set_context(tls)
    if settings.username is not None:
        client.username_pw_set(settings.username, settings.password.reveal() if settings.password else None)
    if will is not None:
        client.will_set(will.topic, will.payload, will.qos, will.retain)
    properties = None
    if version == "5":
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = LARGEST_INCOMING_BYTES
    client.connect_async(settings.host, settings.port, keepalive_s, properties=properties)
    return client


class PahoConnection:
    """paho's client and network thread behind the seam of ``Sender``. Its callbacks only leave notes.

    commands: topic filter to subscribe to at each connect, None for none; on_command takes topic and
    payload of what comes.
    leftover_filters: what to look back at. leftover: gives the messages that take back such a topic.
    birth_topic: where Home Assistant says that it has started, None where nobody needs to know; on_birth is
    called when it does.
    """

    def __init__(
        self,
        client: paho.Client,
        note: Callable[[Connection, Note], None],
        *,
        commands: str | None,
        on_command: Callable[[str, bytes], None],
        leftover_filters: tuple[str, ...],
        leftover: Callable[[str, bytes], list[Message]],
        reconnect_s: tuple[float, float],
        quiet: RateLimitedLog,
        tls: bool,
        clock: Clock,
        birth_topic: Callable[[], str | None] = lambda: None,
        on_birth: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._note = note
        self._commands = commands
        self._commands_mid: int | None = None
        self._leftover_filters = leftover_filters
        self._leftover = leftover
        self._birth_topic = birth_topic
        self._on_birth = on_birth
        self._birth_heard: str | None = None
        self._reconnect_s = reconnect_s
        self._quiet = quiet
        self._tls = tls
        self._clock = clock
        self._accepted_s: float | None = None
        self._early_losses = 0
        client.on_log = self._log
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_connect_fail = self._unreachable
        client.on_publish = self._acknowledged
        client.on_subscribe = self._subscribed
        self._on_command = on_command
        if commands is not None:
            client.message_callback_add(commands, self._commanded)
        for place in leftover_filters:
            client.message_callback_add(place, self._found)
        self._draw_pauses()

    def keep_running(self) -> None:
        # Does nothing while the thread runs.
        self._client.loop_start()

    def publish(self, message: Message) -> int | None:
        properties = None
        if message.left_s is not None and self._client.protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = message.left_s
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain, properties)
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def look_back(self) -> None:
        if self._client.protocol == MQTTProtocolVersion.MQTTv5:
            options = SubscribeOptions(qos=0, noLocal=True)
            self._client.subscribe([(place, options) for place in self._leftover_filters])
        else:
            self._client.subscribe([(place, 0) for place in self._leftover_filters])

    def stop_looking_back(self) -> None:
        self._client.unsubscribe(list(self._leftover_filters))

    def hear_births(self) -> None:
        """Subscribe to where births are told now. Called at each connect, and by whoever changes that."""
        before, self._birth_heard = self._birth_heard, self._birth_topic()
        if before is not None and before != self._birth_heard:
            self._client.unsubscribe(before)
            self._client.message_callback_remove(before)
        if self._birth_heard is not None:
            self._client.message_callback_add(self._birth_heard, self._born)
            self._client.subscribe(self._birth_heard, 0)

    def close(self, *, abruptly: bool) -> None:
        line = self._client.socket()
        self._client.disconnect()
        if abruptly and line is not None:
            # paho's thread would wait until the DISCONNECT is written.
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
        self._client.loop_stop()
        self._forget_callbacks()

    def _forget_callbacks(self) -> None:
        # They make a circle with the client, which would keep two sockets until the garbage collector comes:
        # many of them, where a broker refuses for long and the versions are tried in turn.
        client = self._client
        client.on_log = client.on_connect = client.on_disconnect = client.on_connect_fail = None
        client.on_publish = client.on_subscribe = None
        others = [place for place in (self._commands, self._birth_heard) if place is not None]
        for place in (*self._leftover_filters, *others):
            client.message_callback_remove(place)

    def _count_early_loss(self) -> None:
        accepted_s, self._accepted_s = self._accepted_s, None
        if accepted_s is not None:
            # Longer than the longest pause of a rival that is an edgeseg, too.
            early = self._clock.monotonic_s() - accepted_s < 2 * self._reconnect_s[1]
            self._early_losses = self._early_losses + 1 if early else 0

    def _draw_pauses(self, *, rival: bool = False) -> None:
        # paho doubles its pause up to the longest; drawing both anew each time is the jitter. It sleeps
        # fractions as well, though its annotation says int.
        first_s, longest_s = self._reconnect_s
        longest_s = random.uniform(0.5, 1.0) * longest_s + 0.5 * first_s
        # Two clients of one id that come back at once would throw each other off for ever.
        self._client.reconnect_delay_set(
            longest_s if rival else random.uniform(0.5, 1.5) * first_s,  # type: ignore[arg-type]
            longest_s,  # type: ignore[arg-type]
        )

    def _connected(
        self, client: paho.Client, _: Any, flags: object, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._note(self, sender.Refused(reason.value, str(reason)))
            return
        self._accepted_s = self._clock.monotonic_s()
        # paho would resend what it holds; the outbox does that, in order and marked as replayed.
        client.drop_out_messages()
        self._note(
            self,
            sender.Connected(
                window=getattr(properties, "ReceiveMaximum", None),
                largest_bytes=getattr(properties, "MaximumPacketSize", None),
            ),
        )
        if self._commands is not None:
            if client.protocol == MQTTProtocolVersion.MQTTv5:
                _, self._commands_mid = client.subscribe(
                    self._commands, options=SubscribeOptions(qos=1, retainHandling=2)
                )
            else:
                _, self._commands_mid = client.subscribe(self._commands, qos=1)
        self.hear_births()

    def _disconnected(
        self, client: paho.Client, _: Any, flags: paho.DisconnectFlags, reason: ReasonCode, properties: object
    ) -> None:
        self._count_early_loss()
        self._draw_pauses(
            rival=reason.value == sender.SESSION_TAKEN_OVER or self._early_losses >= sender.RIVAL_LOSSES
        )
        self._note(self, sender.Lost(reason.value, loss_words(flags, reason), self._early_losses))

    def _unreachable(self, client: paho.Client, _: Any) -> None:
        self._draw_pauses()
        self._note(self, sender.Unreachable(failure_words(tls=self._tls)))

    def _acknowledged(
        self, client: paho.Client, _: Any, mid: int, reason: ReasonCode, properties: object
    ) -> None:
        self._note(self, sender.Acknowledged(mid, reason.value, str(reason)))

    def _subscribed(
        self, client: paho.Client, _: Any, mid: int, reasons: list[ReasonCode], properties: object
    ) -> None:
        # Who may not look back has nothing to take back: no word of it.
        if mid == self._commands_mid and reasons:
            self._note(self, sender.Subscribed(reasons[0].value, str(reasons[0])))

    def _commanded(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        # A retained command would be obeyed again at each connect.
        if not message.retain:
            self._on_command(message.topic, bytes(message.payload))

    def _born(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        # A retained one is old: at a connect everything is sent anyway.
        if not message.retain and message.payload == BORN:
            self._on_birth()

    def _found(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        # Not flagged, it was published just now: by ourselves, where MQTT 3.1.1 knows no noLocal.
        if message.retain and message.payload:
            messages = self._leftover(message.topic, bytes(message.payload))
            if messages:
                self._note(self, sender.Leftover(tuple(messages)))

    def _log(self, client: paho.Client, _: Any, level: int, text: str) -> None:
        # Of what paho calls errors only this one is not told better elsewhere.
        if level == LogLevel.MQTT_LOG_ERR and text.startswith("Caught exception"):
            self._quiet.warning("callback", f"mqtt: {text}")
        else:
            log.debug("paho: %s", text)


def loss_words(flags: paho.DisconnectFlags, reason: ReasonCode) -> str:
    """Why a connection ended."""
    words = str(reason)
    # Without a packet the reason is paho's own: MQTT knows none for a connection that just ends.
    return words if flags.is_disconnect_packet_from_server else _ENDED.get(words, words)
