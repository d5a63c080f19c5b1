"""``edgeseg run``: signals, systemd, reload, exit."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from edgeseg.clock import Clock
from edgeseg.errors import EdgesegError
from edgeseg.publish.base import Command, Publisher
from edgeseg.publish.jsonl import JsonLinesPublisher
from edgeseg.publish.mqtt import MqttPublisher
from edgeseg.publish.outbox import Outbox
from edgeseg.publish.topics import Topics
from edgeseg.sdnotify import notify, watchdog_interval_s
from edgeseg.settings import PipelineSettings
from edgeseg.supervisor import Supervisor

log = logging.getLogger(__name__)

_TICK_S = 1.0
_PREFIX_WITHOUT_BROKER = "edgeseg"

Handler = Callable[[int, "FrameType | None"], None]


class Daemon:
    """One pipeline file at work until it is told to stop.

    load: reads the file anew, for the start and for SIGHUP; raises ConfigError.
    state_dir: where the outbox of each node is kept.
    """

    def __init__(self, load: Callable[[], PipelineSettings], clock: Clock, state_dir: Path) -> None:
        self._load = load
        self._clock = clock
        self._state_dir = state_dir
        self._wake = threading.Event()
        self._stopping = False
        self._reload_asked = False
        self._thread_failure: BaseException | None = None

    def run(self) -> None:
        """Watch until SIGTERM, SIGINT, or until every finite source has ended. Main thread only.

        Raises ConfigError, ModelError, EngineError at the start; PublishError where events cannot be
        written at all; SourceError when all sources were finite and one could not be read. Whatever a
        thread of the daemon raises ends it too: better a restart than half a daemon.
        """
        threading.excepthook = self._thread_failed
        with _handlers({signal.SIGTERM: self._stop, signal.SIGINT: self._stop, signal.SIGHUP: self._hup}):
            settings: PipelineSettings | None = self._load()
            while settings is not None and not self._stopping:
                settings = self._watch(settings)

    def _watch(self, settings: PipelineSettings) -> PipelineSettings | None:
        """Run with these settings. Returns those to start over with when node or broker changed."""
        commands: list[Callable[[Command], None]] = []
        with self._publisher(settings, lambda command: commands[0](command)) as publisher:
            supervisor = Supervisor(settings, publisher, self._clock)
            commands.append(supervisor.command)
            try:
                supervisor.start()
                notify("READY=1", f"STATUS={supervisor.summary()}")
                return self._tick_until_done(supervisor, settings)
            finally:
                notify("STOPPING=1", "STATUS=delivering the last alerts")
                supervisor.stop()

    def _publisher(self, settings: PipelineSettings, on_command: Callable[[Command], None]) -> Publisher:
        prefix = settings.mqtt.prefix if settings.mqtt else _PREFIX_WITHOUT_BROKER
        topics = Topics(prefix, settings.node, boot=secrets.token_hex(4), clock=self._clock)
        if settings.mqtt is None:
            return JsonLinesPublisher(topics, sys.stdout)
        outbox = Outbox(self._state_dir / settings.node / "outbox.sqlite", self._clock)
        return MqttPublisher(settings.mqtt, topics, outbox, self._clock, on_command=on_command)

    def _tick_until_done(self, supervisor: Supervisor, settings: PipelineSettings) -> PipelineSettings | None:
        interval_s = min(watchdog_interval_s() or _TICK_S, _TICK_S)
        while not self._stopping and not supervisor.finished:
            self._wake.wait(interval_s)
            self._wake.clear()
            if self._reload_asked:
                self._reload_asked = False
                changed = self._reload(supervisor, settings)
                if (changed.node, changed.mqtt) != (settings.node, settings.mqtt):
                    return changed
                settings = changed
            if self._thread_failure is not None:
                raise self._thread_failure
            supervisor.tick()
            if supervisor.progressing:
                notify("WATCHDOG=1", f"STATUS={supervisor.summary()}")
        if not self._stopping:
            supervisor.raise_for_unreadable()
            log.info("every source has ended")
        return None

    def _reload(self, supervisor: Supervisor, settings: PipelineSettings) -> PipelineSettings:
        """The settings that are in force from now on: the new ones, or the old where those are wrong."""
        notify("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.monotonic_s() * 1e6)}")
        try:
            changed = self._load()
            if (changed.node, changed.mqtt) == (settings.node, settings.mqtt):
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
        self._wake.set()

    def _thread_failed(self, failure: threading.ExceptHookArgs) -> None:
        self._thread_failure = failure.exc_value
        self._wake.set()

    def _hup(self, number: int, frame: FrameType | None) -> None:
        self._reload_asked = True
        self._wake.set()


@contextmanager
def _handlers(handlers: dict[signal.Signals, Handler]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
