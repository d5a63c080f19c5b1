"""Builds the cameras, engines and workers of a pipeline file, keeps them going, and takes them down."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

from edgeseg import registry, trial
from edgeseg.camera import Camera
from edgeseg.clock import Clock
from edgeseg.engines.base import Engine
from edgeseg.engines.select import choose
from edgeseg.errors import EdgesegError, SourceError
from edgeseg.frames import CameraRemoved, NodeStats
from edgeseg.live import LiveCapture
from edgeseg.manifest import Model
from edgeseg.preprocess import Preprocess
from edgeseg.publish.base import Command, Publisher
from edgeseg.scheduler import Scheduler
from edgeseg.settings import CameraSettings, PipelineSettings
from edgeseg.sources.capture_process import warm_up

log = logging.getLogger(__name__)

# No network here takes this long for one frame on any device we support: the runtime hangs. Without pings
# systemd then restarts the daemon.
_ENGINE_HANGS_AFTER_S = 10.0
_STATS_EVERY_S = 60.0
_TAKE_TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True)
class _EngineKey:
    """Cameras that agree on these share one engine. digest: of the model's manifest."""

    digest: str
    engine: str
    input_size_px: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class _Post:
    """One camera and what works for it."""

    settings: CameraSettings
    live: LiveCapture
    key: _EngineKey


@dataclass(frozen=True, slots=True, eq=False)
class _Need:
    """What a camera of a pipeline file needs before it can be watched."""

    model: Model
    key: _EngineKey


