"""Stage bench: times each pipeline stage, and what the stages add to bare inference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import cv2

from edgeseg.engines.select import EngineCandidate, open_candidate
from edgeseg.frames import U8, Fit, Picture
from edgeseg.models.model import Model
from edgeseg.rules import ZoneRules
from edgeseg.screening.motion_gate import MotionGate, MotionGateSettings
from edgeseg.settings import GateSettings
from edgeseg.sources.open import open_source
from edgeseg.sources.video_source import VideoSource
from edgeseg.stages import postprocess
from edgeseg.stages.preprocess import Preprocess
from edgeseg.stages.zones import ZoneMeter
from edgeseg.tools.bench import workload
from edgeseg.tools.bench.clips import Clips
from edgeseg.tools.bench.ours import Watching, placed
from edgeseg.tools.bench.statistics import Bar, Figure, Spread, ratios
from edgeseg.tools.bench.stopwatch import Stages, cost_of, interleaved

SECTION = "stages"
ORDER = ("decode", "preprocess", "infer", "postprocess", "zones", "rules", "publish")
# What the pipeline may add to bare inference, without decoding and with a 720p stream sent at 5 a second.
_MOST_WITHOUT_DECODING, _MOST_AT_5_FPS = 5.0, 10.0
_MOST_ZONES_MS, _MOST_GATE = 0.3, 1.0
_GATE = GateSettings(refresh_s=30.0, sensitivity="medium", keyframes=True)


def by_stage(
    model: Model, candidate: EngineCandidate, clips: Clips, frames: int, advance: Callable[[], None]
) -> list[Figure]:
    """CPU of each stage, of ``frames`` frames of the 720p clip sent at 5 a second."""
    cv2.setNumThreads(1)
    size_px = candidate.artefact.input.size_px
    place = Preprocess("stretch", size_px)
    stages = Stages(threaded="infer")
    with ExitStack() as stack:
        engine = open_candidate(model, candidate, size_px, 1)
        stack.callback(engine.close)
        watching = stack.enter_context(Watching(model))
        meter = ZoneMeter("bench", watching.settings.zones, {}, model.name, model.classes)
        rules = {zone.name: ZoneRules("bench", "bench", zone) for zone in watching.settings.zones}
        pictures = _pictures(clips.busy_5)
        out: U8 | None = None
        for number in range(frames):
            with stages.frame():
                with stages.of("decode"):
                    picture = next(pictures)
                with stages.of("preprocess"):
                    fit, out = place(picture, out)
                with stages.of("infer"):
                    outputs = engine.run(out)
                with stages.of("postprocess"):
                    label_map = postprocess.label_map(outputs, fit, model)
                with stages.of("zones"):
                    occupancies = meter.measure(label_map, number, picture.time)
                with stages.of("rules"):
                    rule_events = [
                        event
                        for occupancy in occupancies
                        for event in rules[occupancy.zone].observe(occupancy)
                    ]
                with stages.of("publish"):
                    for event in (*occupancies, *rule_events):
                        watching.publisher.send(event)
            advance()
    figures = []
    for name in ORDER:
        # The first frames find cold caches and lay plans.
        costs = stages.costs[name][2:]
        bar = Bar("at most", _MOST_ZONES_MS) if name == "zones" else None
        what = f"{model.name}: {name}" + (f" ({workload.ZONES} zones)" if name == "zones" else "")
        figures.append(Figure(SECTION, what, "CPU ms", Spread.of([cost.cpu_ms for cost in costs]), bar))
        figures.append(Figure(SECTION, what, "wall ms", Spread.of([cost.wall_ms for cost in costs])))
    return figures


def overhead(
    model: Model, candidate: EngineCandidate, clips: Clips, rounds: int, advance: Callable[[], None]
) -> list[Figure]:
    """What everything around inference adds to its CPU, in percent, and what the gate costs."""
    cv2.setNumThreads(1)
    size_px = candidate.artefact.input.size_px
    place = Preprocess("stretch", size_px)
    with ExitStack() as stack:
        engine = open_candidate(model, candidate, size_px, 1)
        stack.callback(engine.close)
        ready = [
            (replace(picture, planes=()), fit, views.copy()) for picture, fit, views in _some(clips, place)
        ]
        memory = cycle(ready)
        bare = cycle([views for _, _, views in ready])
        watching = [stack.enter_context(Watching(model)) for _ in range(3)]

        def without_decoding() -> None:
            picture, fit, views = next(memory)
            watching[0].analyse(views, fit, picture, engine)

        streams = {
            fps: placed_every(path, place, fps) for fps, path in ((5, clips.busy_5), (25, clips.busy_25))
        }

        def decoding(fps: int, through: Watching) -> Callable[[], object]:
            def once() -> None:
                picture, fit, views = next(streams[fps])
                through.analyse(views, fit, picture, engine)

            return once

        works: dict[str, Callable[[], object]] = {
            "bare": lambda: engine.run(next(bare)),
            "without decoding": without_decoding,
            "with a 720p stream sent at 5 fps": decoding(5, watching[1]),
            "with a 720p stream sent at 25 fps, analysed at 5": decoding(25, watching[2]),
        }
        costs = {
            name: [cost.cpu_ms for cost in spent]
            for name, spent in interleaved(works, rounds, advance=advance).items()
        }
        gate_ms = _gate_ms(watching[0], clips, rounds)
    bars = {
        "without decoding": Bar("at most", _MOST_WITHOUT_DECODING),
        "with a 720p stream sent at 5 fps": Bar("at most", _MOST_AT_5_FPS),
    }
    figures = [Figure(SECTION, f"{model.name}: bare inference", "CPU ms", Spread.of(costs["bare"]))]
    for name in list(works)[1:]:
        more = ratios(costs[name], costs["bare"])
        low, median, high = ((value - 1) * 100 for value in (more.low, more.median, more.high))
        percent = Spread(median, low, high, more.count)
        figures.append(Figure(SECTION, f"{model.name}: overhead {name}", "%", percent, bars.get(name)))
    bare_ms = Spread.of(costs["bare"]).median
    share = Spread.of([each / bare_ms * 100 for each in gate_ms])
    figures.append(Figure(SECTION, f"{model.name}: gate / inference", "%", share, Bar("at most", _MOST_GATE)))
    return figures


def decoding(clips: Clips, rounds: int, advance: Callable[[], None]) -> list[Figure]:
    """CPU of a second of a 720p stream: every picture decoded, and keyframes alone while nothing moves."""
    ways = {
        "sent at 25 fps, every picture": (clips.busy_25, False),
        "sent at 25 fps, keyframes alone": (clips.busy_25, True),
        "sent at 5 fps, every picture": (clips.busy_5, False),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (path, keyframes) in ways.items():
            spent[name].append(_cpu_ms_per_s(path, keyframes))
            advance()
    return [
        Figure(SECTION, f"decoding 720p {name}", "CPU ms/s", Spread.of(costs))
        for name, costs in spent.items()
    ]


def _cpu_ms_per_s(path: Path, keyframes: bool) -> float:
    """Of the second half of a clip: in the first the source learns how far apart keyframes are."""
    with open_source(str(path)) as source:
        assert isinstance(source, VideoSource)
        half_s = (source.duration_s or 0.0) / 2
        if keyframes:
            source.keyframes.within_s = half_s
        pictures = iter(source)
        times_s = (picture.time.camera_time_s for picture in pictures)
        first_s = next(time_s for time_s in times_s if time_s >= half_s)
        cost = cost_of(lambda: [None for _ in pictures])
        return cost.cpu_ms / max((source.duration_s or 0.0) - first_s, 1e-3)


def waiting(model: Model, figures: Sequence[Figure]) -> list[Figure]:
    """What is left of the time from capture to publication when all stages have had theirs: hand-over between
    processes and waiting for a worker. figures: of this model's stages and of one camera."""
    walls = [
        each.spread.median
        for each in figures
        if each.unit == "wall ms" and each.what.startswith(f"{model.name}: ") and "decode" not in each.what
    ]
    ages = [each for each in figures if each.what == f"{model.name}: one camera, capture to publish p50"]
    if not walls or not ages:
        return []
    left_ms = max(0.0, ages[0].spread.median - sum(walls))
    return [Figure(SECTION, f"{model.name}: wait (of one camera's p50)", "wall ms", Spread.of([left_ms]))]


