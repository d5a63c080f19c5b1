"""The thread that decides what goes to the broker, and survives whatever the broker does. Knows no paho.

The network runs elsewhere and leaves notes of what happened; this thread reads them and sends. So nothing
here holds a lock while it talks to the network, and nobody who hands over an event waits for either.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from edgeseg.clock import Clock
from edgeseg.publish.base import Message
from edgeseg.publish.mqtt.delivery import FAILURE, Delivery, Outgoing
from edgeseg.system.rate_limited_log import RateLimitedLog

log = logging.getLogger(__name__)

Version = Literal["5", "3.1.1"]

TICK_S = 0.5
FAREWELL_S = 1.0
# Beyond the drain: the farewell, and a connect or a name look-up that cannot be interrupted.
LEAVE_S = FAREWELL_S + 8.0
UNSUPPORTED_PROTOCOL = 0x84
SESSION_TAKEN_OVER = 0x8E
# Some old brokers misread an MQTT 5 CONNECT and hang or hang up instead of refusing it (amqtt does, when it
# comes with a will). So does a port forwarder whose broker is still starting: only a repetition tells.
SILENT_ATTEMPTS = 3
# Brokers send what is retained with the answer to a subscription; some in portions. The margin is for slow
# lines: the answer to a subscription that has ended still counts.
LOOK_BACK_S = 5.0
# Some brokers hang up on a subscription that they do not allow.
LOOK_BACK_ATTEMPTS = 3
# Many brokers just close the connection that another client takes over: MQTT 3.1.1 has no word for it, and
# mosquitto 2.0.11 does not use that of MQTT 5. More than what a forbidden look back explains.
RIVAL_LOSSES = LOOK_BACK_ATTEMPTS + 1


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker accepted. Its limits, None where it gave none."""

    window: int | None
    largest_bytes: int | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The broker answered no. ``code``: MQTT 5 reason code."""

    code: int
    words: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection ended, whether the broker had answered or not. ``early``: so many in a row that the
    broker accepted, and that did not last."""

    code: int
    words: str
    early: int = 0


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No connection: nobody listens, no such name, no trust in the certificate."""

    words: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The broker's answer to a message with QoS 1; for QoS 0, it was written to the socket."""

    mid: int
    code: int
    words: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The broker's answer to the subscription to commands."""

    code: int
    words: str


@dataclass(frozen=True, slots=True)
class Leftover:
    """An earlier run may have left something retained. ``messages`` take it back."""

    messages: tuple[Message, ...]


Note = Connected | Refused | Lost | Unreachable | Acknowledged | Subscribed | Leftover


class Connection(Protocol):
    """One client of one broker in one version of MQTT, which reconnects by itself."""

    def keep_running(self) -> None:
        """Start the network thread, or bring it back should a packet have killed it."""

    def publish(self, message: Message) -> int | None:
        """Hand a message to the network. Returns its id, None where the connection is gone."""

    def look_back(self) -> None:
        """Ask the broker for what is retained of this node; each comes as a ``Leftover``. Where the broker
        does not allow that, nothing comes."""

    def stop_looking_back(self) -> None: ...

    def close(self, *, abruptly: bool) -> None:
        """abruptly: the broker does not take a DISCONNECT; cut the line, it will send the last will."""


Connect = Callable[[Version, Callable[[Connection, Note], None]], Connection]


