"""Events over MQTT 5, or 3.1.1 where the broker knows no better. The only file that imports paho."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edgeseg.clock import Clock
from edgeseg.errors import EdgesegError, PublishError
from edgeseg.frames import Alert, Event, NodeStats
from edgeseg.publish import sender
from edgeseg.publish.base import Command, Message
from edgeseg.publish.command import RateLimit, parse
from edgeseg.publish.delivery import Delivery, DeliveryCounts
from edgeseg.publish.outbox import Outbox, OutboxCounts
from edgeseg.publish.quiet import QuietLog
from edgeseg.publish.sender import Connection, Note, Sender, Version
from edgeseg.publish.topics import Topics
from edgeseg.settings import MqttSettings

log = logging.getLogger(__name__)

# Without a bound, messages of 256 MB would be taken into memory. Commands are a few bytes, but the pictures
# that an earlier run left retained come in as well.
LARGEST_INCOMING_BYTES = 8 * 1024 * 1024

_ENDED = {
    "Unspecified error": "the broker closed the connection",
    "Keep alive timeout": "the broker no longer answers",
}
_PAHO_VERSION = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}


class MqttPublisher:
    """Publishes to one broker, whatever that broker does: nothing it does blocks or ends the caller.

    outbox: opened and closed by this publisher.
    clock: must run by itself (``SystemClock``).
    on_command: called with validated commands on paho's thread: must return at once, and knows which
        cameras there are.
    keepalive_s: a frozen broker is noticed after one to two of these.
    reconnect_s: the first and the longest pause between attempts, before jitter.
    drain_s: how long ``close`` waits for what is still owed, if there is a connection or the first attempt
        at one is under way.
    """

    def __init__(
        self,
        settings: MqttSettings,
        topics: Topics,
        outbox: Outbox,
        clock: Clock,
        *,
        on_command: Callable[[Command], None] | None = None,
        keepalive_s: int = 15,
        reconnect_s: tuple[float, float] = (1.0, 30.0),
        drain_s: float = 2.0,
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._outbox = outbox
        self._clock = clock
        self._on_command = on_command
        self._keepalive_s = keepalive_s
        self._reconnect_s = reconnect_s
        self._drain_s = drain_s
        self._quiet = QuietLog(log, clock)
        self._delivery = Delivery(outbox, self._quiet)
        self._command_limit = RateLimit(burst=10, per_s=2.0)
        self._topics_lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        self._thread: threading.Thread | None = None
        # The same name at every start: the broker then ends a half-open session of ours at once, instead
        # of sending its last will after we said we are online.
        self._client_id = topics.base.replace("/", "-")
        self._sender = Sender(
            self._connect,
            self._delivery,
            clock,
            broker=f"{settings.host}:{settings.port}",
            client_id=self._client_id,
            tls=settings.tls,
            online=topics.status("online"),
            offline=topics.status("offline"),
            drain_s=drain_s,
        )

    @property
    def gone(self) -> bool:
        """Never: subscribers come and go."""
        return False

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the current connection."""
        return self._sender.connected

    @property
    def counts(self) -> DeliveryCounts:
        return self._delivery.counts

    @property
    def outbox_counts(self) -> OutboxCounts:
        return self._outbox.counts

    def start(self) -> None:
        """Raises PublishError where waiting cannot help: a CA file that is none, a host that cannot be
        one, an outbox of a newer edgeseg. An absent broker is no error."""
        if self._settings.tls:
            self._tls = _tls_context(self._settings.ca_file)
        _check_host(self._settings.host)
        self._outbox.open()
        self._thread = threading.Thread(target=self._run, name="mqtt-sender", daemon=True)
        self._thread.start()

    def send(self, event: Event) -> None:
        """An alert is on disk when this returns; everything else is in memory. Never waits for the
        network. Raises ValueError for names that cannot be topic levels."""
        if self._thread is None:
            self._quiet.warning("closed", f"mqtt: not open; {type(event).__name__} of a late sender is lost")
            return
        if isinstance(event, NodeStats):
            # Only the publisher knows its outbox.
            event = self._counted(event)
        with self._topics_lock:
            messages = self._topics.messages(event)
            if isinstance(event, Alert):
                for message in messages:
                    self._outbox.append(event.id, event.seq, message.topic, message.payload)
            else:
                self._delivery.remember(messages)
        self._sender.wake()

    def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._sender.leave()
        thread.join(self._drain_s + sender.LEAVE_S)
        if thread.is_alive():
            log.warning("mqtt: %s: the network does not let go; leaving it behind", self._settings.host)

    def __enter__(self) -> MqttPublisher:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _counted(self, stats: NodeStats) -> NodeStats:
        box, delivery = self._outbox.counts, self._delivery.counts
        return replace(
            stats,
            outbox_waiting=box.waiting,
            outbox_dropped=box.dropped,
            outbox_expired=box.expired,
            outbox_overflowed=box.overflowed,
            outbox_rejected=box.rejected,
            outbox_lost=box.lost,
            alerts_delivered=delivery.delivered,
            alerts_unmatched=delivery.unmatched,
            messages_refused=delivery.refused,
            messages_oversized=delivery.oversized,
        )

    def _run(self) -> None:
        try:
            self._sender.run()
        finally:
            self._outbox.close()

    def _connect(self, version: Version, note: Callable[[Connection, Note], None]) -> Connection:
        return PahoConnection(
            self._client(version),
            note,
            commands=None if self._on_command is None else f"{self._topics.base}/+/set/+",
            on_command=self._obey,
            leftover_filters=self._topics.leftover_filters,
            leftover=self._topics.leftover,
            reconnect_s=self._reconnect_s,
            quiet=self._quiet,
            tls=self._tls is not None,
            clock=self._clock,
        )

    def _client(self, version: Version) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            self._client_id,
            protocol=_PAHO_VERSION[version],
            clean_session=None if version == "5" else True,
        )
        # An exception in a callback is logged; it must not end the network thread.
        client.suppress_exceptions = True
        # Delivery has its own window, kept across connections; paho's would only queue behind it.
        client.max_inflight_messages_set(0)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        if self._settings.username is not None:
            password = self._settings.password
            client.username_pw_set(self._settings.username, password.reveal() if password else None)
        will = self._topics.status("offline")
        client.will_set(will.topic, will.payload, will.qos, will.retain)
        properties = None
        if version == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = LARGEST_INCOMING_BYTES
        client.connect_async(
            self._settings.host, self._settings.port, self._keepalive_s, properties=properties
        )
        return client

    def _obey(self, message: paho.MQTTMessage) -> None:
        # A retained command would be obeyed again at each connect.
        if self._on_command is None or message.retain:
            return
        if not self._command_limit.allow(self._clock.monotonic_s()):
            self._quiet.warning("commands", "mqtt: too many commands; ignored")
            return
        try:
            self._on_command(parse(self._topics.base, message.topic, bytes(message.payload)))
        except (ValueError, EdgesegError) as error:
            kind = f"command {message.topic} {type(error).__name__}"
            self._quiet.warning(kind, f"mqtt: command refused: {error}")


