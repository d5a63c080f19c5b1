"""Builds the cameras, engines and workers of a pipeline file, keeps them going, and takes them down."""

from __future__ import annotations

import logging
import os
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from edgeseg import registry
from edgeseg.camera import Camera
from edgeseg.clock import Clock
from edgeseg.engines.base import Engine
from edgeseg.engines.select import choose, open_engine
from edgeseg.errors import SourceError
from edgeseg.frames import CameraRemoved, NodeStats
from edgeseg.live import LiveCapture
from edgeseg.manifest import Model
from edgeseg.pipeline import CameraPipeline
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
    """Cameras that agree on these share one engine."""

    model: str
    engine: str
    input_size_px: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class _Post:
    """One camera and what works for it."""

    live: LiveCapture
    model: Model
    key: _EngineKey


class Supervisor:
    """Everything that runs for one pipeline file. ``tick`` belongs to the thread that called ``start``."""

    def __init__(self, settings: PipelineSettings, publisher: Publisher, clock: Clock) -> None:
        self._settings = settings
        self._publisher = publisher
        self._clock = clock
        cores = len(os.sched_getaffinity(0))
        # Several streams of few threads give more frames a second than one of many.
        self._streams = min(len(settings.cameras), cores)
        self._threads_per_stream = max(1, cores // self._streams)
        self._scheduler = Scheduler()
        self._posts: dict[str, _Post] = {}
        self._engines: dict[_EngineKey, Engine] = {}
        self._workers: ThreadPoolExecutor | None = None
        self._working: list[Future[None]] = []
        self._busy_since_s: dict[int, float] = {}
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
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
        warm_up()
        for camera in self._settings.cameras:
            self._add(camera)
        for post in self._posts.values():
            self._load(post.model, post.key)
        self._workers = ThreadPoolExecutor(self._streams, thread_name_prefix="worker")
        self._working = [self._workers.submit(self._work, number) for number in range(self._streams)]

    def stop(self) -> None:
        """Stop cameras and workers; a frame that is being analysed is finished and published. Idempotent."""
        self._stop.set()
        for post in self._posts.values():
            post.live.ask_to_stop()
        for post in self._posts.values():
            post.live.stop()
        self._scheduler.close()
        if self._workers is not None:
            self._workers.shutdown()
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()

    def apply(self, settings: PipelineSettings) -> None:
        """Change over to a new file. Cameras whose settings did not change notice nothing.

        Raises ModelError and EngineError before anything was touched.
        """
        before = {camera.name: camera for camera in self._settings.cameras}
        after = {camera.name: camera for camera in settings.cameras}
        same_groups = settings.groups == self._settings.groups
        kept = {name for name in after if same_groups and before.get(name) == after[name]}
        for name in after.keys() - kept:
            self._load(*_needs(after[name]))
        for name in before.keys() - kept:
            self._remove(name)
        self._settings = settings
        for camera in settings.cameras:
            if camera.name not in kept:
                self._add(camera)
        for key in self._engines.keys() - {post.key for post in self._posts.values()}:
            self._engines.pop(key).close()

    def command(self, command: Command) -> None:
        """Take a wish that came over MQTT; the next ``tick`` grants it. Callable from any thread."""
        self._commands.put(command)

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

    def _add(self, settings: CameraSettings) -> None:
        model, key = _needs(settings)
        pipeline = CameraPipeline(self._settings.node, settings, model, self._settings.groups)
        camera = Camera(self._settings.node, settings, pipeline, model, self._publisher, self._clock)
        preprocess = Preprocess(settings.fit or model.fit, key.input_size_px)
        live = LiveCapture(settings, camera, preprocess, self._scheduler, self._clock)
        self._posts[settings.name] = _Post(live, model, key)
        live.start()

    def _remove(self, name: str) -> None:
        post = self._posts.pop(name)
        post.live.stop()
        post.live.camera.retire()
        self._publisher.send(CameraRemoved(name))

    def _load(self, model: Model, key: _EngineKey) -> None:
        if key not in self._engines:
            self._engines[key] = open_engine(
                model, key.engine, key.input_size_px, threads=self._threads_per_stream
            )

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
            post.live.camera.ask_for_snapshot()
        elif command.thing == "rate":
            assert isinstance(command.value, float)
            post.live.set_rate(command.value)
        elif command.value and not post.live.running:
            post.live.start()
        elif not command.value:
            post.live.stop()
            post.live.camera.disabled()
        if post is not None and command.thing == "enabled":
            post.live.camera.say_enabled(bool(command.value))

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


def _needs(settings: CameraSettings) -> tuple[Model, _EngineKey]:
    """The model of a camera and which engine it runs on. Raises ModelError, EngineError."""
    model = registry.find(settings.model)
    _, artefact = choose(model, settings.engine, settings.input_size_px)
    size_px = settings.input_size_px or artefact.input.size_px
    return model, _EngineKey(settings.model, settings.engine, size_px)
