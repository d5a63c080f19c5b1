"""Input size bench: accuracy against speed, scored by ``edgeseg eval``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edgeseg.engines import open_engine
from edgeseg.errors import EdgesegError
from edgeseg.models import registry
from edgeseg.models.model import Precision
from edgeseg.tools.bench import workload
from edgeseg.tools.bench.inference import work_of
from edgeseg.tools.bench.statistics import Spread
from edgeseg.tools.bench.stopwatch import interleaved

_SHARES = (1.0, 0.875, 0.75, 0.625, 0.5, 0.375)
_LEAST_SIDE_PX = 128


@dataclass(frozen=True, slots=True)
class Point:
    """One model at one size. mean_iou: 0-1. cpu_ms: of one inference."""

    model: str
    engine: str
    precision: str
    size_px: tuple[int, int]
    mean_iou: float
    cpu_ms: Spread

    def as_json(self) -> dict[str, object]:
        return {
            "model": self.model,
            "engine": self.engine,
            "precision": self.precision,
            "input": f"{self.size_px[0]}x{self.size_px[1]}",
            "mean_iou": round(self.mean_iou, 4),
            "cpu_ms": round(self.cpu_ms.median, 3),
            "cpu_ms_quartiles": [round(self.cpu_ms.low, 3), round(self.cpu_ms.high, 3)],
        }


def default_sizes(model_name: str) -> list[tuple[int, int]]:
    """The model's own size and some smaller ones of nearly its shape; its own alone where that is fixed."""
    entry = registry.find(model_name).input
    step = entry.multiple_of
    if step is None:
        return [entry.size_px]
    width, height = entry.size_px
    sizes = [(round(width * share / step) * step, round(height * share / step) * step) for share in _SHARES]
    return [size for size in dict.fromkeys(sizes) if min(size) >= _LEAST_SIDE_PX]


def measure(
    model_names: Sequence[str], data: Path, engine: str, precisions: Sequence[Precision],
    sizes: Sequence[tuple[int, int]] | None, rounds: int,
    add_note: Callable[[str], None], advance: Callable[[], None],
) -> list[Point]:  # fmt: skip
    """Return a point for each model, precision and size. Raises EdgesegError."""
    points = []
    for name in model_names:
        model = registry.find(name)
        for precision in precisions:
            if precision not in {artefact.precision for artefact in model.artefacts}:
                continue
            with ExitStack() as stack:
                works, scores = {}, {}
                for size_px in sizes or default_sizes(name):
                    label = f"{size_px[0]}x{size_px[1]}"
                    try:
                        scores[label] = _mean_iou(name, data, engine, precision, label)
                    except EdgesegError as error:
                        add_note(f"{name} {precision} {label}: {error}")
                        continue
                    loaded = open_engine(model, engine, size_px, 1, precision)
                    stack.callback(loaded.close)
                    works[label] = work_of(loaded, workload.smooth_pictures(4, size_px))
                    advance()
                spent = interleaved(works, rounds, advance=advance)
                for label, costs in spent.items():
                    width, _, height = label.partition("x")
                    cpu_ms = Spread.of([cost.cpu_ms for cost in costs])
                    size_px = (int(width), int(height))
                    points.append(Point(name, engine, precision, size_px, scores[label], cpu_ms))
    return points


def _mean_iou(model: str, data: Path, engine: str, precision: Precision, size: str) -> float:
    command = [sys.executable, "-m", "edgeseg", "eval", model, str(data), "--json", "--input", size]
    answer = subprocess.run(
        [*command, "--engine", engine, "--precision", precision], capture_output=True, text=True, check=False
    )
    if answer.returncode:
        lines = answer.stderr.strip().splitlines()
        raise EdgesegError(lines[-1] if lines else f"edgeseg eval ended with {answer.returncode}")
    scored = json.loads(answer.stdout)
    if "mean_iou" not in scored:
        raise EdgesegError(f"{data}: has no labels; give a folder with images/ and labels/, or CamVid's")
    return float(scored["mean_iou"])
