"""Builds the cameras, engines and workers of a pipeline file, keeps them going, and takes them down."""

from __future__ import annotations

import logging
import queue
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from itertools import count

from edgeseg import __version__
from edgeseg.capture.fork_server import start_fork_server
from edgeseg.clock import Clock
from edgeseg.engines.base import Engine
from edgeseg.engines.select import choose
from edgeseg.errors import SourceError
from edgeseg.events import CameraRemoved, CommandAnswer, NodeStats, PreviousRun
from edgeseg.evidence.store import EvidenceStore
from edgeseg.models import registry
from edgeseg.observers import NO_OBSERVERS, Observers
from edgeseg.publish.base import Command, Publisher
from edgeseg.rules import carried_over, unchanged
from edgeseg.rules.serialization import fingerprints
from edgeseg.runtime.camera import Camera
from edgeseg.runtime.camera_memory import RestoredState, restore
from edgeseg.runtime.capture_loop import LiveCapture
from edgeseg.runtime.engine_monitor import EngineMonitor
from edgeseg.runtime.engine_pool import EngineKey, EnginePool, Need
from edgeseg.runtime.overload.budget import Budget, CpuUse, Limit, PowerUse
from edgeseg.runtime.overload.controller import OverloadController
from edgeseg.runtime.running_camera import RunningCamera
from edgeseg.runtime.scheduler import Scheduler
from edgeseg.runtime.watchdog import Stage
from edgeseg.settings import BudgetSettings, CameraSettings, PipelineSettings
from edgeseg.stages.preprocess import Preprocess
from edgeseg.state.node_state import CameraStateView, State
from edgeseg.state.reference_views import CameraViews
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

    commands: wishes that came over MQTT; ``tick`` grants them. state: what is kept for the next process.
    leaving: set when no engine is worth loading any more: ``start`` then returns early.
    evidence: where pictures of alerts are kept.
    """

    def __init__(
        self,
        settings: PipelineSettings,
        publisher: Publisher,
        clock: Clock,
        commands: queue.SimpleQueue[Command],
        state: State,
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
        self._observers = observers
        # Several streams of one thread give more frames a second than one of several.
        self._streams = whole_cpus()
        self._stop = threading.Event()
        self._scheduler = Scheduler(clock)
        self._monitor = EngineMonitor()
        self._engines = EnginePool(clock, leaving, self._monitor)
        self._relief = OverloadController(
            self._engines, self._scheduler, clock, self._streams, self._budget(settings.budget)
        )
        self._posts: dict[str, RunningCamera] = {}
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
        needs = _needs(self._settings)
        start_fork_server()
        kept = self._state.memories()
        for camera in self._settings.cameras:
            self._add(camera, needs[camera.name], self._restore(camera, needs[camera.name], kept))
            # A camera may take long to connect; a clip would be half over before anybody could look.
            if not self._posts[camera.name].live.finite:
                self._begin(self._posts[camera.name])
        self._end_alerts_of_gone(kept)
        if not self._load(needs):
            return
        for post in self._posts.values():
            if post.live.finite:
                self._begin(post)
        self._relief.watch(self._posts)
        self._workers = ThreadPoolExecutor(self._streams, thread_name_prefix="worker")
        self._working = [self._workers.submit(self._work) for _ in range(self._streams)]

    def stop(self) -> None:
        """Stop cameras and workers; a frame that is being analysed is finished and published, unless that
        takes long. Idempotent."""
        self._stop.set()
        self._stop_cameras(self._posts)
        self._scheduler.close()
        if self._workers is not None:
            wait(self._working, _LAST_FRAME_WITHIN_S)
            self._monitor.cancel_all()
            self._workers.shutdown()
        for name, post in self._posts.items():
            post.live.camera.leave()
            if post.live.finished:
                # The next time the clip begins anew, and so do its alerts.
                self._state.forget(name)
        self._engines.close()

    def apply(self, settings: PipelineSettings) -> None:
        """Change over to a new file. Cameras whose settings and model did not change notice nothing; the
        others keep what the rules know that did not change.

        Raises ModelError and EngineError before anything was touched.
        """
        same_groups = settings.groups == self._settings.groups
        needs = _needs(settings)
        kept = {
            camera.name
            for camera in settings.cameras
            if (post := self._posts.get(camera.name)) is not None
            and same_groups
            and (post.settings, post.key) == (camera, needs[camera.name].key)
        }
        if not self._load(needs):
            return
        gone = {name: self._posts[name] for name in self._posts.keys() - kept}
        self._stop_cameras(gone)
        successors = {camera.name: camera for camera in settings.cameras}
        memories = {}
        for name, post in gone.items():
            del self._posts[name]
            same: Collection[tuple[str, str]] = ()
            # Other classes give old memories another meaning.
            if name in successors and post.model.classes == needs[name].model.classes:
                same = unchanged(post.settings.zones, successors[name].zones)
            post.live.camera.retire(same)
            memories[name] = RestoredState(carried_over(post.live.camera.memory, same))
            self._publisher.send(CameraRemoved(name))
            if name not in successors:
                self._state.forget(name)
        if settings.budget != self._settings.budget:
            self._relief.allow(self._budget(settings.budget))
        self._settings = settings
        if self._evidence is not None:
            self._evidence.budget = settings.evidence_budget
        for camera in settings.cameras:
            if camera.name not in kept:
                self._add(camera, needs[camera.name], memories.get(camera.name))
                self._begin(self._posts[camera.name])
        self._relief.watch(self._posts)
        # At once: which file is in force.
        self._stats_due_s = self._clock.monotonic_s()

    def tick(self) -> None:
        """Once a second: grant wishes, notice what did not happen. Raises what a worker raised."""
        for worker in self._working:
            if worker.done():
                worker.result()
        while not self._commands.empty():
            self._execute(self._commands.get())
        for post in self._posts.values():
            post.live.camera.tick()
        self._state.tick()
        self._relief.tick()
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
        for name, post in list(self._posts.items()):
            waits = "switched off" if not post.live.running else "ended" if post.live.finished else None
            yield Stage(f"the capture of camera {name}", post.live.turns, _CAPTURE_HANGS_AFTER_S, waits)

    @property
    def finished(self) -> bool:
        """Whether all sources are finite (clips, folders) and have ended."""
        return all(post.live.finished for post in self._posts.values())

    def raise_for_unreadable(self) -> None:
        """Raises the SourceError of the first finite source that could not be read to its end."""
        for name, post in self._posts.items():
            failure = post.live.failure
            if failure is not None and failure.reason != "ended":
                raise SourceError(failure.reason, f"camera {name}: {failure}")

    def summary(self) -> str:
        """One line for people, e.g. ``3 of 4 cameras live``."""
        live = sum(post.live.camera.state == "live" for post in self._posts.values())
        past = self._state.past
        restarts = f", {past.restarts} unplanned restarts in 24 h" if past.restarts else ""
        last = f", the last after: {past.ended}" if past.unplanned else ""
        return f"{live} of {len(self._posts)} cameras live{restarts}{last}"

    def _budget(self, settings: BudgetSettings | None) -> Budget:
        limits = []
        if settings is not None and settings.cpu is not None:
            use = CpuUse(lambda: [pid for post in list(self._posts.values()) if (pid := post.live.pid)])
            limits.append(Limit(use.total, settings.cpu, f"{settings.cpu:.0%} CPU"))
        if settings is not None and settings.watts is not None:
            limits.append(Limit(PowerUse().total, settings.watts, f"{settings.watts:g} W"))
        return Budget(limits)

    def _add(
        self,
        settings: CameraSettings,
        need: Need,
        restored: RestoredState | None = None,
    ) -> None:
        camera = Camera(
            # Camera time repeats when the machine is started again, alerts' ids must not.
            f"{self._settings.node} {self._state.now().boot}",
            settings,
            need.model,
            self._settings.groups,
            self._publisher,
            self._clock,
            self._seqs[settings.name],
            view=CameraStateView(self._state, settings.name),
            restored=restored,
            evidence=self._evidence.collector(settings, need.model) if self._evidence else None,
            observers=self._observers,
        )
        fit = settings.fit or need.model.fit
        live = LiveCapture(
            settings,
            camera,
            Preprocess(fit, need.key.input_size_px),
            self._scheduler,
            self._clock,
            CameraViews(self._state, settings.name),
            self._evidence.keep_clip if self._evidence else None,
        )
        if self._evidence is not None:
            self._evidence.record(settings.name, live.take_clip)
        self._posts[settings.name] = RunningCamera(settings, live, need.model, need.key, fit)
        if restored is not None:
            camera.publish_ends(restored.ends)

    def _restore(self, settings: CameraSettings, need: Need, kept: Mapping[str, str]) -> RestoredState:
        prints = fingerprints(settings.zones, need.model.classes)
        return restore(self._state, settings.name, kept.get(settings.name), prints)

    def _begin(self, post: RunningCamera) -> None:
        """Try the camera, as far as commands have not wished otherwise."""
        name, wish = post.settings.name, self._state.wish(post.settings.name)
        if wish.rate_fps is not None and wish.rate_of_file_fps == post.settings.rate_fps:
            post.live.set_rate(wish.rate_fps)
        if wish.enabled is False:
            log.info("camera %s: stays switched off, as a command wished", name)
            post.live.camera.disabled()
        else:
            post.live.start()

    def _end_alerts_of_gone(self, kept: Mapping[str, str]) -> None:
        """Cameras that went from the file while nothing ran: what was on there ends."""
        for name in kept.keys() - self._posts.keys():
            with self._state.together():
                for end in restore(self._state, name, kept[name], None).ends:
                    self._publisher.send(end)
                self._state.forget(name)

    def _stop_cameras(self, names: Iterable[str]) -> None:
        lives = [self._posts[name].live for name in names]
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
                if (post := self._posts.get(name)) is not None:
                    with self._monitor.turn(f"the analysis of a picture of camera {name}"):
                        analysed = post.live.analyse(partial(self._engine, post.key))
            finally:
                self._scheduler.done(name, analysed=analysed)

    def _engine(self, key: EngineKey, input_size_px: tuple[int, int]) -> Engine | None:
        return self._engines.get(replace(key, input_size_px=input_size_px))

    def _execute(self, command: Command) -> None:
        post = self._posts.get(command.camera)
        if post is None:
            log.warning("command %s for camera %s ignored: no such camera", command.thing, command.camera)
        elif command.thing == "snapshot":
            post.live.ask_for_snapshot()
        elif command.thing == "evidence":
            picture = self._evidence.picture(command.camera, str(command.value)) if self._evidence else None
            self._publisher.send(CommandAnswer(command.camera, "evidence", picture or b""))
        elif command.thing == "rate" and isinstance(command.value, float):
            wish = self._state.wish(command.camera)
            wish = replace(wish, rate_fps=command.value, rate_of_file_fps=post.settings.rate_fps)
            self._state.keep_wish(command.camera, wish)
            post.live.set_rate(command.value)
            self._relief.watch(self._posts)
        elif command.thing == "enabled":
            wish = replace(self._state.wish(command.camera), enabled=bool(command.value))
            self._state.keep_wish(command.camera, wish)
            if not command.value:
                post.live.stop()
                post.live.camera.disabled()
            elif not post.live.running:
                post.live.start()

    def request_frame(self, camera: str) -> None:
        """Somebody looks at a camera: its next picture is analysed even where nothing moves. Any thread."""
        post = self._posts.get(camera)
        if post is not None:
            post.live.request_frame()

    @property
    def cameras(self) -> Mapping[str, RunningCamera]:
        """The cameras that are in force now. Any thread."""
        return dict(self._posts)

    @property
    def evidence(self) -> EvidenceStore | None:
        """Where pictures of alerts are kept."""
        return self._evidence

    def engine_of(self, camera: str) -> Engine | None:
        """What runs its network; None while that is loading. Any thread."""
        post = self._posts.get(camera)
        return None if post is None else self._engines.get(post.key)

    def stats(self) -> NodeStats:
        """The counters of now, without those of the publisher. Any thread."""
        lives = {name: post.live for name, post in self.cameras.items()}
        past = self._state.past
        return NodeStats(
            at_s=self._clock.utc_s(),
            uptime_s=self._clock.monotonic_s() - self._started_at_s,
            analysed={name: live.camera.analysed for name, live in lives.items()},
            dropped={name: live.dropped for name, live in lives.items()},
            reconnects={name: live.reconnects for name, live in lives.items()},
            busy=self._relief.load.busy,
            demand=self._relief.load.demand,
            degraded=self._relief.degraded,
            # The publisher that has an outbox fills these in.
            outbox_waiting=0,
            outbox_dropped=0,
            restarts=past.restarts,
            previous=None
            if past.ended is None or past.down is None
            else PreviousRun(past.ended, past.down.duration_s, past.down.trusted),
            version=__version__,
            pipeline=self._settings.digest,
        )


def _needs(settings: PipelineSettings) -> dict[str, Need]:
    """Camera -> what it needs, the fastest camera first. Raises ModelError and EngineError."""
    models = {name: registry.find(name) for name in {camera.model for camera in settings.cameras}}
    needs = {}
    for camera in sorted(settings.cameras, key=lambda camera: -camera.rate_fps):
        model = models[camera.model]
        _, artefact = choose(model, camera.engine, camera.input_size_px)
        size_px = camera.input_size_px or artefact.input.size_px
        key = EngineKey(model.digest, camera.engine, size_px, camera.remote, camera.refine)
        needs[camera.name] = Need(model, key, camera.rate_fps)
    return needs