def placed_every(path: Path, place: Preprocess, fps: int) -> Iterator[tuple[Picture, Fit, U8]]:
    """Pictures of a clip sent at ``fps`` that are due 5 times a second; the others are only decoded."""
    out: U8 | None = None
    while True:
        with open_source(str(path)) as source:
            for number, picture in enumerate(source):
                if number % (fps // workload.RATE_FPS) == 0:
                    fit, out = place(picture, out)
                    yield picture, fit, out


def _pictures(path: Path) -> Iterator[Picture]:
    """A clip's pictures, over and over."""
    while True:
        with open_source(str(path)) as source:
            yield from source


def _some(clips: Clips, place: Preprocess) -> Iterator[tuple[Picture, Fit, U8]]:
    return islice(placed(str(clips.busy_5), place), 8)


def _gate_ms(watching: Watching, clips: Clips, rounds: int) -> list[float]:
    """CPU of the gate's judgement of one picture."""
    gate = MotionGate(MotionGateSettings(_GATE, watching.settings.zones))
    with open_source(str(clips.busy_5)) as source:
        picture = next(iter(source))
        gate.passes(picture, 0.0)
        gate.mark_handed_over(0)
        gate.mark_done(0, analysed=True)
        return [cost_of(lambda: gate.passes(picture, 1.0), 200).cpu_ms for _ in range(rounds)]
