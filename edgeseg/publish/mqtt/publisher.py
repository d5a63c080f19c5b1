"""Events over MQTT: state remembered, alerts through the outbox, commands taken."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import TracebackType

from edgeseg.clock import Clock
from edgeseg.errors import EdgesegError
from edgeseg.events import Alert, Event, NodeStats
from edgeseg.publish.base import Command, Message
from edgeseg.publish.homeassistant.discovery import Discovery, filters
from edgeseg.publish.homeassistant.entities import Json
from edgeseg.publish.mqtt.commands import RateLimit, parse
from edgeseg.publish.mqtt.connect_errors import check_host, tls_context
from edgeseg.publish.mqtt.delivery import Delivery, DeliveryCounts
from edgeseg.publish.mqtt.outbox import Outbox, OutboxCounts
from edgeseg.publish.mqtt.paho_connection import PahoConnection, new_client
from edgeseg.publish.mqtt.sender import LEAVE_S, Connection, Note, Sender, Version
from edgeseg.publish.topics import Topics
from edgeseg.settings import MqttSettings
from edgeseg.system.rate_limited_log import RateLimitedLog

log = logging.getLogger(__name__)


class MqttPublisher:
    """Publishes to one broker, whatever that broker does: nothing it does blocks or ends the caller.

    outbox: opened and closed by this publisher, a database that it shares stays open.
    clock: must run by itself (``SystemClock``).
    discovery_prefixes: below which this node may have announced devices to Home Assistant before.
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
        discovery_prefixes: Collection[str] = (),
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
        self._quiet = RateLimitedLog(log, clock)
        self._delivery = Delivery(outbox, self._quiet)
        self._command_limit = RateLimit(burst=10, per_s=2.0)
        self._topics_lock = threading.Lock()
        self._discovery = Discovery()
        self._birth_topic: str | None = None
        self._leftover_filters = (
            *topics.leftover_filters,
            *(one for prefix in discovery_prefixes for one in filters(prefix, topics.base)),
        )
        self._connection: PahoConnection | None = None
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
    def base(self) -> str:
        """``<prefix>/<node>``: what its topics begin with."""
        return self._topics.base

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the current connection."""
        return self._sender.connected

    @property
    def counts(self) -> DeliveryCounts:
        return self._delivery.counts

    @property
    def turns(self) -> int:
        """Grows as long as the sender's thread is well."""
        return self._sender.turns

    @property
    def outbox_counts(self) -> OutboxCounts:
        return self._outbox.counts

    def start(self) -> None:
        """Raises PublishError where waiting cannot help: a CA file that is none, a host that cannot be
        one, an outbox of a newer edgeseg. An absent broker is no error."""
        if self._settings.tls:
            self._tls = tls_context(self._settings.ca_file)
        check_host(self._settings.host)
        self._outbox.open()
        self._thread = threading.Thread(target=self._run, name="mqtt-sender", daemon=True)
        self._thread.start()

    def send(self, event: Event) -> None:
        """An alert is on disk when this returns (or when what the caller stores together is); everything
        else is in memory. Never waits for the network. Raises ValueError for names that cannot be topic
        levels."""
        if self._thread is None:
            self._quiet.warning("closed", f"mqtt: not open; {type(event).__name__} of a late sender is lost")
            return
        if isinstance(event, NodeStats):
            # Only the publisher knows its outbox.
            event = self.counted(event)
        with self._topics_lock:
            messages = self._topics.messages(event)
            if isinstance(event, Alert):
                for message in messages:
                    self._outbox.append(
                        event.id, event.seq, message.topic, message.payload, self._sender.wake
                    )
                return
            self._delivery.remember(messages)
        self._sender.wake()

    def announce(self, devices: Mapping[str, Json], prefix: str | None) -> None:
        """Home Assistant finds these devices from now on (topic -> payload, see ``homeassistant.devices``)
        and no others. prefix: where it says that it has started; None where nothing is announced."""
        self._birth_topic = None if prefix is None else f"{prefix}/status"
        self._delivery.remember(self._discovery.announce(devices))
        if self._connection is not None:
            self._connection.hear_births()
        self._sender.wake()

    def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._sender.leave()
        thread.join(self._drain_s + LEAVE_S)
        if thread.is_alive():
            log.warning("mqtt: %s: the network does not let go; leaving it behind", self._settings.host)

    def __enter__(self) -> MqttPublisher:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def counted(self, stats: NodeStats) -> NodeStats:
        """With the counters that only the publisher knows. Any thread."""
        box, delivery = self._outbox.counts, self._delivery.counts
        return replace(
            stats,
            outbox_waiting=box.waiting,
            outbox_dropped=box.dropped,
            outbox_expired=box.expired,
            outbox_overflowed=box.overflowed,
            outbox_rejected=box.rejected,
            outbox_lost=box.lost,
            outbox_durable=self._outbox.durable,
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
        client = new_client(
            self._settings,
            self._client_id,
            self._tls,
            version,
            self._topics.status("offline"),
            self._keepalive_s,
        )
        self._connection = PahoConnection(
            client,
            note,
            commands=None if self._on_command is None else f"{self._topics.base}/+/set/+",
            on_command=self._execute,
            leftover_filters=self._leftover_filters,
            leftover=self._leftover,
            birth_topic=lambda: self._birth_topic,
            on_birth=self._born,
            reconnect_s=self._reconnect_s,
            quiet=self._quiet,
            tls=self._tls is not None,
            clock=self._clock,
        )
        return self._connection

    def _leftover(self, topic: str, payload: bytes) -> list[Message]:
        """What takes back what an earlier run left retained."""
        if topic.startswith(f"{self._topics.base}/"):
            return self._topics.leftover(topic, payload)
        message = self._discovery.found(topic, payload)
        if message is None:
            return []
        if topic in self._discovery:
            # Announced anew, not taken back: state.
            self._delivery.remember([message])
            self._sender.wake()
            return []
        return [message]

    def _born(self) -> None:
        log.info("mqtt: Home Assistant has started; telling it everything")
        self._delivery.owe_again()
        self._sender.wake()

    def _execute(self, topic: str, payload: bytes) -> None:
        if self._on_command is None:
            return
        if not self._command_limit.allow(self._clock.monotonic_s()):
            self._quiet.warning("commands", "mqtt: too many commands; ignored")
            return
        try:
            self._on_command(parse(self._topics.base, topic, payload))
        except (ValueError, EdgesegError) as error:
            kind = f"command {topic} {type(error).__name__}"
            self._quiet.warning(kind, f"mqtt: command refused: {error}")
