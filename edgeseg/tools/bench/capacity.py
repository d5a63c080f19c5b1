"""Capacity bench: searches for the number of cameras that this machine can serve over RTSP."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeseg.engines.select import EngineCandidate
from edgeseg.errors import EdgesegError
from edgeseg.models.model import Model
from edgeseg.system.cpu_quota import available_cpus
from edgeseg.tools.bench import live_cameras, workload
from edgeseg.tools.bench.clips import PERIOD_S, Clips
from edgeseg.tools.bench.live_cameras import SteadyState
from edgeseg.tools.bench.statistics import Bar, Figure, Spread
from edgeseg.tools.bench.workload import DEEPLAB, SEGFORMER

SECTION = "cameras"
# Cameras are held when nearly all that is due is analysed, of all and of each, soon enough to be called live.
_LEAST_SHARE, _LEAST_SHARE_OF_ONE = 0.95, 0.85
_MOST_AGE_P95_MS = 500.0
_MOST_CAMERAS = 64
_MOST_PSS_MB = 350.0
_PSS_CAMERAS = 4
_PER_CORE = {SEGFORMER: 2.2, DEEPLAB: 3.9}
_LEAST_GATE_GAIN = 2.5


@dataclass(frozen=True, slots=True)
class Held:
    """The most cameras that were held, how the machine did with them, and how one camera did alone."""

    cameras: int
    load: SteadyState
    alone: SteadyState


def held(load: SteadyState, alone_fps: float) -> bool:
    """Whether the cameras got what one would get alone, in time."""
    return (
        sum(load.fps) / load.cameras >= _LEAST_SHARE * alone_fps
        and min(load.fps) >= _LEAST_SHARE_OF_ONE * alone_fps
        and load.age_ms(95) <= _MOST_AGE_P95_MS
    )


def search(trial: Callable[[int], SteadyState], alone: SteadyState, start: int) -> tuple[int, SteadyState]:
    """The largest number of cameras that is held: from ``start`` up in quarters, then halves between.

    A trial that raises EdgesegError, because the daemon did not come up with so many, is not held.
    """
    alone_fps = min(alone.fps)
    loads: dict[int, SteadyState] = {1: alone}

    def holds(cameras: int) -> bool:
        try:
            load = loads[cameras] if cameras in loads else trial(cameras)
        except EdgesegError:
            return False
        loads[cameras] = load
        return held(load, alone_fps)

    low, high = 1, max(2, min(_MOST_CAMERAS, start))
    while high <= _MOST_CAMERAS and holds(high):
        low, high = high, high + max(1, high // 4)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low, loads[low]


def measure(
    model: Model, candidate: EngineCandidate, bare_ms: float, clips: Clips,
    add_note: Callable[[str], None], advance: Callable[[], None],
    *, seconds: float = 10.0, gate: bool = True, quick: bool = False,
) -> list[Figure]:  # fmt: skip
    """Figures of one to as many cameras as are held; ``quick``: of one and of four. Raises EdgesegError.

    bare_ms: CPU of one inference.
    """
    cores = available_cpus()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder, live_cameras.rtsp(clips.busy_5, Path(folder)) as url:

        def trial(cameras: int) -> SteadyState:
            load = live_cameras.run(model, [url] * cameras, seconds, engine=candidate.engine)
            add_note(_line(f"{model.name}, every frame", load))
            advance()
            return load

        alone = trial(1)
        figures += _latency(model, "one camera", alone)
        more = Spread.of([(alone.cpu_ms_per_frame / bare_ms - 1) * 100])
        what = f"{model.name}: daemon's CPU above bare inference, one 720p camera sent at 5 fps"
        figures.append(Figure(SECTION, what, "%", more))
        capacity = Spread.of([1 / alone.cpu])
        figures.append(Figure(SECTION, f"{model.name}: cameras per core by CPU alone", "cameras", capacity))
        four = trial(_PSS_CAMERAS)
        memory = Spread.of([four.pss_mb])
        what = f"{model.name}: memory of {_PSS_CAMERAS} cameras, one engine (PSS)"
        figures.append(Figure(SECTION, what, "MB", memory, Bar("at most", _MOST_PSS_MB)))
        ungated = None
        if not quick:
            ungated = Held(*search(trial, alone, math.floor(cores / alone.cpu)), alone)
            figures += _held(model, "every frame", ungated, cores, _PER_CORE.get(model.name))
    if gate and not quick and ungated is not None:
        figures += _gated(model, candidate, clips, ungated, seconds, add_note, advance)
    return figures


def _gated(
    model: Model, candidate: EngineCandidate, clips: Clips, ungated: Held, seconds: float,
    add_note: Callable[[str], None], advance: Callable[[], None],
) -> list[Figure]:  # fmt: skip
    cores = available_cpus()
    # Whole periods, or some cameras would show more motion than others.
    whole = math.ceil(seconds / PERIOD_S) * PERIOD_S
    with tempfile.TemporaryDirectory() as folder, live_cameras.rtsp(clips.quarter_5, Path(folder)) as url:

        def trial(cameras: int) -> SteadyState:
            load = live_cameras.run(model, [url] * cameras, whole, engine=candidate.engine, gate=True)
            add_note(_line(f"{model.name}, gated", load))
            advance()
            return load

        alone = trial(1)
        found = Held(*search(trial, alone, 2 * ungated.cameras), alone)
    figures = _held(model, "gated, motion a quarter of the time", found, cores, None)
    gain = Spread.of([found.cameras / ungated.cameras])
    what = f"{model.name}: cameras with the gate / without"
    figures.append(Figure(SECTION, what, "x", gain, Bar("at least", _LEAST_GATE_GAIN)))
    saved = Spread.of([ungated.alone.cpu / alone.cpu])
    figures.append(Figure(SECTION, f"{model.name}: CPU of a camera without the gate / with", "x", saved))
    return figures


def _held(model: Model, how: str, found: Held, cores: float, per_core: float | None) -> list[Figure]:
    load = found.load
    what = f"{model.name}: {how}, {found.cameras} cameras at {workload.RATE_FPS} fps"
    bar = None if per_core is None else Bar("at least", per_core)
    figures = [
        Figure(
            SECTION, f"{model.name}: {how}, held", "cameras/core", Spread.of([found.cameras / cores]), bar
        ),
        Figure(SECTION, what, "cores busy", Spread.of([load.cpu])),
        Figure(SECTION, what, "PSS MB", Spread.of([load.pss_mb])),
    ]
    return figures + _latency(model, f"{how}, {found.cameras} cameras", load)


def _latency(model: Model, what: str, load: SteadyState) -> list[Figure]:
    return [
        Figure(
            SECTION, f"{model.name}: {what}, capture to publish p{percentile}", "ms",
            Spread.of([load.age_ms(percentile)]),
        )
        for percentile in (50, 95, 99)
    ]  # fmt: skip


def _line(what: str, load: SteadyState) -> str:
    return (
        f"{what}: {load.cameras} cameras, slowest {min(load.fps):.2f} fps, {load.cpu:.2f} cores, "
        f"{load.pss_mb:.0f} MB, age p95 {load.age_ms(95):.0f} ms"
    )
