"""What is owed to the broker, and in which order it goes out. Knows no network.

Two lanes. State is last-value-wins: one message for each topic, all of it owed again on every
connection. Alerts come from the outbox in order and stay there until they were acknowledged.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from edgeseg.publish.base import Message
from edgeseg.publish.mqtt.outbox import Outbox, Waiting
from edgeseg.publish.payloads import as_replayed
from edgeseg.system.rate_limited_log import RateLimitedLog

# MQTT 5 reason codes (section 2.4): from 0x80 on a failure.
NO_MATCHING_SUBSCRIBERS = 0x10
FAILURE = 0x80

# QoS 0 is acknowledged when it was written to the socket: the bound on what a frozen broker piles up.
UNWRITTEN_WINDOW = 64
FIRST_HOLD_S = 1.0
LONGEST_HOLD_S = 60.0
# An alert that waited for longer is late, whatever it waited for.
LATE_AFTER_S = 10.0
# Fixed header, topic length, message id and properties of a PUBLISH, generously.
PACKET_OVERHEAD_BYTES = 32


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way. ``row`` is its place in the outbox, None for state."""

    message: Message
    row: int | None


@dataclass(frozen=True, slots=True)
class DeliveryCounts:
    """Since the start. delivered: alerts acknowledged; unmatched: those of them without a subscriber
    (MQTT 5 only); refused: messages the broker said no to; oversized: state not sent because it is larger
    than the broker takes."""

    delivered: int = 0
    unmatched: int = 0
    refused: int = 0
    oversized: int = 0


