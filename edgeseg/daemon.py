"""``edgeseg run``: signals, systemd, reload, exit."""

from __future__ import annotations

import gc
import logging
import os
import queue
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from edgeseg import __version__
from edgeseg.capture.fork_server import start_fork_server
from edgeseg.clock import Clock, awake_s
from edgeseg.errors import ConfigError, EdgesegError, Problem
from edgeseg.evidence.files import EvidenceFiles
from edgeseg.evidence.store import EvidenceStore
from edgeseg.observers import NO_OBSERVERS, Observers
from edgeseg.publish.base import Command, Publisher
from edgeseg.publish.fan_out import FanOutPublisher
from edgeseg.publish.homeassistant.announce import announce, prefixes
from edgeseg.publish.jsonl import JsonLinesPublisher
from edgeseg.publish.mqtt.outbox import Outbox
from edgeseg.publish.mqtt.publisher import MqttPublisher
from edgeseg.publish.topics import Topics
from edgeseg.runtime.process import (
    Handler,
    freeze_memory,
    pause_after_hangs,
    reap_orphans,
    restart_stuck_process,
    signal_handlers,
    single_instance,
)
from edgeseg.runtime.supervisor import Supervisor
from edgeseg.runtime.watchdog import Stage, Watchdog
from edgeseg.settings import PipelineSettings
from edgeseg.state.node_state import FINISHED, STOPPED, NodeState
from edgeseg.system.systemd import notify

if TYPE_CHECKING:
    from edgeseg.web.site import Site

log = logging.getLogger(__name__)

_TICK_S = 1.0
_COLLECT_EVERY_S = 30.0
# The main thread loads networks, which with ``engine: auto`` are measured (the unit's TimeoutStartSec is the
# same; what computes moves), and waits for cameras to end, which like the MQTT sender may look up a name.
_HANGS_AFTER_S = 180.0
_STOP_HANGS_AFTER_S = 60.0
_PREFIX_WITHOUT_BROKER = "edgeseg"


