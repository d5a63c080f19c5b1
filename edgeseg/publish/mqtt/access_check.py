"""Would the broker take what the daemon is going to say? Tried as the daemon does it, without a trace.

What is published is empty and not retained: nothing that is retained changes, and whoever listens has
nothing to read. The client has an id of its own, so that a daemon that runs keeps its connection.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from edgeseg.clock import Clock, SystemClock
from edgeseg.publish.base import Message
from edgeseg.publish.mqtt import sender
from edgeseg.publish.mqtt.connect_errors import tls_context
from edgeseg.publish.mqtt.delivery import FAILURE
from edgeseg.publish.mqtt.paho_connection import PahoConnection, new_client
from edgeseg.publish.mqtt.sender import Connection, Note, Version
from edgeseg.settings import MqttSettings
from edgeseg.system.rate_limited_log import RateLimitedLog

CONNECT_S = 5.0
_KEEPALIVE_S = 15
# Brokers that give no window of their own allow 65535, and queue what is more than they like.
_WINDOW = 20
_TICK_S = 0.2


@dataclass(frozen=True, slots=True)
class Reach:
    """The way to the broker's port. expires_utc_s: of its certificate, None without TLS."""

    expires_utc_s: float | None


def reach(settings: MqttSettings) -> Reach:
    """Connect by TCP, and TLS where the file says so. Raises PublishError for a CA file that is none, and
    OSError (``ssl.SSLError`` and ``socket.gaierror`` among them) with what failed."""
    context = tls_context(settings.ca_file) if settings.tls else None
    with socket.create_connection((settings.host, settings.port), CONNECT_S) as line:
        if context is None:
            return Reach(None)
        with context.wrap_socket(line, server_hostname=settings.host) as encrypted:
            expires = (encrypted.getpeercert() or {}).get("notAfter")
            return Reach(float(ssl.cert_time_to_seconds(expires)) if isinstance(expires, str) else None)


@dataclass(slots=True)
class Verdict:
    """What the broker answered.

    version: of MQTT that it speaks, None where it never accepted. trouble: why not. refused: topics that may
    not be published to, and why. unanswered: topics whose answer did not come in time. commands: why the
    subscription to commands was refused; None where it was granted, or not asked for.
    """

    version: Version | None = None
    trouble: str | None = None
    refused: dict[str, str] = field(default_factory=dict)
    unanswered: tuple[str, ...] = ()
    commands: str | None = None


def ask(
    settings: MqttSettings,
    base: str,
    topics: Iterable[str],
    limit_s: float,
    clock: Clock,
    stop: threading.Event,
) -> Verdict:
    """Connect with the login and the last will of the node ``base`` (prefix/node), subscribe to its commands
    where the settings do, and publish to each of ``topics``. In MQTT 3.1.1 nothing is published: it has no
    word for a refusal."""
    trial = _Trial(settings, base, clock, clock.monotonic_s() + limit_s, stop)
    trial.connect("5")
    if trial.verdict.version is None and trial.speaks_otherwise:
        trial.connect("3.1.1")
    if trial.verdict.version == "5":
        trial.publish(list(dict.fromkeys(topics)))
    trial.close()
    return trial.verdict


class _Trial:
    def __init__(
        self, settings: MqttSettings, base: str, clock: Clock, until_s: float, stop: threading.Event
    ) -> None:
        self.verdict = Verdict()
        self.speaks_otherwise = False
        self._settings = settings
        self._base = base
        self._clock = clock
        self._until_s = until_s
        self._stop = stop
        self._notes: deque[Note] = deque()
        self._news = threading.Event()
        self._window = _WINDOW
        self._connection: PahoConnection | None = None
        self._subscribed = False

    def connect(self, version: Version) -> None:
        self.close()
        client = new_client(
            self._settings,
            f"{self._base}-doctor-{os.getpid()}".replace("/", "-"),
            tls_context(self._settings.ca_file) if self._settings.tls else None,
            version,
            # The broker checks the right to leave this will; should it come to that, it says nothing.
            Message(f"{self._base}/status", b"", 1, retain=False),
            _KEEPALIVE_S,
        )
        commands = f"{self._base}/+/set/+" if self._settings.commands else None
        self._connection = PahoConnection(
            client,
            self._note,
            commands=commands,
            on_command=lambda topic, payload: None,
            leftover_filters=(),
            leftover=lambda topic, payload: [],
            reconnect_s=(1.0, 2.0),
            quiet=RateLimitedLog(sender.log, SystemClock()),
            tls=self._settings.tls,
            clock=self._clock,
        )
        self._connection.keep_running()
        # Some old brokers wait for ever for the rest of a CONNECT that they misread.
        self.verdict.trouble, self.speaks_otherwise = "it does not answer", True
        until_s = self._until_s
        if version == "5":
            now_s = self._clock.monotonic_s()
            until_s = min(until_s, now_s + min(CONNECT_S, (until_s - now_s) / 2))
        while (note := self._next(until_s)) is not None:
            match note:
                case sender.Connected():
                    self.verdict.version, self.verdict.trouble = version, None
                    self._window = min(note.window or _WINDOW, _WINDOW)
                    if commands is None:
                        return
                case sender.Subscribed():
                    self.verdict.commands = note.words if note.code >= FAILURE else None
                    return
                case sender.Refused():
                    self.verdict.trouble = note.words
                    self.speaks_otherwise = note.code == sender.UNSUPPORTED_PROTOCOL
                    return
                case sender.Lost():
                    if self.verdict.version is not None:
                        # Some brokers hang up on a subscription that they do not allow.
                        self.verdict.commands = f"{note.words}, after the subscription"
                        return
                    self.verdict.trouble = f"it hangs up: {note.words}"
                    return
                case sender.Unreachable():
                    self.verdict.trouble, self.speaks_otherwise = note.words, False
                    return

    def publish(self, topics: list[str]) -> None:
        """Each once, at most a window of them unanswered."""
        assert self._connection is not None
        waiting: dict[int, str] = {}
        while topics or waiting:
            while topics and len(waiting) < self._window:
                topic = topics.pop(0)
                mid = self._connection.publish(Message(topic, b"", 1, retain=False))
                if mid is None:
                    # The connection is gone; what is left has no answer.
                    self.verdict.unanswered = (topic, *topics, *waiting.values())
                    return
                waiting[mid] = topic
            note = self._next(self._until_s)
            if note is None or isinstance(note, sender.Lost):
                self.verdict.unanswered = (*topics, *waiting.values())
                return
            if isinstance(note, sender.Acknowledged) and note.mid in waiting:
                topic = waiting.pop(note.mid)
                if note.code >= FAILURE:
                    self.verdict.refused[topic] = note.words

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close(abruptly=False)
            self._connection = None
        self._notes.clear()

    def _note(self, connection: Connection, note: Note) -> None:
        if connection is self._connection:
            self._notes.append(note)
            self._news.set()

    def _next(self, until_s: float) -> Note | None:
        """The next that happened; None after the time is up."""
        while not self._notes:
            left_s = until_s - self._clock.monotonic_s()
            if left_s <= 0 or self._stop.is_set():
                return None
            self._news.wait(min(left_s, _TICK_S))
            self._news.clear()
        return self._notes.popleft()