class Delivery:
    """``remember`` and ``owe_again`` may be called from any thread; everything else from the one that sends.

    window: messages with QoS 1 that may be unacknowledged at a time, at most what the broker grants.
    """

    def __init__(self, outbox: Outbox, quiet: RateLimitedLog, *, window: int = 16) -> None:
        self.counts = DeliveryCounts()
        self._outbox = outbox
        self._quiet = quiet
        self._most = window
        self._window = window
        self._largest_bytes: int | None = None
        self._lock = threading.Lock()
        self._state: dict[str, Message] = {}
        self._owed: dict[str, Message] = {}
        self._leftovers: deque[Message] = deque()
        self._taken_back: set[str] = set()
        self._first: Message | None = None
        self._in_flight: dict[int, Outgoing] = {}
        self._cursor = 0
        self._replayed_until = 0
        self._hold_s = FIRST_HOLD_S
        self._held_until_s: float | None = None
        self._probing = False

    def remember(self, messages: Iterable[Message]) -> None:
        """State: owed now, and again on every connection."""
        with self._lock:
            for message in messages:
                # An answer that is not retained was meant for whoever asked then.
                if message.retain:
                    self._state[message.topic] = message
                # A topic that is owed already keeps its place, so that none starves another.
                self._owed[message.topic] = message

    def owe_again(self) -> None:
        """All state is owed once more, for somebody has come who knows none of it. Any thread."""
        with self._lock:
            self._owed = dict(self._state)

    def take_back(self, messages: Iterable[Message]) -> None:
        """Send these once, but none whose topic is state by then: what an earlier run left retained must
        never come after what this run says."""
        # Some brokers flag echoes as retained: taking those back would go in a circle.
        found = [message for message in messages if message.topic not in self._taken_back]
        self._taken_back.update(message.topic for message in found)
        self._leftovers.extend(found)

    def connected(self, first: Message, *, window: int | None, largest_bytes: int | None) -> None:
        """A new connection owes everything; ``first`` goes ahead of it. Limits are the broker's."""
        with self._lock:
            self._owed = dict(self._state)
        self._first = first
        self._leftovers.clear()
        self._taken_back.clear()
        self._in_flight.clear()
        self._window = min(self._most, window or self._most)
        self._largest_bytes = largest_bytes
        self._cursor = 0
        self._replayed_until = self._outbox.last_row
        self._hold_s = FIRST_HOLD_S
        self._held_until_s = None
        self._probing = False

    def next(self, now_s: float) -> Outgoing | None:
        """What to send now, or None while there is nothing or no room. now_s: monotonic."""
        if self._first is not None:
            first, self._first = self._first, None
            return Outgoing(first, None)
        return self._next_alert(now_s) or self._next_leftover() or self._next_state()

    def sent(self, mid: int, outgoing: Outgoing) -> None:
        """It was handed to the network under this message id."""
        self._in_flight[mid] = outgoing

    def acknowledged(self, mid: int, reason: int, now_s: float) -> Outgoing | None:
        """The broker answered with this MQTT 5 reason code. Returns the message where it was refused.

        An unknown mid belongs to an earlier connection and is ignored: its message is owed again anyway.
        """
        outgoing = self._in_flight.pop(mid, None)
        if outgoing is None:
            return None
        if reason >= FAILURE:
            self.counts = replace(self.counts, refused=self.counts.refused + 1)
            if outgoing.row is not None:
                self._hold(now_s)
            return outgoing
        if outgoing.row is not None:
            self._outbox.delete(outgoing.row)
            self._probing = False
            self._hold_s = FIRST_HOLD_S
            unmatched = self.counts.unmatched + (reason == NO_MATCHING_SUBSCRIBERS)
            self.counts = replace(self.counts, delivered=self.counts.delivered + 1, unmatched=unmatched)
        return None

    @property
    def settled(self) -> bool:
        """Nothing is in flight, and nothing is owed that could be sent now."""
        with self._lock:
            owed = bool(self._owed)
        held = self._held_until_s is not None
        alerts = not held and self._outbox.after(self._cursor) is not None
        return not (owed or self._in_flight or alerts or self._leftovers or self._first)

    def _hold(self, now_s: float) -> None:
        # A window full of refusals is one event: only the first of them lengthens the pause.
        if self._held_until_s is None:
            self._held_until_s = now_s + self._hold_s
            self._hold_s = min(2 * self._hold_s, LONGEST_HOLD_S)
            self._probing = True
            self._replayed_until = max(self._replayed_until, self._cursor)

    def _next_alert(self, now_s: float) -> Outgoing | None:
        if self._held_until_s is not None:
            if now_s < self._held_until_s or any(going.row for going in self._in_flight.values()):
                return None
            self._held_until_s = None
            self._cursor = 0
        if not self._room(1) or (self._probing and any(going.row for going in self._in_flight.values())):
            return None
        while waiting := self._outbox.after(self._cursor):
            self._cursor = waiting.row
            try:
                outgoing = self._outgoing(waiting)
            except (ValueError, TypeError) as error:
                # Found damaged on disk: sent for ever in vain, it would hold up all that follow.
                self._quiet.warning(
                    "damaged", f"mqtt: alert {waiting.alert_id} is no JSON any more: {error}; dropped"
                )
                self._outbox.reject(waiting.row)
                continue
            if self._fits(outgoing.message):
                return outgoing
            self._outbox.reject(waiting.row)
        return None

    def _outgoing(self, waiting: Waiting) -> Outgoing:
        late = waiting.row <= self._replayed_until or waiting.age_s > LATE_AFTER_S
        payload = as_replayed(waiting.payload) if late else waiting.payload
        # At least one: 0 would mean that it may not wait at all.
        left_s = max(1, int(waiting.left_s))
        return Outgoing(Message(waiting.topic, payload, qos=1, retain=False, left_s=left_s), waiting.row)

    def _next_leftover(self) -> Outgoing | None:
        while self._leftovers and self._room(self._leftovers[0].qos):
            message = self._leftovers.popleft()
            with self._lock:
                owned = message.topic in self._state
            if not owned:
                return Outgoing(message, None)
        return None

    def _next_state(self) -> Outgoing | None:
        rooms = {qos: self._room(qos) for qos in (0, 1)}
        with self._lock:
            while message := next((owed for owed in self._owed.values() if rooms[owed.qos]), None):
                del self._owed[message.topic]
                if self._fits(message):
                    return Outgoing(message, None)
                self.counts = replace(self.counts, oversized=self.counts.oversized + 1)
        return None

    def _room(self, qos: int) -> bool:
        used = sum(outgoing.message.qos == qos for outgoing in self._in_flight.values())
        return used < (self._window if qos else UNWRITTEN_WINDOW)

    def _fits(self, message: Message) -> bool:
        size = len(message.topic.encode()) + len(message.payload) + PACKET_OVERHEAD_BYTES
        if self._largest_bytes is None or size <= self._largest_bytes:
            return True
        self._quiet.warning(
            "size",
            f"mqtt: {message.topic}: {size} bytes, the broker takes at most {self._largest_bytes}; not sent",
        )
        return False
