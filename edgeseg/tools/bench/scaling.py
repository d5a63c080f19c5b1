"""Scaling bench: cost must not grow faster than cameras, zones and classes do."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from edgeseg.engines.base import Outputs
from edgeseg.frames import U8, FrameTime, Picture
from edgeseg.models.model import Model
from edgeseg.settings import ZoneSettings
from edgeseg.stages import postprocess
from edgeseg.stages.preprocess import make_fit
from edgeseg.stages.zones import ZoneMeter
from edgeseg.tools.bench import live_cameras, workload
from edgeseg.tools.bench.clips import Clips
from edgeseg.tools.bench.ours import Watching
from edgeseg.tools.bench.statistics import MOST_EXPONENT, Bar, Figure, Spread, growth_exponent
from edgeseg.tools.bench.stopwatch import interleaved

SECTION = "growth"
CAMERAS = (1, 2, 4, 8, 16, 32)
ZONES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CLASSES = (11, 19, 30, 50, 80, 110, 150)
GRID = (128, 128)
_FIT = make_fit("stretch", (1280, 720), (512, 512))
_NOW = FrameTime(1.0, 1.0)
# Small, so that what is measured is what cameras cost beside inference.
_INPUT_PX = (128, 128)
_RATE_FPS = 1.0
_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Curve:
    """costs: size -> median cost in ``unit``. name: in words; the size is a number of ``of``."""

    name: str
    of: str
    unit: str
    costs: Mapping[int, float]

    @property
    def figure(self) -> Figure:
        exponent = Spread.of([growth_exponent(self.costs)])
        return Figure(
            SECTION, f"{self.name}: exponent over {self.of}", "", exponent, Bar("at most", MOST_EXPONENT)
        )


class _Canned:
    """An engine that answers at once: what is left is edgeseg's own cost."""

    name = "canned"

    def __init__(self, model: Model) -> None:
        self.input_size_px = (512, 512)
        answer = workload.label_map(len(model.classes), GRID, _FIT)
        assert answer.confidence is not None
        self._outputs: Outputs = {"labels": answer.labels, "confidence": answer.confidence}

    def run(self, batch: U8) -> Outputs:
        return dict(self._outputs)

    def close(self) -> None:
        return


def zones(rounds: int, advance: Callable[[], None], counts: Sequence[int] = ZONES) -> Curve:
    """CPU of measuring so many zones on 128 x 128 cells of 150 classes."""
    label_map = workload.label_map(150, GRID, _FIT)
    drawn = _zones(max(counts))
    names = [f"class{number:03}" for number in range(150)]
    meters = {count: ZoneMeter("bench", drawn[:count], {}, "bench", names) for count in counts}
    works = {str(count): partial(meter.measure, label_map, 1, _NOW) for count, meter in meters.items()}
    return Curve("zones", "zones", "CPU ms a frame", _medians(works, rounds, advance))


def classes(
    model: Model, rounds: int, advance: Callable[[], None], counts: Sequence[int] = CLASSES
) -> tuple[Curve, Curve]:
    """CPU of 16 zones, and of the label map from float logits of 128 x 128 cells, with so many classes."""
    random = np.random.default_rng(workload.SEED)
    drawn = _zones(workload.ZONES)
    measuring: dict[str, Callable[[], object]] = {}
    deciding: dict[str, Callable[[], object]] = {}
    for count in counts:
        names = [f"class{number:03}" for number in range(count)]
        meter = ZoneMeter("bench", drawn, {}, "bench", names)
        label_map = workload.label_map(count, GRID, _FIT)
        measuring[str(count)] = partial(meter.measure, label_map, 1, _NOW)
        logits = random.normal(0, 3, (1, count, *GRID)).astype(np.float32)
        knows = replace(model, classes=tuple(names))
        deciding[str(count)] = partial(postprocess.label_map, {"logits": logits}, _FIT, knows)
    return (
        Curve("16 zones", "classes", "CPU ms a frame", _medians(measuring, rounds, advance)),
        Curve("label map from logits", "classes", "CPU ms a frame", _medians(deciding, rounds, advance)),
    )


def cameras(model: Model, rounds: int, advance: Callable[[], None], counts: Sequence[int] = CAMERAS) -> Curve:
    """CPU of one frame of each of so many cameras in one process, inference left out."""
    picture = Picture((), "rgb", True, "bt601", _NOW)
    views = workload.smooth_pictures(1, (512, 512))
    engine = _Canned(model)
    with ExitStack() as stack:
        watching = [stack.enter_context(Watching(model)) for _ in range(max(counts))]

        def once(count: int) -> Callable[[], None]:
            def work() -> None:
                for each in watching[:count]:
                    each.analyse(views, _FIT, picture, engine)

            return work

        costs = _medians({str(count): once(count) for count in counts}, rounds, advance)
    return Curve("cameras in one process, without inference", "cameras", "CPU ms a frame of each", costs)


def daemons(model: Model, clips: Clips, advance: Callable[[], None]) -> tuple[Curve, Curve]:
    """CPU and memory of the daemon with 1 to 32 RTSP cameras at 1 fps, processes and decoding included."""
    cpu: dict[int, float] = {}
    memory: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder, live_cameras.rtsp(clips.busy_5, Path(folder)) as url:
        for count in CAMERAS:
            load = live_cameras.run(
                model, [url] * count, _SECONDS, input_size_px=_INPUT_PX, rate_fps=_RATE_FPS, zones=4
            )  # fmt: skip
            cpu[count], memory[count] = load.cpu, load.pss_mb
            advance()
    return (
        Curve("daemon, 720p at 5 fps, one analysed", "cameras", "cores", cpu),
        Curve("daemon's memory", "cameras", "PSS MB", memory),
    )


def _zones(count: int) -> tuple[ZoneSettings, ...]:
    return tuple(
        ZoneSettings(name, name, (tuple(polygon),), (), 0.5, ())
        for name, polygon in workload.polygons(count).items()
    )


def _medians(
    works: Mapping[str, Callable[[], object]], rounds: int, advance: Callable[[], None]
) -> dict[int, float]:
    spent = interleaved(works, rounds, slice_s=0.05, advance=advance)
    return {int(size): Spread.of([cost.cpu_ms for cost in costs]).median for size, costs in spent.items()}