class PahoConnection:
    """paho's client and network thread behind the seam of ``Sender``. Its callbacks only leave notes.

    commands: topic filter to subscribe to at each connect, None for none; on_command takes what comes.
    leftover_filters: what to look back at. leftover: gives the messages that take back such a topic.
    """

    def __init__(
        self,
        client: paho.Client,
        note: Callable[[Connection, Note], None],
        *,
        commands: str | None,
        on_command: Callable[[paho.MQTTMessage], None],
        leftover_filters: tuple[str, ...],
        leftover: Callable[[str, bytes], list[Message]],
        reconnect_s: tuple[float, float],
        quiet: QuietLog,
        tls: bool,
        clock: Clock,
    ) -> None:
        self._client = client
        self._note = note
        self._commands = commands
        self._commands_mid: int | None = None
        self._leftover_filters = leftover_filters
        self._leftover = leftover
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
        if commands is not None:
            client.message_callback_add(commands, lambda client, userdata, message: on_command(message))
        for place in leftover_filters:
            client.message_callback_add(place, self._found)
        self._draw_pauses()

    def keep_running(self) -> None:
        # Does nothing while the thread runs.
        self._client.loop_start()

    def publish(self, message: Message) -> int | None:
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain)
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def look_back(self) -> None:
        if self._client.protocol == MQTTProtocolVersion.MQTTv5:
            options = SubscribeOptions(qos=0, noLocal=True)
            self._client.subscribe([(place, options) for place in self._leftover_filters])
        else:
            self._client.subscribe([(place, 0) for place in self._leftover_filters])

    def stop_looking_back(self) -> None:
        self._client.unsubscribe(list(self._leftover_filters))

    def close(self, *, abruptly: bool) -> None:
        line = self._client.socket()
        self._client.disconnect()
        if abruptly and line is not None:
            # paho's thread would wait until the DISCONNECT is written.
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
        self._client.loop_stop()

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

    def _disconnected(
        self, client: paho.Client, _: Any, flags: paho.DisconnectFlags, reason: ReasonCode, properties: object
    ) -> None:
        words = str(reason)
        self._count_early_loss()
        self._draw_pauses(
            rival=reason.value == sender.SESSION_TAKEN_OVER or self._early_losses >= sender.RIVAL_LOSSES
        )
        if not flags.is_disconnect_packet_from_server:
            # These reasons are paho's own: MQTT knows none for a connection that just ends.
            words = _ENDED.get(words, words)
        self._note(self, sender.Lost(reason.value, words, self._early_losses))

    def _unreachable(self, client: paho.Client, _: Any) -> None:
        self._draw_pauses()
        # paho calls this while it handles the exception, and does not pass it on.
        error = sys.exc_info()[1]
        words = getattr(error, "strerror", None) or str(error)
        if isinstance(error, ssl.SSLCertVerificationError):
            words = f"its certificate is not accepted: {error.verify_message}"
        elif self._tls and _in_handshake(error):
            words = (
                f"the TLS handshake fails: {words}; the broker may not speak TLS on this port: use mqtt://,"
                " or its TLS port (usually 8883)"
            )
        self._note(self, sender.Unreachable(words))

    def _acknowledged(
        self, client: paho.Client, _: Any, mid: int, reason: ReasonCode, properties: object
    ) -> None:
        self._note(self, sender.Acknowledged(mid, reason.value, str(reason)))

    def _subscribed(
        self, client: paho.Client, _: Any, mid: int, reasons: list[ReasonCode], properties: object
    ) -> None:
        # Who may not look back has nothing to take back: no warning.
        if mid == self._commands_mid and any(reason.is_failure for reason in reasons):
            self._quiet.warning("subscribe", f"mqtt: the subscription to commands is refused: {reasons[0]}")

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


def _in_handshake(error: BaseException | None) -> bool:
    """Whether the port took the connection and then talked no TLS. An alert is TLS."""
    if isinstance(error, ssl.SSLError):
        return "ALERT" not in (error.reason or "")
    return isinstance(error, ConnectionResetError) or "handshake" in str(error)


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise PublishError(
            f"mqtt.ca_file: {ca_file}: {error.strerror or error}; expected a PEM file with the certificate"
            " of the authority that signed the broker's"
        ) from error


def _check_host(host: str) -> None:
    # paho's thread would die of the UnicodeError that socket raises for such a name.
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise PublishError(f"mqtt.url: {host!r} cannot be a host name: {error}") from error
