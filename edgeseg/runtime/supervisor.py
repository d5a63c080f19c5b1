"""Builds the cameras, engines and workers of a pipeline file, keeps them going, and takes them down."""

from __future__ import annotations

import logging
import queue
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from itertools import count

from edgeseg.capture.fork_server import start_fork_server
from edgeseg.clock import Clock
from edgeseg.engines.base import Engine
from edgeseg.errors import SourceError
from edgeseg.events import CameraRemoved, NodeStats
from edgeseg.evidence.store import EvidenceStore
from edgeseg.observers import NO_OBSERVERS, Observers
from edgeseg.publish.base import Command, Publisher
from edgeseg.rules import carried_over
from edgeseg.rules.serialization import fingerprints
from edgeseg.runtime import node_stats
from edgeseg.runtime.camera_memory import RestoredState, restore
from edgeseg.runtime.commands import CommandExecutor
from edgeseg.runtime.engine_monitor import EngineMonitor
from edgeseg.runtime.engine_pool import EngineKey, EnginePool, Need, needs_of
from edgeseg.runtime.overload.budget import Budget, budget_of
from edgeseg.runtime.overload.controller import OverloadController
from edgeseg.runtime.reload import Configured, ReloadPlan, plan
from edgeseg.runtime.running_camera import CameraBuilder, RunningCamera
from edgeseg.runtime.scheduler import Scheduler
from edgeseg.runtime.watchdog import Stage
from edgeseg.settings import BudgetSettings, CameraSettings, PipelineSettings
from edgeseg.state.node_state import NodeState
from edgeseg.system.cpu_quota import whole_cpus

log = logging.getLogger(__name__)

_WORKERS_HANG_AFTER_S = 30.0
# Looking up a name can take longer than a minute where servers do not answer (resolv.conf(5)), and cannot be
# interrupted.
_CAPTURE_HANGS_AFTER_S = 180.0
# A frame that is being analysed is finished and published at the stop, if it does not take longer.
_LAST_FRAME_WITHIN_S = 10.0
_STATS_EVERY_S = 60.0
_TAKE_TIMEOUT_S = 0.5


