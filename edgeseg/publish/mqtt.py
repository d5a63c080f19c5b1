"""Events over MQTT 5, or 3.1.1 where the broker knows no better. The only file that imports paho.

Two threads. paho's own does the network; its callbacks only leave a note. The sender reads the notes and
decides what goes out, so that nothing here needs a lock around the network, and ``send`` touches neither.
"""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import ssl
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
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
from edgeseg.publish.base import Command
from edgeseg.publish.command import RateLimit, parse
from edgeseg.publish.delivery import Delivery, DeliveryCounts, Outgoing
from edgeseg.publish.outbox import Outbox, OutboxCounts
from edgeseg.publish.quiet import QuietLog
from edgeseg.publish.topics import Topics
from edgeseg.settings import MqttSettings

log = logging.getLogger(__name__)

TICK_S = 0.5
FAREWELL_S = 1.0
# A command is a few bytes; without a bound one of 256 MB would be taken into memory.
LARGEST_COMMAND_BYTES = 4096
UNSUPPORTED_PROTOCOL = 0x84
SESSION_TAKEN_OVER = 0x8E
# Some old brokers misread an MQTT 5 CONNECT and hang or hang up instead of refusing it (amqtt does, when it
# comes with a will). So does a port forwarder whose broker is still starting: only a repetition tells.
SILENT_ATTEMPTS = 3


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
        self._broker = f"{settings.host}:{settings.port}"
        self._quiet = QuietLog(log, clock)
        self._troubles = QuietLog(log, clock, every_s=60.0)
        self._delivery = Delivery(outbox, self._quiet)
        self._command_limit = RateLimit(burst=10, per_s=2.0)
        self._topics_lock = threading.Lock()
        self._notes: deque[Callable[[], None]] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._tls: ssl.SSLContext | None = None
        self._client: paho.Client | None = None
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._attempted = False
        self._answered = False
        self._silent_attempts = 0
        self._connected = False

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the current connection."""
        return self._connected

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
        if self._thread is None or self._closing.is_set():
            self._quiet.warning("closed", f"mqtt: not open; {type(event).__name__} of a late sender is lost")
            return
        if isinstance(event, NodeStats):
            # Only the publisher knows its outbox.
            counts = self._outbox.counts
            event = replace(event, outbox_waiting=counts.waiting, outbox_dropped=counts.dropped)
        with self._topics_lock:
            messages = self._topics.messages(event)
            if isinstance(event, Alert):
                for message in messages:
                    self._outbox.append(event.id, event.seq, message.topic, message.payload)
            else:
                self._delivery.remember(messages)
        self._wake.set()

    def close(self) -> None:
        if self._thread is None:
            return
        self._closing.set()
        self._wake.set()
        # Beyond the drain: the farewell, and a connect or a name look-up that cannot be interrupted.
        self._thread.join(self._drain_s + FAREWELL_S + 8.0)
        if self._thread.is_alive():
            log.warning("mqtt: %s: the network does not let go; leaving it behind", self._broker)
        self._thread = None

    def __enter__(self) -> MqttPublisher:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The sender's thread.

    def _run(self) -> None:
        try:
            client = self._client = self._new_client()
            client.loop_start()
            while not self._closing.is_set():
                self._turn(client)
                if self._client is not client:
                    client.disconnect()
                    client.loop_stop()
                    client = self._client
                # Does nothing while paho's thread runs, and brings it back should a packet have killed it.
                client.loop_start()
            self._leave(client)
        finally:
            self._outbox.close()

    def _turn(self, client: paho.Client) -> None:
        self._wake.wait(TICK_S)
        self._wake.clear()
        while self._notes:
            self._notes.popleft()()
        while self._connected and (outgoing := self._delivery.next(self._clock.monotonic_s())):
            if not self._publish(client, outgoing):
                break

    def _publish(self, client: paho.Client, outgoing: Outgoing) -> bool:
        """False where the connection is gone: the next one owes everything again."""
        message = outgoing.message
        info = client.publish(message.topic, message.payload, message.qos, message.retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return False
        self._delivery.sent(info.mid, outgoing)
        return True

    def _leave(self, client: paho.Client) -> None:
        self._wait_until_settled(client, self._drain_s)
        if self._connected:
            self._publish(client, Outgoing(self._topics.status("offline"), None))
            self._wait_until_settled(client, FAREWELL_S)
        settled = self._delivery.settled
        connection = client.socket()
        client.disconnect()
        if connection is not None and not settled:
            # A frozen broker never takes the DISCONNECT, and paho would wait for that. The broker sends
            # the last will when it wakes up.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
        client.loop_stop()
        self._connected = False

    def _wait_until_settled(self, client: paho.Client, limit_s: float) -> None:
        until_s = self._clock.monotonic_s() + limit_s
        self._wake.set()
        while self._clock.monotonic_s() < until_s:
            self._turn(client)
            if self._attempted and (not self._connected or self._delivery.settled):
                return

    def _note(self, client: paho.Client, what: Callable[[], None]) -> None:
        self._notes.append(partial(self._read_note, client, what))
        self._wake.set()

    def _read_note(self, client: paho.Client, what: Callable[[], None]) -> None:
        if client is self._client:
            self._attempted = True
            what()

    def _note_connected(self, client: paho.Client, limits: Properties | None) -> None:
        self._connected = True
        self._answered = True
        self._troubles.forget("connect")
        version = "5" if self._protocol == MQTTProtocolVersion.MQTTv5 else "3.1.1"
        log.info("mqtt: connected to %s (MQTT %s)", self._broker, version)
        if self._protocol == MQTTProtocolVersion.MQTTv5:
            self._silent_attempts = 0
        self._delivery.connected(
            self._topics.status("online"),
            window=getattr(limits, "ReceiveMaximum", None),
            largest_bytes=getattr(limits, "MaximumPacketSize", None),
        )
        if self._on_command is not None:
            topic = f"{self._topics.base}/+/set/+"
            if self._protocol == MQTTProtocolVersion.MQTTv5:
                client.subscribe(topic, options=SubscribeOptions(qos=1, retainHandling=2))
            else:
                client.subscribe(topic, qos=1)

    def _note_refused(self, code: int, words: str) -> None:
        self._answered = True
        if code == UNSUPPORTED_PROTOCOL and self._protocol == MQTTProtocolVersion.MQTTv5:
            self._silent_attempts = 0
            self._fall_back("it refuses MQTT 5")
            return
        self._troubles.warning(
            "connect",
            f"mqtt: {self._broker} refuses the connection: {words}; check username, password and the"
            " broker's own log. Retrying for ever",
        )

    def _note_disconnected(self, code: int, words: str) -> None:
        was_connected, self._connected = self._connected, False
        answered, self._answered = self._answered, False
        if was_connected and code == SESSION_TAKEN_OVER:
            self._troubles.warning(
                "connect",
                f"mqtt: {self._broker}: another client took over the name {_client_id(self._topics)}; is a"
                " second edgeseg running as the same node?",
            )
        elif was_connected:
            log.warning("mqtt: lost %s: %s; reconnecting", self._broker, words)
            self._offer_newest_again()
        elif not answered:
            self._troubles.warning(
                "connect", f"mqtt: {self._broker} does not answer the connection request: {words}; retrying"
            )
            self._count_silent_attempt()

    def _note_unreachable(self, words: str) -> None:
        self._troubles.warning("connect", f"mqtt: cannot reach {self._broker}: {words}; retrying for ever")

    def _note_acknowledged(self, mid: int, code: int, words: str) -> None:
        refused = self._delivery.acknowledged(mid, code, self._clock.monotonic_s())
        if refused is not None:
            kept = "kept, to be retried" if refused.row is not None else "not published"
            self._quiet.warning(
                "refused",
                f"mqtt: {self._broker} refuses {refused.message.topic}: {words}; {kept}. Check its ACL",
            )

    def _count_silent_attempt(self) -> None:
        self._silent_attempts += 1
        if self._protocol != MQTTProtocolVersion.MQTTv5:
            self._silent_attempts = 0
            self._use(MQTTProtocolVersion.MQTTv5)
        elif self._silent_attempts >= SILENT_ATTEMPTS:
            self._fall_back("it does not answer MQTT 5")

    def _offer_newest_again(self) -> None:
        # A guess may have been wrong: the broker was frozen or starting. One silent attempt returns to it.
        if self._silent_attempts and self._protocol != MQTTProtocolVersion.MQTTv5:
            self._silent_attempts = SILENT_ATTEMPTS - 1
            self._use(MQTTProtocolVersion.MQTTv5)

    def _fall_back(self, why: str) -> None:
        log.warning(
            "mqtt: %s: %s; trying MQTT 3.1.1, which cannot tell when a message is refused", self._broker, why
        )
        self._use(MQTTProtocolVersion.MQTTv311)

    def _use(self, protocol: MQTTProtocolVersion) -> None:
        self._protocol = protocol
        self._client = self._new_client()

    # paho's thread.

    def _new_client(self) -> paho.Client:
        newest = self._protocol == MQTTProtocolVersion.MQTTv5
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            _client_id(self._topics),
            protocol=self._protocol,
            clean_session=None if newest else True,
        )
        # An exception in a callback is logged; it must not end the network thread.
        client.suppress_exceptions = True
        client.on_log = self._on_log
        # Delivery has its own window, kept across connections; paho's would only queue behind it.
        client.max_inflight_messages_set(0)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        if self._settings.username is not None:
            password = self._settings.password
            client.username_pw_set(self._settings.username, password.reveal() if password else None)
        will = self._topics.status("offline")
        client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_connect_fail = self._on_connect_fail
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        self._set_pause(client)
        properties = None
        if newest:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = LARGEST_COMMAND_BYTES
        client.connect_async(
            self._settings.host, self._settings.port, self._keepalive_s, properties=properties
        )
        return client

    def _set_pause(self, client: paho.Client) -> None:
        # paho doubles its pause up to the longest; drawing both anew each time is the jitter. It sleeps
        # fractions as well, though its annotation says int.
        first_s, longest_s = self._reconnect_s
        client.reconnect_delay_set(
            random.uniform(0.5, 1.5) * first_s,  # type: ignore[arg-type]
            random.uniform(0.5, 1.0) * longest_s + 0.5 * first_s,  # type: ignore[arg-type]
        )

    def _on_log(self, client: paho.Client, _: Any, level: int, text: str) -> None:
        # Of what paho calls errors only this one is not told better elsewhere.
        if level == LogLevel.MQTT_LOG_ERR and text.startswith("Caught exception"):
            self._quiet.warning("callback", f"mqtt: {text}")
        else:
            log.debug("paho: %s", text)

    def _on_connect(
        self, client: paho.Client, _: Any, flags: object, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._note(client, partial(self._note_refused, reason.value, str(reason)))
            return
        # paho would resend what it holds; the outbox does that, in order and marked as replayed.
        client.drop_out_messages()
        self._note(client, partial(self._note_connected, client, properties))

    def _on_disconnect(
        self, client: paho.Client, _: Any, flags: object, reason: ReasonCode, properties: object
    ) -> None:
        self._set_pause(client)
        self._note(client, partial(self._note_disconnected, reason.value, str(reason)))

    def _on_connect_fail(self, client: paho.Client, _: Any) -> None:
        self._set_pause(client)
        # paho calls this while it handles the exception, and does not pass it on.
        error = sys.exc_info()[1]
        if isinstance(error, ssl.SSLCertVerificationError):
            words = f"its certificate is not accepted: {error.verify_message}"
        else:
            words = getattr(error, "strerror", None) or str(error)
        self._note(client, partial(self._note_unreachable, words))

    def _on_publish(
        self, client: paho.Client, _: Any, mid: int, reason: ReasonCode, properties: object
    ) -> None:
        self._note(client, partial(self._note_acknowledged, mid, reason.value, str(reason)))

    def _on_subscribe(
        self, client: paho.Client, _: Any, mid: int, reasons: list[ReasonCode], properties: object
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self._troubles.warning(
                "subscribe", f"mqtt: {self._broker} refuses the subscription to commands: {reasons[0]}"
            )

    def _on_message(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        # A retained command would be obeyed again at each connect.
        if self._on_command is None or message.retain:
            return
        if not self._command_limit.allow(self._clock.monotonic_s()):
            self._quiet.warning("commands", "mqtt: too many commands; ignored")
            return
        try:
            self._on_command(parse(self._topics.base, message.topic, bytes(message.payload)))
        except (ValueError, EdgesegError) as error:
            self._quiet.warning("command", f"mqtt: command refused: {error}")


def _client_id(topics: Topics) -> str:
    # The same at every start: the broker then ends a half-open session of ours at once, instead of sending
    # its last will after we said we are online.
    return topics.base.replace("/", "-")


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
