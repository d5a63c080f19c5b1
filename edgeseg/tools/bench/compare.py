"""Comparison bench: edgeseg and other ways of doing the same, in turn, each in its own process."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.engines.select import EngineCandidate
from edgeseg.errors import EdgesegError
from edgeseg.tools.bench import workload
from edgeseg.tools.bench.clips import Clips
from edgeseg.tools.bench.statistics import Bar, Figure, Spread, ratios
from edgeseg.tools.bench.workload import DEEPLAB, SEGFORMER, Network

SECTION = "comparison"
NAMES = {
    "naive": "naive (numpy, onnxruntime fp32)",
    "tutorial": "OpenCV + onnxruntime, as tutorials do it",
    "model_api": "openvino-model-api, its defaults",
}
BARS: Mapping[tuple[str, str], Bar] = {
    (SEGFORMER, "naive"): Bar("at least", 10.0),
    (DEEPLAB, "naive"): Bar("at least", 4.0),
    (SEGFORMER, "model_api"): Bar("at least", 5.0),
}
# Loading a network of 150 classes in a cold runtime, on a busy machine.
_ANSWERS_WITHIN_S = 180.0


@dataclass(frozen=True, slots=True)
class _WayCost:
    cpu_ms: float
    wall_ms: float
    peak_mb: float


def compare(
    network: Network, candidate: EngineCandidate, clips: Clips, rounds: int, peer_python: str | None,
    add_note: Callable[[str], None], advance: Callable[[], None],
) -> list[Figure]:  # fmt: skip
    """CPU of an analysed frame in every way there is, and how many times edgeseg's that is.

    Ways that cannot run here become a note. Raises EdgesegError where edgeseg itself cannot.
    """
    if network.naive is None:
        add_note(f"{network.model.name}: no naive.onnx beside it: nothing to compare with")
        return []
    size_px = candidate.artefact.input.size_px
    with ExitStack() as stack:
        ours = {
            "clip": str(clips.busy_5),
            "model": str(network.model.folder),
            "engine": candidate.engine,
            "size_px": size_px,
            "precision": candidate.artefact.precision,
        }
        theirs = {
            "clip": str(clips.busy_5),
            "network": str(network.naive),
            "classes": len(network.model.classes),
            "size_px": size_px,
            "zones": workload.polygons(),
        }
        turns = {"edgeseg": stack.enter_context(_worker(sys.executable, "edgeseg", ours))}
        for way in NAMES:
            python = sys.executable if way != "model_api" else peer_python or sys.executable
            try:
                worker = stack.enter_context(_worker(python, way, theirs))
                worker(1)
            except EdgesegError as error:
                add_note(f"{NAMES[way]}: absent: {error}{_HOW_TO_INSTALL if way == 'model_api' else ''}")
                continue
            turns[way] = worker
        took: dict[str, list[_WayCost]] = {way: [] for way in turns}
        repeats = {way: 4 if way == "edgeseg" else 1 for way in turns}
        for _ in range(rounds):
            for way, turn in turns.items():
                took[way].append(turn(repeats[way]))
                advance()
    return _figures(network.model.name, took)


_HOW_TO_INSTALL = (
    "; it needs OpenCV 4, so give it a Python of its own: python -m venv peers && peers/bin/pip install "
    "openvino-model-api, then --peer-python peers/bin/python"
)


def _figures(model: str, took: Mapping[str, list[_WayCost]]) -> list[Figure]:
    figures = []
    for way, turns in took.items():
        what = f"{model}: {NAMES.get(way, way)}"
        figures.append(Figure(SECTION, what, "CPU ms", Spread.of([turn.cpu_ms for turn in turns])))
        figures.append(Figure(SECTION, what, "peak MB", Spread.of([turn.peak_mb for turn in turns][-1:])))
    ours = [turn.cpu_ms for turn in took["edgeseg"]]
    for way in list(took)[1:]:
        times = ratios([turn.cpu_ms for turn in took[way]], ours)
        what = f"{model}: {NAMES[way]} / edgeseg"
        figures.append(Figure(SECTION, what, "x", times, BARS.get((model, way))))
    return figures


@contextmanager
def _worker(python: str, way: str, arguments: Mapping[str, Any]) -> Iterator[Callable[[int], _WayCost]]:
    """Yields a function that watches so many frames. Raises EdgesegError when the worker cannot work."""
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "spec.json"
        spec.write_text(json.dumps({"way": way, "arguments": arguments}), encoding="utf-8")
        errors = Path(folder) / "errors"
        with errors.open("wb") as stderr:
            process = subprocess.Popen(
                [python, str(Path(__file__).with_name("worker.py")), str(spec)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

        def turn(frames: int) -> _WayCost:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(f"{frames}\n")
                process.stdin.flush()
            except BrokenPipeError:
                raise EdgesegError(_last_line(errors)) from None
            readable, _, _ = select.select([process.stdout], [], [], _ANSWERS_WITHIN_S)
            line = process.stdout.readline() if readable else ""
            if not line:
                raise EdgesegError(_last_line(errors) if readable else "no answer in time")
            return _WayCost(**json.loads(line))

        with process:
            try:
                yield turn
            finally:
                process.kill()
                assert process.stdin is not None
                # What a worker that died has not read is still in the buffer.
                with suppress(BrokenPipeError):
                    process.stdin.close()


def _last_line(errors: Path) -> str:
    lines = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it ended without a word"