class Supervisor:
    """Everything that runs for one pipeline file. All belongs to the thread that calls ``start``.

    Args:
        commands: came over MQTT or HTTP; ``tick`` executes them.
        state: what is saved for the next process.
        leaving: set when no engine is worth loading any more: ``start`` then returns early.
        evidence: where pictures of alerts are saved.
    """

    def __init__(
        self,
        settings: PipelineSettings,
        publisher: Publisher,
        clock: Clock,
        commands: queue.SimpleQueue[Command],
        state: NodeState,
        leaving: threading.Event,
        evidence: EvidenceStore | None = None,
        observers: Observers = NO_OBSERVERS,
    ) -> None:
        self._settings = settings
        self._publisher = publisher
        self._clock = clock
        self._commands = commands
        self._state = state
        self._evidence = evidence
        # Several streams of one thread give more frames a second than one of several.
        self._streams = whole_cpus()
        self._stop = threading.Event()
        self._scheduler = Scheduler(clock)
        self._monitor = EngineMonitor()
        self._engines = EnginePool(clock, leaving, self._monitor)
        self._overload = OverloadController(
            self._engines, self._scheduler, clock, self._streams, self._budget(settings.budget)
        )
        self._cameras: dict[str, RunningCamera] = {}
        self._builder = CameraBuilder(publisher, clock, state, self._scheduler, evidence, observers)
        self._executor = CommandExecutor(
            self._cameras, state, publisher, evidence, lambda: self._overload.watch(self._cameras)
        )
        self._seqs: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(1))
        self._workers: ThreadPoolExecutor | None = None
        self._working: list[Future[None]] = []
        self._started_at_s = 0.0
        self._stats_due_s = 0.0

    def start(self) -> None:
        """Try the cameras, load the engines meanwhile, then begin with the clips and let the workers go.

        Returns when every engine is loaded and every camera is being tried. Raises ModelError and
        EngineError.
        """
        self._started_at_s = self._clock.monotonic_s()
        # At once: how long nothing watched, and why.
        self._stats_due_s = self._started_at_s
        needs = needs_of(self._settings)
        start_fork_server()
        saved = self._state.memories()
        for camera in self._settings.cameras:
            self._add(camera, needs[camera.name], self._restore(camera, needs[camera.name], saved))
            # A camera may take long to connect; a clip would be half over before anybody could look.
            if not self._cameras[camera.name].live.finite:
                self._builder.begin(self._cameras[camera.name])
        self._end_alerts_of_gone(saved)
        if not self._load(needs):
            return
        for running in self._cameras.values():
            if running.live.finite:
                self._builder.begin(running)
        self._overload.watch(self._cameras)
        self._workers = ThreadPoolExecutor(self._streams, thread_name_prefix="worker")
        self._working = [self._workers.submit(self._work) for _ in range(self._streams)]

    def stop(self) -> None:
        """Stop cameras and workers; a frame that is being analysed is finished and published, unless that
        takes long. Idempotent."""
        self._stop.set()
        self._stop_cameras(self._cameras)
        self._scheduler.close()
        if self._workers is not None:
            wait(self._working, _LAST_FRAME_WITHIN_S)
            self._monitor.cancel_all()
            self._workers.shutdown()
        for name, running in self._cameras.items():
            running.live.camera.leave()
            if running.live.finished:
                # The next time the clip begins anew, and so do its alerts.
                self._state.forget(name)
        self._engines.close()

    def apply(self, settings: PipelineSettings) -> None:
        """Change over to a new file, as ``reload.plan`` says.

        Raises ModelError and EngineError before anything was touched.
        """
        needs = needs_of(settings)
        running = {
            name: Configured(camera.settings, camera.key, camera.model.classes)
            for name, camera in self._cameras.items()
        }
        change = plan(self._settings, settings, running, needs)
        if not self._load(needs):
            return
        self._stop_cameras(change.stopped)
        restored = {name: self._retire(name, change) for name in change.stopped}
        if settings.budget != self._settings.budget:
            self._overload.allow(self._budget(settings.budget))
        self._settings = settings
        if self._evidence is not None:
            self._evidence.budget = settings.evidence_budget
        for camera in change.started:
            self._add(camera, needs[camera.name], restored.get(camera.name))
            self._builder.begin(self._cameras[camera.name])
        self._overload.watch(self._cameras)
        # At once: which file is in force.
        self._stats_due_s = self._clock.monotonic_s()

    def _retire(self, name: str, change: ReloadPlan) -> RestoredState:
        """Take a stopped camera away. Returns what its successor goes on with."""
        camera, rules = self._cameras.pop(name).live.camera, change.carried[name]
        camera.retire(rules)
        self._publisher.send(CameraRemoved(name))
        if name in change.removed:
            self._state.forget(name)
        return RestoredState(carried_over(camera.memory, rules))

    def tick(self) -> None:
        """Once a second: execute commands, notice what did not happen. Raises what a worker raised."""
        for worker in self._working:
            if worker.done():
                worker.result()
        while not self._commands.empty():
            self._executor.execute(self._commands.get())
        for running in self._cameras.values():
            running.live.camera.tick()
        self._state.tick()
        self._overload.tick()
        now_s = self._clock.monotonic_s()
        if now_s >= self._stats_due_s:
            self._stats_due_s += _STATS_EVERY_S
            self._publisher.send(self.stats())

    @property
    def loads_moved(self) -> int:
        """Grows while engines are loaded and measured. Any thread."""
        return self._monitor.loads_moved

    def stages(self, held_up: str | None) -> Iterator[Stage]:
        """What has to move, for the watchdog. held_up: why workers cannot publish, if so. Any thread."""
        for name, verdict in self._monitor.look(held_up):
            yield Stage(name, None, 0.0, verdict=verdict)
        if self._working:
            idle = len(self._scheduler.turns()) < self._streams and self._scheduler.has_free
            waits = held_up if idle else "no camera waits for a worker"
            yield Stage("the workers", self._scheduler.taken, _WORKERS_HANG_AFTER_S, waits)
        for name, running in list(self._cameras.items()):
            waits = "switched off" if not running.live.running else "ended" if running.live.finished else None
            yield Stage(f"the capture of camera {name}", running.live.turns, _CAPTURE_HANGS_AFTER_S, waits)

    @property
    def finished(self) -> bool:
        """Whether all sources are finite (clips, folders) and have ended."""
        return all(running.live.finished for running in self._cameras.values())

    def raise_for_unreadable(self) -> None:
        """Raises the SourceError of the first finite source that could not be read to its end."""
        for name, running in self._cameras.items():
            failure = running.live.failure
            if failure is not None and failure.reason != "ended":
                raise SourceError(failure.reason, f"camera {name}: {failure}")

    def summary(self) -> str:
        """Return one line for people, e.g. ``3 of 4 cameras live``."""
        return node_stats.summary(self._cameras, self._state)

    def _budget(self, settings: BudgetSettings | None) -> Budget:
        return budget_of(
            settings, lambda: [pid for one in list(self._cameras.values()) if (pid := one.live.pid)]
        )

    def _add(self, settings: CameraSettings, need: Need, restored: RestoredState | None = None) -> None:
        self._cameras[settings.name] = self._builder.build(
            settings, need, self._settings, self._seqs[settings.name], restored
        )

    def _restore(self, settings: CameraSettings, need: Need, saved: Mapping[str, str]) -> RestoredState:
        prints = fingerprints(settings.zones, need.model.classes)
        return restore(self._state, settings.name, saved.get(settings.name), prints)

    def _end_alerts_of_gone(self, saved: Mapping[str, str]) -> None:
        """End the alerts of cameras that went from the file while nothing ran."""
        for name in saved.keys() - self._cameras.keys():
            with self._state.together():
                for end in restore(self._state, name, saved[name], None).ends:
                    self._publisher.send(end)
                self._state.forget(name)

    def _stop_cameras(self, names: Iterable[str]) -> None:
        lives = [self._cameras[name].live for name in names]
        for live in lives:
            live.ask_to_stop()
        for live in lives:
            live.stop()

    def _load(self, needs: Mapping[str, Need]) -> bool:
        return self._engines.load(needs.values(), idle_threads=self._streams // len(needs))

    def _work(self) -> None:
        while not self._stop.is_set():
            name = self._scheduler.take(_TAKE_TIMEOUT_S)
            if name is None:
                continue
            analysed = False
            try:
                # None for a camera that a reload has just taken away.
                if (running := self._cameras.get(name)) is not None:
                    with self._monitor.turn(f"the analysis of a picture of camera {name}"):
                        analysed = running.live.analyse(partial(self._engine, running.key))
            finally:
                self._scheduler.done(name, analysed=analysed)

    def _engine(self, key: EngineKey, input_size_px: tuple[int, int]) -> Engine | None:
        return self._engines.get(replace(key, input_size_px=input_size_px))

    def request_frame(self, camera: str) -> None:
        """Have a camera's next picture analysed even where nothing moves. Any thread."""
        running = self._cameras.get(camera)
        if running is not None:
            running.live.request_frame()

    @property
    def cameras(self) -> Mapping[str, RunningCamera]:
        """The cameras that are in force now. Any thread."""
        return dict(self._cameras)

    @property
    def evidence(self) -> EvidenceStore | None:
        """Where pictures of alerts are saved."""
        return self._evidence

    def engine_of(self, camera: str) -> Engine | None:
        """What runs its network; None while that is loading. Any thread."""
        running = self._cameras.get(camera)
        return None if running is None else self._engines.get(running.key)

    def stats(self) -> NodeStats:
        """Return the counters of now, without those of the publisher. Any thread."""
        return node_stats.collect(
            self.cameras,
            self._overload,
            self._state,
            self._clock,
            self._started_at_s,
            self._settings.digest,
        )
