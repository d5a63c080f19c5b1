"""The loaded networks that cameras share: one for each model, engine and input size."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from edgeseg.clock import Clock
from edgeseg.engines import autotune
from edgeseg.engines.base import Engine
from edgeseg.engines.refine import refined
from edgeseg.engines.select import choose, open_engine
from edgeseg.errors import EdgesegError
from edgeseg.kserve import RemoteEngine, open_remote
from edgeseg.models import registry
from edgeseg.models.model import Model
from edgeseg.models.runtimes import AUTO, ENGINES
from edgeseg.runtime.engine_monitor import EngineMonitor, MonitoredEngine
from edgeseg.settings import PipelineSettings, Refinement, RemoteSettings

log = logging.getLogger(__name__)

# Share of a frame's interval that one thread may need before more threads help where cores are idle; they
# cost more CPU time than they save.
_ONE_THREAD_SUFFICES = 0.6
# One run says enough of a network that takes longer.
_ONE_WARM_UP_FROM_S = 5.0
# These compute in the thread that calls them, where they have one thread for a run.
_IN_CALLERS_THREAD = ("onnxruntime", "litert")
# A request that fails is repeated once.
_REQUESTS = 2
# A size that no camera needs any more is kept a while: a frame of it may be under way, and it may be needed
# again soon.
_KEEP_UNUSED_S = 120.0


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Cameras that agree on these share one engine. digest: of the model's manifest. remote: servers that run
    it instead of an engine here. refine: what is asked of the network beyond one answer."""

    digest: str
    engine: str
    input_size_px: tuple[int, int]
    remote: RemoteSettings | None = None
    refine: tuple[Refinement, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Need:
    """What cameras need. rate_fps: of the fastest of them."""

    model: Model
    key: EngineKey
    rate_fps: float


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    """engine: as it was opened. watched: the same, for those who run it. run_s: what one picture took when it
    had warmed up."""

    engine: Engine
    watched: MonitoredEngine
    threads: int
    run_s: float


class EnginePool:
    """Loads, lends and closes. ``get`` may be called from any thread, the rest belongs to one.

    stop: ends measurements that are under way, and loads nothing more. monitor: watches every run.
    """

    def __init__(self, clock: Clock, stop: threading.Event, monitor: EngineMonitor | None = None) -> None:
        self._clock = clock
        self._monitor = monitor or EngineMonitor()
        self._stop = stop
        self._loaded: dict[EngineKey, _Loaded] = {}
        self._unused_since_s: dict[EngineKey, float] = {}
        self._loader: ThreadPoolExecutor | None = None
        self._coming: dict[EngineKey, Future[_Loaded]] = {}

    def load(self, needs: Iterable[Need], idle_threads: int) -> bool:
        """Load what is not there yet: all or, when one fails, nothing. Raises ModelError and EngineError.
        Returns whether all is loaded: not where it was told to stop meanwhile.

        A network gets one thread for a run, which costs the least CPU time. idle_threads: it may have that
        many where one cannot keep up with the rate.
        """
        loaded: dict[EngineKey, _Loaded] = {}
        try:
            for need in needs:
                if self._stop.is_set():
                    break
                if need.key not in self._loaded and need.key not in loaded:
                    loaded[need.key] = self._open(need, idle_threads)
        except EdgesegError:
            for one in loaded.values():
                one.engine.close()
            raise
        self._loaded.update(loaded)
        return not self._stop.is_set()

    def get(self, key: EngineKey) -> Engine | None:
        """The engine, None while it is not loaded."""
        loaded = self._loaded.get(key)
        return loaded.watched if loaded is not None else None

    def standing_in(self, key: EngineKey) -> str | None:
        """The engine that works in place of servers that are away; ``none`` where frames are lost meanwhile,
        None while all is as it was set."""
        loaded = self._loaded.get(key)
        if loaded is None or not isinstance(loaded.engine, RemoteEngine):
            return None
        return loaded.engine.running_fallback

    def run_s(self, key: EngineKey) -> float:
        """What a run of a loaded engine takes: the last one, or the one under way where that already takes
        longer; 0 while not loaded."""
        loaded = self._loaded.get(key)
        if loaded is None:
            return 0.0
        return max(loaded.watched.recent_s, self._monitor.age_s(loaded.watched))

    def sizes_px(self, model: Model, key: EngineKey) -> tuple[tuple[int, int], ...]:
        """The input size of a loaded engine, then the model's measured ones that fit into it and that the
        same engine can take, largest first."""
        if key.remote is not None:
            # Which sizes servers have is theirs.
            return (key.input_size_px,)
        own, engine = key.input_size_px, self._loaded[key].engine.name
        smaller = []
        for score in model.sizes:
            width, height = score.size_px
            _, artefact = choose(model, engine, score.size_px)
            if score.size_px != own and width <= own[0] and height <= own[1]:
                smaller += [score.size_px] if artefact.input.refusal(score.size_px) is None else []
        return (own, *smaller)

    def fetch(self, model: Model, base: EngineKey, size_px: tuple[int, int]) -> None:
        """Begin to load a loaded engine's network for another size, behind the others' work; unrefined, since
        who wants it has too much to do."""
        key = replace(base, input_size_px=size_px)
        if key in self._loaded or key in self._coming:
            return
        if self._loader is None:
            self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader")
        like = self._loaded[base]

        def load() -> _Loaded:
            engine = open_engine(model, like.engine.name, size_px, like.threads)
            return self._warm(engine, like.threads)

        self._coming[key] = self._loader.submit(load)

    def arrived(self) -> Mapping[EngineKey, EdgesegError | None]:
        """What ``fetch`` began and has ended since the last call: loaded, or why not."""
        ended: dict[EngineKey, EdgesegError | None] = {}
        for key, coming in list(self._coming.items()):
            if coming.done():
                del self._coming[key]
                try:
                    self._loaded[key] = coming.result()
                    ended[key] = None
                except EdgesegError as error:
                    ended[key] = error
        return ended

    def tidy(self, used: Collection[EngineKey]) -> None:
        """Close what has not been in use for a while."""
        now_s = self._clock.monotonic_s()
        for key in list(self._loaded):
            if key in used:
                self._unused_since_s.pop(key, None)
            elif now_s - self._unused_since_s.setdefault(key, now_s) > _KEEP_UNUSED_S:
                del self._unused_since_s[key]
                self._loaded.pop(key).engine.close()

    def close(self) -> None:
        """Close all. Idempotent."""
        if self._loader is not None:
            self._loader.shutdown(cancel_futures=True)
            self._loader = None
        for coming in self._coming.values():
            if not coming.cancelled() and coming.exception() is None:
                coming.result().engine.close()
        self._coming.clear()
        while self._loaded:
            self._loaded.popitem()[1].engine.close()

    def _open(self, need: Need, idle_threads: int) -> _Loaded:
        model, key = need.model, need.key
        if key.remote is not None:
            return self._reach(model, key, key.remote)
        engine = self._best(model, key, 1)
        loaded = self._warm(engine, 1)
        if idle_threads <= 1 or ENGINES[engine.name].accelerator:
            return loaded
        if loaded.run_s <= _ONE_THREAD_SUFFICES / need.rate_fps:
            return loaded
        log.info(
            "model %s: one thread takes %.0f ms for a frame, %d do it together",
            model.name,
            loaded.run_s * 1000,
            idle_threads,
        )
        if loaded.run_s > _ONE_WARM_UP_FROM_S:
            # Measuring the others again would take longer than it can gain.
            key = replace(key, engine=engine.name)
        engine.close()
        return self._warm(self._best(model, key, idle_threads), idle_threads)

    def _best(self, model: Model, key: EngineKey, threads: int) -> Engine:
        with self._monitor.loading():
            engine = autotune.open_best_engine(
                model, key.engine, key.input_size_px, threads, self._stop, self._clock
            )
            return refined(engine, model, key.refine, threads)

    def _reach(self, model: Model, key: EngineKey, remote: RemoteSettings) -> _Loaded:
        def open_local() -> Engine:
            return autotune.open_best_engine(
                model, remote.fallback or AUTO, key.input_size_px, 1, self._stop, self._clock
            )

        engine = open_remote(model, remote, key.input_size_px, open_local, self._clock)
        return self._warm(engine, 1, answers_within_s=_REQUESTS * remote.deadline_s)

    def _warm(self, engine: Engine, threads: int, answers_within_s: float = 0.0) -> _Loaded:
        """Run it twice: the first run warms up, the better one counts."""
        watched = self._monitor.watch(
            engine,
            own_thread=engine.name in _IN_CALLERS_THREAD and threads == 1 and not answers_within_s,
            accelerator=engine.name in ENGINES and ENGINES[engine.name].accelerator,
            answers_within_s=answers_within_s,
        )
        width, height = engine.input_size_px
        picture = np.zeros((1, height, width, 3), np.uint8)
        took_s = []
        for _ in range(2):
            began_s = self._clock.monotonic_s()
            watched.run(picture)
            took_s.append(self._clock.monotonic_s() - began_s)
            if took_s[0] > _ONE_WARM_UP_FROM_S:
                break
        return _Loaded(engine, watched, threads, min(took_s))


def needs_of(settings: PipelineSettings) -> dict[str, Need]:
    """Return what each camera needs, by name, the fastest camera first. Raises ModelError and EngineError."""
    models = {name: registry.find(name) for name in {camera.model for camera in settings.cameras}}
    needs = {}
    for camera in sorted(settings.cameras, key=lambda camera: -camera.rate_fps):
        model = models[camera.model]
        _, artefact = choose(model, camera.engine, camera.input_size_px)
        size_px = camera.input_size_px or artefact.input.size_px
        key = EngineKey(model.digest, camera.engine, size_px, camera.remote, camera.refine)
        needs[camera.name] = Need(model, key, camera.rate_fps)
    return needs