class Daemon:
    """Runs one pipeline file until it is stopped.

    Args:
        load: reads the file anew, for the start and for SIGHUP; raises ConfigError.
        state_dir: where the state of each node is saved: alerts that wait, what rules know, overrides by
            commands.

    A process in which something stands still ends with EXIT_STUCK under systemd, which starts it again;
    without systemd it takes its own place.
    """

    def __init__(self, load: Callable[[], PipelineSettings], clock: Clock, state_dir: Path) -> None:
        self._load = load
        self._clock = clock
        self._state_dir = state_dir
        # Not an Event: its lock, held by the main thread when a signal arrives, would never be given back.
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        # An Event, because the main thread neither waits for it nor sets it but in the signal's handler.
        self._leaving = threading.Event()
        self._stopping = False
        self._reload_asked = False
        self._failure: str | None = None
        self._announce: Callable[[PipelineSettings], None] = _announce_to_nobody
        # Names this start of the process.
        self._boot = secrets.token_hex(4)
        self._site: Site | None = None
        self._turns = 0
        self._doing = Stage("the start", 0, _HANGS_AFTER_S)

    def run(self) -> int:
        """Watch until SIGTERM or SIGINT, until every finite source has ended, or until nobody reads the
        JSON lines any more. Main thread only. Returns the exit code: 0, or 1 for a fault of ours while it
        ran, which is logged; better a restart than half a daemon.

        Raises ConfigError, ModelError, EngineError, PublishError, StateError at the start, and SourceError
        when all sources were finite and one could not be read.
        """
        handlers: dict[signal.Signals, Handler] = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._hup,
        }
        reap_orphans()
        with signal_handlers(handlers), self._thread_failures():
            settings = self._load()
            # Before there are threads: it changes the environment for a moment.
            start_fork_server()
            log.info("edgeseg %s: %s, node %s", __version__, settings.file, settings.node)
            with single_instance(settings), NodeState(self._state_dir / settings.node, self._clock) as state:
                pause_after_hangs(state, self._wake)
                try:
                    supervisor = self._run(settings, state)
                except EdgesegError as error:
                    state.end(f"failed: {type(error).__name__}")
                    raise
                state.end(self._failure or (STOPPED if self._stopping else FINISHED))
        if supervisor is not None and not self._stopping and self._failure is None:
            supervisor.raise_for_unreadable()
        return 0 if self._failure is None else 1

    def _run(self, settings: PipelineSettings, state: NodeState) -> Supervisor | None:
        """None where it was told to stop before it began."""
        if self._stopping:
            return None
        commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        folder = EvidenceFiles(self._state_dir / settings.node / "evidence", self._clock)
        first = self._publisher(settings, state, commands.put)
        site = self._site = self._web(settings, first, commands.put, state)
        with (
            FanOutPublisher(first, site.publishers if site else ()) as publisher,
            EvidenceStore(folder, settings.evidence_budget, self._clock) as evidence,
            site or nullcontext(),
        ):
            supervisor = Supervisor(
                settings,
                publisher,
                self._clock,
                commands,
                state,
                self._leaving,
                evidence,
                Observers((site.pictures,), start_timer=site.metrics.start_timer) if site else NO_OBSERVERS,
            )
            if site:
                site.attach(supervisor)

            def stages() -> Iterator[Stage]:
                # Networks are loaded at the start and at a reload: a slow one may take its time.
                yield replace(self._doing, mark=(self._turns, supervisor.loads_moved))
                if isinstance(first, MqttPublisher):
                    yield Stage("the MQTT sender", first.turns, _HANGS_AFTER_S)
                    yield from supervisor.stages(None)
                else:
                    yield from supervisor.stages(first.held_up)

            with Watchdog(stages, partial(self._stuck, state)) as watchdog:
                try:
                    supervisor.start()
                    self._doing = Stage("the main loop", 0, _HANGS_AFTER_S)
                    notify("READY=1", f"STATUS={supervisor.summary()}")
                    watchdog.ready()
                    self._watch(supervisor, settings, publisher)
                finally:
                    self._doing = Stage("the stop", 0, _STOP_HANGS_AFTER_S)
                    notify("STOPPING=1", "STATUS=delivering the last alerts")
                    supervisor.stop()
        return supervisor

    def _watch(self, supervisor: Supervisor, settings: PipelineSettings, publisher: Publisher) -> None:
        status = ""
        freeze_memory()
        collect_due_s = self._clock.monotonic_s() + _COLLECT_EVERY_S
        while not (self._stopping or self._failure or publisher.gone):
            with suppress(queue.Empty):
                self._wake.get(timeout=_TICK_S)
            self._turns += 1
            if self._clock.monotonic_s() >= collect_due_s:
                collect_due_s += _COLLECT_EVERY_S
                gc.collect()
            if self._reload_asked:
                self._reload_asked = False
                usual, self._doing = self._doing, Stage("the reload", 0, _HANGS_AFTER_S)
                settings = self._reload(supervisor, settings)
                self._doing = usual
            try:
                supervisor.tick()
            except EdgesegError as error:
                # Nobody can mend this in a file: it is not what exit code 2 is for.
                log.critical("a worker failed", exc_info=True)
                self._failure = f"failed: {type(error).__name__}"
            if (summary := supervisor.summary()) != status:
                status = summary
                notify(f"STATUS={status}")
            if supervisor.finished:
                log.info("every source has ended")
                return

    def _stuck(self, state: NodeState, what: str) -> None:
        """Called by the watchdog."""
        restart_stuck_process(state, what, stopping=self._stopping)

    def _publisher(
        self, settings: PipelineSettings, state: NodeState, on_command: Callable[[Command], None]
    ) -> MqttPublisher | JsonLinesPublisher:
        prefix = settings.mqtt.prefix if settings.mqtt else _PREFIX_WITHOUT_BROKER
        topics = Topics(prefix, settings.node, boot=self._boot, clock=self._clock)
        if settings.mqtt is None:
            return JsonLinesPublisher(topics, sys.stdout)
        outbox = Outbox(state.database, self._clock, ttl_s=settings.mqtt.alert_ttl_s)
        obeyed = on_command if settings.mqtt.commands else None
        folder = self._state_dir / settings.node
        publisher = MqttPublisher(
            settings.mqtt,
            topics,
            outbox,
            self._clock,
            on_command=obeyed,
            discovery_prefixes=prefixes(settings, folder),
        )
        self._announce = partial(announce, publisher, folder=folder)
        self._announce(settings)
        return publisher

    def _web(
        self,
        settings: PipelineSettings,
        publisher: Publisher,
        command: Callable[[Command], None],
        state: NodeState,
    ) -> Site | None:
        if settings.web is None:
            return None
        # Imported where it is wanted: it takes 0.2 s and some MiB.
        from edgeseg.web.site import Site

        return Site(
            settings.web,
            settings,
            publisher,
            command,
            self._ask_for_reload,
            state,
            self._clock,
            self._boot,
        )

    def _reload(self, supervisor: Supervisor, settings: PipelineSettings) -> PipelineSettings:
        """The settings that are in force from now on: the new ones, or the old where those are wrong."""
        notify("RELOADING=1", f"MONOTONIC_USEC={int(awake_s() * 1e6)}")
        try:
            changed = self._load()
            _refuse_another_identity(settings, changed)
            supervisor.apply(changed)
            self._announce(changed)
        except EdgesegError as error:
            log.error("reload refused, the running settings stay: %s", error)
            if self._site:
                self._site.reloaded(settings, error)
            notify("READY=1", "STATUS=reload refused, the running settings stay")
            return settings
        log.info("reloaded %s", changed.file)
        if self._site:
            self._site.reloaded(changed, None)
        notify("READY=1", f"STATUS={supervisor.summary()}")
        return changed

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._stopping:
            # The second signal: its sender will not wait for a broker. Camera processes die with us.
            os._exit(1)
        self._stopping = True
        self._leaving.set()
        self._wake.put(None)

    def _hup(self, number: int, frame: FrameType | None) -> None:
        self._ask_for_reload()

    def _ask_for_reload(self) -> None:
        self._reload_asked = True
        self._wake.put(None)

    @contextmanager
    def _thread_failures(self) -> Iterator[None]:
        """A thread that dies of an exception takes the daemon with it."""

        def failed(failure: threading.ExceptHookArgs) -> None:
            log.critical("thread %s failed", failure.thread, exc_info=failure.exc_value)
            self._failure = f"failed: {failure.exc_type.__name__}"
            self._wake.put(None)

        before, threading.excepthook = threading.excepthook, failed
        try:
            yield
        finally:
            threading.excepthook = before


def _announce_to_nobody(settings: PipelineSettings) -> None:
    """JSON lines have no Home Assistant at their end."""


def _refuse_another_identity(settings: PipelineSettings, changed: PipelineSettings) -> None:
    """Node and broker are what subscribers know this process by; they need a restart. Raises ConfigError."""
    for key, before, after in (
        ("node", settings.node, changed.node),
        ("mqtt", settings.mqtt, changed.mqtt),
        ("web", settings.web, changed.web),
    ):
        if before != after:
            message = "changed, which takes a restart; nothing of the new file is in force yet"
            raise ConfigError([Problem(changed.file, 0, 0, key, message)])