class Supervisor:
    """Everything that runs for one pipeline file. All belongs to the thread that calls ``start``.

    commands: wishes that came over MQTT; ``tick`` grants them.
    """

    def __init__(
        self,
        settings: PipelineSettings,
        publisher: Publisher,
        clock: Clock,
        commands: queue.SimpleQueue[Command],
    ) -> None:
        self._settings = settings
        self._publisher = publisher
        self._clock = clock
        self._commands = commands
        cores = len(os.sched_getaffinity(0))
        # Several streams of few threads give more frames a second than one of many.
        self._streams = min(len(settings.cameras), cores)
        self._threads_per_stream = max(1, cores // self._streams)
        self._scheduler = Scheduler()
        self._posts: dict[str, _Post] = {}
        self._seqs: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(1))
        self._engines: dict[_EngineKey, Engine] = {}
        self._workers: ThreadPoolExecutor | None = None
        self._working: list[Future[None]] = []
        self._busy_since_s: dict[int, float] = {}
        self._stop = threading.Event()
        self._started_at_s = 0.0
        self._stats_due_s = 0.0

    def start(self) -> None:
        """Try the cameras, load the engines meanwhile, then let the workers go.

        Returns when every engine is loaded and every camera is being tried. Raises ModelError and
        EngineError.
        """
        self._started_at_s = self._clock.monotonic_s()
        self._stats_due_s = self._started_at_s + _STATS_EVERY_S
        needs = {camera.name: _need(camera) for camera in self._settings.cameras}
        warm_up()
        for camera in self._settings.cameras:
            self._add(camera, needs[camera.name])
        self._engines.update(self._load(needs.values()))
        self._workers = ThreadPoolExecutor(self._streams, thread_name_prefix="worker")
        self._working = [self._workers.submit(self._work, number) for number in range(self._streams)]

    def stop(self) -> None:
        """Stop cameras and workers; a frame that is being analysed is finished and published. Idempotent."""
        self._stop.set()
        self._stop_cameras(self._posts)
        self._scheduler.close()
        if self._workers is not None:
            self._workers.shutdown()
        for post in self._posts.values():
            post.live.camera.leave()
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()

    def apply(self, settings: PipelineSettings) -> None:
        """Change over to a new file. Cameras whose settings and model did not change notice nothing.

        Raises ModelError and EngineError before anything was touched.
        """
        same_groups = settings.groups == self._settings.groups
        needs = {camera.name: _need(camera) for camera in settings.cameras}
        kept = {
            camera.name
            for camera in settings.cameras
            if (post := self._posts.get(camera.name)) is not None
            and same_groups
            and (post.settings, post.key) == (camera, needs[camera.name].key)
        }
        loaded = self._load(needs.values())
        gone = self._posts.keys() - kept
        self._stop_cameras(gone)
        for name in gone:
            self._posts.pop(name).live.camera.retire()
            self._publisher.send(CameraRemoved(name))
        self._engines.update(loaded)
        self._settings = settings
        for camera in settings.cameras:
            if camera.name not in kept:
                self._add(camera, needs[camera.name])
        for key in self._engines.keys() - {post.key for post in self._posts.values()}:
            self._engines.pop(key).close()

    def tick(self) -> None:
        """Once a second: grant wishes, notice what did not happen. Raises what a worker raised."""
        for worker in self._working:
            if worker.done():
                worker.result()
        while not self._commands.empty():
            self._obey(self._commands.get())
        for post in self._posts.values():
            post.live.camera.tick()
        now_s = self._clock.monotonic_s()
        if now_s >= self._stats_due_s:
            self._stats_due_s += _STATS_EVERY_S
            self._publisher.send(self._stats(now_s))

    @property
    def progressing(self) -> bool:
        """Whether no worker is stuck in an engine and none has died."""
        now_s = self._clock.monotonic_s()
        stuck = any(now_s - since_s > _ENGINE_HANGS_AFTER_S for since_s in list(self._busy_since_s.values()))
        return not stuck and not any(worker.done() for worker in self._working)

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
        return f"{live} of {len(self._posts)} cameras live"

    def _add(self, settings: CameraSettings, need: _Need) -> None:
        camera = Camera(
            self._settings.node,
            settings,
            need.model,
            self._settings.groups,
            self._publisher,
            self._clock,
            self._seqs[settings.name],
        )
        preprocess = Preprocess(settings.fit or need.model.fit, need.key.input_size_px)
        live = LiveCapture(settings, camera, preprocess, self._scheduler, self._clock)
        self._posts[settings.name] = _Post(settings, live, need.key)
        live.start()

    def _stop_cameras(self, names: Iterable[str]) -> None:
        lives = [self._posts[name].live for name in names]
        for live in lives:
            live.ask_to_stop()
        for live in lives:
            live.stop()

    def _load(self, needs: Iterable[_Need]) -> dict[_EngineKey, Engine]:
        """The engines that are not there yet: all of them or, when one fails, none."""
        loaded: dict[_EngineKey, Engine] = {}
        try:
            for need in needs:
                if need.key not in self._engines and need.key not in loaded:
                    key, threads = need.key, self._threads_per_stream
                    loaded[key] = trial.open_best(
                        need.model, key.engine, key.input_size_px, threads, self._stop, self._clock
                    )
        except EdgesegError:
            for engine in loaded.values():
                engine.close()
            raise
        return loaded

    def _work(self, number: int) -> None:
        while not self._stop.is_set():
            name = self._scheduler.take(_TAKE_TIMEOUT_S)
            if name is None:
                continue
            self._busy_since_s[number] = self._clock.monotonic_s()
            try:
                post = self._posts.get(name)
                engine = self._engines.get(post.key) if post is not None else None
                # Both are None for a camera that a reload has just taken away.
                if post is not None and engine is not None:
                    post.live.analyse(engine)
            finally:
                del self._busy_since_s[number]
                self._scheduler.done(name)

    def _obey(self, command: Command) -> None:
        post = self._posts.get(command.camera)
        if post is None:
            log.warning("command %s for camera %s ignored: no such camera", command.thing, command.camera)
        elif command.thing == "snapshot":
            post.live.ask_for_snapshot()
        elif command.thing == "rate" and command.value is not None:
            post.live.set_rate(command.value)
        elif command.thing == "enabled" and not command.value:
            post.live.stop()
            post.live.camera.disabled()
        elif command.thing == "enabled" and not post.live.running:
            post.live.start()

    def _stats(self, now_s: float) -> NodeStats:
        lives = {name: post.live for name, post in self._posts.items()}
        return NodeStats(
            at_s=self._clock.utc_s(),
            uptime_s=now_s - self._started_at_s,
            analysed={name: live.camera.analysed for name, live in lives.items()},
            dropped={name: live.dropped for name, live in lives.items()},
            reconnects={name: live.reconnects for name, live in lives.items()},
            # The publisher that has an outbox fills these in.
            outbox_waiting=0,
            outbox_dropped=0,
        )


def _need(settings: CameraSettings) -> _Need:
    """Raises ModelError, EngineError."""
    model = registry.find(settings.model)
    _, artefact = choose(model, settings.engine, settings.input_size_px)
    size_px = settings.input_size_px or artefact.input.size_px
    return _Need(model, _EngineKey(model.digest, settings.engine, size_px))
