"""``edgeseg run``: signals, systemd, reload, exit."""

from __future__ import annotations

import hashlib
import logging
import os
import queue
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Union

from edgeseg import __version__
from edgeseg.clock import Clock
from edgeseg.errors import ConfigError, EdgesegError, Problem
from edgeseg.publish.base import Command, Publisher
from edgeseg.publish.jsonl import JsonLinesPublisher
from edgeseg.publish.mqtt import MqttPublisher
from edgeseg.publish.outbox import Outbox
from edgeseg.publish.topics import Topics
from edgeseg.sdnotify import notify, watchdog_interval_s
from edgeseg.settings import PipelineSettings
from edgeseg.sources.capture_process import warm_up
from edgeseg.supervisor import Supervisor

log = logging.getLogger(__name__)

_TICK_S = 1.0
_PREFIX_WITHOUT_BROKER = "edgeseg"

Handler = Union[Callable[[int, Union[FrameType, None]], object], int, None]


class Daemon:
    """One pipeline file at work until it is told to stop.

    load: reads the file anew, for the start and for SIGHUP; raises ConfigError.
    state_dir: where the outbox of each node is kept.
    """

    def __init__(self, load: Callable[[], PipelineSettings], clock: Clock, state_dir: Path) -> None:
        self._load = load
        self._clock = clock
        self._state_dir = state_dir
        # Not an Event: its lock, held by the main thread when a signal arrives, would never be given back.
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopping = False
        self._reload_asked = False
        self._failed = False

    def run(self) -> int:
        """Watch until SIGTERM or SIGINT, until every finite source has ended, or until nobody reads the
        JSON lines any more. Main thread only. Returns the exit code: 0, or 1 for a fault of ours while it
        ran, which is logged; better a restart than half a daemon.

        Raises ConfigError, ModelError, EngineError, PublishError at the start, and SourceError when all
        sources were finite and one could not be read.
        """
        handlers: dict[signal.Signals, Handler] = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._hup,
        }
        with _signals(handlers), self._thread_failures():
            settings = self._load()
            # Before there are threads: it changes the environment for a moment.
            warm_up()
            log.info("edgeseg %s: %s, node %s", __version__, settings.file, settings.node)
            commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
            with _alone(settings), self._publisher(settings, commands.put) as publisher:
                supervisor = Supervisor(settings, publisher, self._clock, commands)
                try:
                    supervisor.start()
                    notify("READY=1", f"STATUS={supervisor.summary()}")
                    self._watch(supervisor, settings, publisher)
                finally:
                    notify("STOPPING=1", "STATUS=delivering the last alerts")
                    supervisor.stop()
        if not self._stopping and not self._failed:
            supervisor.raise_for_unreadable()
        return 1 if self._failed else 0

    def _watch(self, supervisor: Supervisor, settings: PipelineSettings, publisher: Publisher) -> None:
        interval_s = min(watchdog_interval_s() or _TICK_S, _TICK_S)
        while not (self._stopping or self._failed or publisher.gone):
            with suppress(queue.Empty):
                self._wake.get(timeout=interval_s)
            if self._reload_asked:
                self._reload_asked = False
                settings = self._reload(supervisor, settings)
            try:
                supervisor.tick()
            except EdgesegError:
                # Nobody can mend this in a file: it is not what exit code 2 is for.
                log.critical("a worker failed", exc_info=True)
                self._failed = True
            if supervisor.progressing:
                notify("WATCHDOG=1", f"STATUS={supervisor.summary()}")
            if supervisor.finished:
                log.info("every source has ended")
                return

    def _publisher(self, settings: PipelineSettings, on_command: Callable[[Command], None]) -> Publisher:
        prefix = settings.mqtt.prefix if settings.mqtt else _PREFIX_WITHOUT_BROKER
        topics = Topics(prefix, settings.node, boot=secrets.token_hex(4), clock=self._clock)
        if settings.mqtt is None:
            return JsonLinesPublisher(topics, sys.stdout)
        outbox = Outbox(self._state_dir / settings.node / "outbox.sqlite", self._clock)
        obeyed = on_command if settings.mqtt.commands else None
        return MqttPublisher(settings.mqtt, topics, outbox, self._clock, on_command=obeyed)

    def _reload(self, supervisor: Supervisor, settings: PipelineSettings) -> PipelineSettings:
        """The settings that are in force from now on: the new ones, or the old where those are wrong."""
        notify("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.monotonic_s() * 1e6)}")
        try:
            changed = self._load()
            _refuse_another_identity(settings, changed)
            supervisor.apply(changed)
        except EdgesegError as error:
            log.error("reload refused, the running settings stay: %s", error)
            notify("READY=1", "STATUS=reload refused, the running settings stay")
            return settings
        log.info("reloaded %s", changed.file)
        notify("READY=1", f"STATUS={supervisor.summary()}")
        return changed

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._stopping:
            # The second signal: its sender will not wait for a broker. Camera processes die with us.
            os._exit(1)
        self._stopping = True
        self._wake.put(None)

    def _hup(self, number: int, frame: FrameType | None) -> None:
        self._reload_asked = True
        self._wake.put(None)

    @contextmanager
    def _thread_failures(self) -> Iterator[None]:
        """A thread that dies of an exception takes the daemon with it."""

        def failed(failure: threading.ExceptHookArgs) -> None:
            log.critical("thread %s failed", failure.thread, exc_info=failure.exc_value)
            self._failed = True
            self._wake.put(None)

        before, threading.excepthook = threading.excepthook, failed
        try:
            yield
        finally:
            threading.excepthook = before


def _refuse_another_identity(settings: PipelineSettings, changed: PipelineSettings) -> None:
    """Node and broker are what subscribers know this process by; they need a restart. Raises ConfigError."""
    for key, before, after in (
        ("node", settings.node, changed.node),
        ("mqtt", settings.mqtt, changed.mqtt),
    ):
        if before != after:
            message = "changed, which takes a restart; nothing of the new file is in force yet"
            raise ConfigError([Problem(changed.file, 0, 0, key, message)])


@contextmanager
def _alone(settings: PipelineSettings) -> Iterator[None]:
    """Two daemons that speak as one node would throw each other off the broker for ever.

    The lock is an abstract socket (unix(7)): it spans users, services and state folders of a machine, and
    the kernel removes it whatever happens. Raises ConfigError.
    """
    mqtt = settings.mqtt
    if mqtt is None:
        yield
        return
    identity = f"{mqtt.prefix}/{settings.node} at {mqtt.host}:{mqtt.port}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as lock:
        try:
            lock.bind("\0edgeseg-" + hashlib.sha256(identity.encode()).hexdigest())
        except OSError:
            message = (
                f"another edgeseg on this machine is {identity} already; give each file a node of its own"
            )
            raise ConfigError([Problem(settings.file, 0, 0, "node", message)]) from None
        yield


@contextmanager
def _signals(handlers: dict[signal.Signals, Handler]) -> Iterator[None]:
    before: dict[signal.Signals, Handler] = {}
    for number, handler in handlers.items():
        before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