class Sender:
    """Sends what ``delivery`` owes until it is told to leave.

    connect: makes a connection, which leaves its notes with the given callable, from any thread.
    broker: ``host:port``, for the log. client_id, tls: likewise.
    online, offline: the node's availability.
    """

    def __init__(
        self,
        connect: Connect,
        delivery: Delivery,
        clock: Clock,
        *,
        broker: str,
        client_id: str,
        tls: bool,
        online: Message,
        offline: Message,
        drain_s: float,
    ) -> None:
        self.connected = False
        self.turns = 0
        self._connect = connect
        self._delivery = delivery
        self._clock = clock
        self._broker = broker
        self._client_id = client_id
        self._tls = tls
        self._online = online
        self._offline = offline
        self._drain_s = drain_s
        self._quiet = RateLimitedLog(log, clock)
        self._troubles = RateLimitedLog(log, clock, every_s=60.0)
        # Apart from the troubles that a connection settles: this one comes of being connected.
        self._rivals = RateLimitedLog(log, clock, every_s=60.0)
        self._notes: deque[tuple[Connection, Note]] = deque()
        self._wake = threading.Event()
        self._leaving = threading.Event()
        self._version: Version = "5"
        self._attempted = False
        self._answered = False
        self._silent_attempts = 0
        self._look_back_attempts = LOOK_BACK_ATTEMPTS
        self._look_back_until_s: float | None = None

    def wake(self) -> None:
        """There is something new to send."""
        self._wake.set()

    def leave(self) -> None:
        """Ask ``run`` to return after what can be sent at once."""
        self._leaving.set()
        self._wake.set()

    def run(self) -> None:
        """Work until ``leave``."""
        connection = self._connect(self._version, self._note)
        while not self._leaving.is_set():
            connection.keep_running()
            version = self._version
            self._turn(connection)
            if self._version != version:
                connection.close(abruptly=False)
                connection = self._connect(self._version, self._note)
        connection.keep_running()
        self._wait_until_settled(connection, self._drain_s)
        if self.connected:
            self._publish(connection, Outgoing(self._offline, None))
            self._wait_until_settled(connection, FAREWELL_S)
        connection.close(abruptly=not self._delivery.settled)
        self.connected = False

    def _note(self, connection: Connection, note: Note) -> None:
        self._notes.append((connection, note))
        self._wake.set()

    def _turn(self, connection: Connection) -> None:
        self.turns += 1
        self._wake.wait(TICK_S)
        self._wake.clear()
        while self._notes:
            origin, note = self._notes.popleft()
            if origin is connection:
                self._attempted = True
                self._read(connection, note)
        self._end_look_back(connection)
        while self.connected and (outgoing := self._delivery.next(self._clock.monotonic_s())):
            if not self._publish(connection, outgoing):
                break

    def _publish(self, connection: Connection, outgoing: Outgoing) -> bool:
        """False where the connection is gone: the next one owes everything again."""
        mid = connection.publish(outgoing.message)
        if mid is None:
            return False
        self._delivery.sent(mid, outgoing)
        return True

    def _wait_until_settled(self, connection: Connection, limit_s: float) -> None:
        until_s = self._clock.monotonic_s() + limit_s
        self._wake.set()
        while self._clock.monotonic_s() < until_s:
            self._turn(connection)
            if self._attempted and (not self.connected or self._delivery.settled):
                return

    def _read(self, connection: Connection, note: Note) -> None:
        match note:
            case Connected():
                self._begin(note)
                self._begin_look_back(connection)
            case Refused():
                self._answered = True
                self._read_refusal(note)
            case Lost():
                self._read_loss(note)
            case Unreachable():
                self._troubles.warning(
                    "unreachable", f"mqtt: cannot reach {self._broker}: {note.words}; retrying for ever"
                )
            case Acknowledged():
                self._read_acknowledgement(note)
            case Subscribed():
                if note.code >= FAILURE:
                    self._quiet.warning(
                        "subscribe", f"mqtt: the subscription to commands is refused: {note.words}"
                    )
            case Leftover():
                self._delivery.take_back(note.messages)

    def _begin(self, note: Connected) -> None:
        self.connected = True
        self._answered = True
        if self._version == "5":
            self._silent_attempts = 0
        self._troubles.reset()
        log.info("mqtt: connected to %s (MQTT %s)", self._broker, self._version)
        self._delivery.connected(self._online, window=note.window, largest_bytes=note.largest_bytes)

    def _begin_look_back(self, connection: Connection) -> None:
        self._look_back_until_s = None
        if self._look_back_attempts:
            self._look_back_attempts -= 1
            self._look_back_until_s = self._clock.monotonic_s() + LOOK_BACK_S
            connection.look_back()

    def _end_look_back(self, connection: Connection) -> None:
        until_s = self._look_back_until_s
        if self.connected and until_s is not None and self._clock.monotonic_s() >= until_s:
            # Once in a run is enough: from here on what is retained is what this run said.
            self._look_back_attempts = 0
            self._look_back_until_s = None
            connection.stop_looking_back()

    def _read_refusal(self, note: Refused) -> None:
        if note.code == UNSUPPORTED_PROTOCOL and self._version == "5":
            self._silent_attempts = 0
            self._fall_back("it refuses MQTT 5")
            return
        self._troubles.warning(
            "refused",
            f"mqtt: {self._broker} refuses the connection: {note.words}; check username, password and the"
            " broker's own log. Retrying for ever",
        )

    def _read_loss(self, note: Lost) -> None:
        was_connected, self.connected = self.connected, False
        answered, self._answered = self._answered, False
        if was_connected and note.code == SESSION_TAKEN_OVER:
            self._rivals.warning(
                "takeover",
                f"mqtt: {self._broker}: another client uses the id {self._client_id} and took over; give"
                " this file a `node:` of its own. Trying again after a long pause",
            )
        elif was_connected and note.early >= RIVAL_LOSSES:
            self._rivals.warning(
                "takeover",
                f"mqtt: {self._broker}: {note.words} {note.early} times soon after it was made: most likely"
                f" another client uses the id {self._client_id}; give this file a `node:` of its own. Trying"
                " again after a long pause",
            )
        elif was_connected:
            log.warning("mqtt: lost %s: %s; reconnecting", self._broker, note.words)
            self._offer_newest_again()
        elif not answered:
            hint = "" if self._tls else "; if the broker speaks TLS on this port, use mqtts://"
            self._troubles.warning(
                "silent",
                f"mqtt: {self._broker} does not answer the connection request: {note.words}{hint}. Retrying",
            )
            self._count_silent_attempt()

    def _read_acknowledgement(self, note: Acknowledged) -> None:
        refused = self._delivery.acknowledged(note.mid, note.code, self._clock.monotonic_s())
        if refused is not None:
            kept = "kept, to be retried" if refused.row is not None else "not published"
            self._quiet.warning(
                "refused",
                f"mqtt: {self._broker} refuses {refused.message.topic}: {note.words}; {kept}. Check its ACL",
            )

    def _count_silent_attempt(self) -> None:
        self._silent_attempts += 1
        if self._version != "5":
            self._silent_attempts = 0
            self._version = "5"
        elif self._silent_attempts >= SILENT_ATTEMPTS:
            self._fall_back("it does not answer MQTT 5")

    def _offer_newest_again(self) -> None:
        # A guess may have been wrong: the broker was frozen or starting. One silent attempt returns to it.
        if self._silent_attempts and self._version != "5":
            self._silent_attempts = SILENT_ATTEMPTS - 1
            self._version = "5"

    def _fall_back(self, why: str) -> None:
        log.warning(
            "mqtt: %s: %s; trying MQTT 3.1.1, which cannot tell when a message is refused", self._broker, why
        )
        self._version = "3.1.1"
