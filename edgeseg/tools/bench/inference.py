"""Inference bench: times a network alone, by engine, artefact, size and streams."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from edgeseg.engines import autotune
from edgeseg.engines.base import Engine
from edgeseg.engines.select import EngineCandidate, adapter, candidates, choose, open_candidate
from edgeseg.errors import EdgesegError, EngineError
from edgeseg.frames import U8
from edgeseg.models.model import Model
from edgeseg.system.cpu_quota import whole_cpus
from edgeseg.tools.bench import workload
from edgeseg.tools.bench.statistics import Bar, Figure, Spread, ratios
from edgeseg.tools.bench.stopwatch import Cost, cost_of, interleaved

SECTION = "inference"
# How much dearer than the best choice by hand `auto` may be: what repeated measurements differ by.
_AUTO_WITHIN = 1.05
_LEAST_SIDE_PX = 256
_AUTO = "auto"


def work_of(engine: Engine, views: U8) -> Callable[[], object]:
    """One inference after the other, of pictures that differ."""
    turn = 0

    def once() -> object:
        nonlocal turn
        turn += 1
        return engine.run(views[turn % len(views)][None])

    return once


@dataclass(frozen=True, slots=True, eq=False)
class Engines:
    """cpu_ms: median of one frame by each candidate that can run here."""

    figures: list[Figure]
    cpu_ms: Mapping[EngineCandidate, float]

    def pick(self, model: Model, wanted: str) -> EngineCandidate:
        """The cheapest of those that a pipeline file can name as an engine: ``wanted``, or any
        where that is ``auto``. Raises EdgesegError."""
        able = [
            candidate
            for candidate in self.cpu_ms
            if wanted in (_AUTO, candidate.engine)
            and choose(model, candidate.engine)[1] == candidate.artefact
        ]
        if not able:
            raise EdgesegError(f"--engine {wanted}: cannot run {model.name} here; `edgeseg doctor` shows why")
        return min(able, key=lambda candidate: self.cpu_ms[candidate])


def by_engine(
    model: Model, rounds: int, add_note: Callable[[str], None], advance: Callable[[], None]
) -> Engines:
    """CPU of one frame in every engine that is here.

    Raises EngineError where none can run the model.
    """
    size_px = model.input.size_px
    views = workload.smooth_pictures(4, size_px)
    # Measured before the others are loaded, as at a daemon's first start; remembered after that.
    able = {str(candidate) for candidate in autotune.rank_candidates(model, size_px, 1)}
    with ExitStack() as stack:
        works: dict[str, Callable[[], object]] = {}
        found: dict[str, EngineCandidate] = {}
        for candidate in candidates(model, size_px):
            if adapter(candidate.engine).absent(candidate.engine) is not None:
                # A graphics card or a runtime's other build; `edgeseg doctor` has the details.
                continue
            try:
                engine = open_candidate(model, candidate, size_px, 1)
            except EngineError as error:
                add_note(f"{candidate}: {error}")
                continue
            stack.callback(engine.close)
            works[str(candidate)], found[str(candidate)] = work_of(engine, views), candidate
        if not works:
            raise EngineError(f"model {model.name}: no engine here can run it")
        costs = {
            name: [cost.cpu_ms for cost in spent]
            for name, spent in interleaved(works, rounds, advance=advance).items()
        }
    figures = [
        _cpu(f"{model.name}: {name}, {size_px[0]}x{size_px[1]}", spent) for name, spent in costs.items()
    ]
    medians = {found[name]: Spread.of(spent).median for name, spent in costs.items()}
    return Engines([*figures, *_auto(model, costs, able)], medians)


def _auto(model: Model, costs: Mapping[str, list[float]], able: Collection[str]) -> list[Figure]:
    """What ``auto`` takes beside the cheapest whose labels it found right."""
    right = [name for name in costs if name in able]
    if not right:
        return []
    taken = str(autotune.rank_candidates(model, model.input.size_px, 1)[0])
    best = min(right, key=lambda name: Spread.of(costs[name]).median)
    what = f"{model.name}: auto ({taken}) / best by hand ({best})"
    return [Figure(SECTION, what, "x", ratios(costs[taken], costs[best]), Bar("at most", _AUTO_WITHIN))]


def by_size(
    model: Model, candidate: EngineCandidate, rounds: int, advance: Callable[[], None]
) -> list[Figure]:
    """CPU of one frame at smaller inputs; nothing for networks of one size."""
    width, height = candidate.artefact.input.size_px
    step = candidate.artefact.input.multiple_of
    if step is None:
        return []
    shares = (1.0, 0.75, 0.5)
    sizes = [(_whole(width * share, step), _whole(height * share, step)) for share in shares]
    with ExitStack() as stack:
        works = {}
        for size_px in dict.fromkeys(
            size for size in sizes if min(size) >= min(_LEAST_SIDE_PX, width, height)
        ):
            engine = open_candidate(model, candidate, size_px, 1)
            stack.callback(engine.close)
            works[size_px] = work_of(engine, workload.smooth_pictures(4, size_px))
        costs = interleaved({f"{w}x{h}": work for (w, h), work in works.items()}, rounds, advance=advance)
    return [
        _cpu(f"{model.name}: {candidate}, {name}", [cost.cpu_ms for cost in spent])
        for name, spent in costs.items()
    ]


def by_streams(
    model: Model, candidate: EngineCandidate, rounds: int, frames: int, advance: Callable[[], None]
) -> list[Figure]:
    """Frames a second and CPU of each with one to all cores' worth of callers, one thread each."""
    cores = whole_cpus()
    size_px = candidate.artefact.input.size_px
    views = workload.smooth_pictures(4, size_px)
    figures = []
    with ExitStack() as stack:
        engine = open_candidate(model, candidate, size_px, 1)
        stack.callback(engine.close)
        works: dict[int, Callable[[], object]] = {}
        for streams in sorted({1, max(1, cores // 2), cores}):
            pool = stack.enter_context(ThreadPoolExecutor(streams))
            works[streams] = _together(pool, engine, views, streams, frames)
        costs: dict[int, list[Cost]] = {streams: [] for streams in works}
        for _ in range(rounds):
            for streams, work in works.items():
                costs[streams].append(cost_of(work))
                advance()
    for streams, spent in costs.items():
        handled = streams * frames
        what = f"{model.name}: {candidate}, {streams} stream{'s' if streams > 1 else ''}"
        rates = Spread.of([handled / cost.wall_ms * 1e3 for cost in spent])
        figures.append(Figure(SECTION, what, "frames/s", rates))
        figures.append(Figure(SECTION, what, "CPU ms", Spread.of([cost.cpu_ms / handled for cost in spent])))
    return figures


def _together(
    pool: ThreadPoolExecutor, engine: Engine, views: U8, streams: int, frames: int
) -> Callable[[], None]:
    def one(number: int) -> None:
        for frame in range(frames):
            engine.run(views[(number + frame) % len(views)][None])

    def all_at_once() -> None:
        for answer in [pool.submit(one, number) for number in range(streams)]:
            answer.result()

    return all_at_once


def _whole(pixels: float, step: int) -> int:
    return max(step, round(pixels / step) * step)


def _cpu(what: str, costs_ms: list[float]) -> Figure:
    return Figure(SECTION, what, "CPU ms", Spread.of(costs_ms))
