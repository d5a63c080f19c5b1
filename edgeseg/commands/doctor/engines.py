"""Engine part of ``edgeseg doctor``: the installed engines, their devices, and a benchmark."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgeseg.commands.shared.network_options import input_size_px
from edgeseg.commands.shared.terminal import print_table, progress
from edgeseg.errors import EdgesegError, ModelError
from edgeseg.models.runtimes import ENGINES
from edgeseg.settings import DEFAULT_MODEL
from edgeseg.system.cpu_quota import whole_cpus

if TYPE_CHECKING:
    from edgeseg.engines.measurement_cache import Table
    from edgeseg.engines.select import EngineCandidate
    from edgeseg.models.model import Model
    from edgeseg.settings import PipelineSettings
    from edgeseg.tools.doctor.finding import Finding

# Its weights are always here.
_BUNDLED_MODEL = "deeplabv3plus-mnv2-camvid"
# TensorRT builds an engine for minutes, the first time.
_LIMIT_S = 900.0
_STATES = ("chosen", "slower", "failed", "absent", "not installed", "cannot read it")

_NUMBER = {"type": ["number", "null"]}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["model", "input", "threads", "cpu", "chosen", "candidates"],
    "additionalProperties": False,
    "properties": {
        "model": {"type": "string"},
        "input": {"type": "string", "description": "width x height in pixels"},
        "threads": {"type": "integer", "description": "of one run"},
        "cpu": {"type": "string"},
        "chosen": {"type": ["string", "null"], "description": "the engine that `engine: auto` takes"},
        "candidates": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["engine", "file", "version", "device", "state", "verdict"],
                "additionalProperties": False,
                "properties": {
                    "engine": {"enum": list(ENGINES)},
                    "file": {"type": "string", "description": "the artefact; empty where none was tried"},
                    "version": {"type": ["string", "null"], "description": "null: not installed"},
                    "device": {"type": "string"},
                    "cpu_ms": {**_NUMBER, "description": "CPU time of a frame, all threads together"},
                    "wall_ms": {**_NUMBER, "description": "time that a frame took"},
                    "times": {**_NUMBER, "description": "its time in units of the best one's"},
                    "agreement": {**_NUMBER, "description": "share of the reference's labels, 0-1"},
                    "state": {"enum": list(_STATES)},
                    "verdict": {"type": "string", "description": "chosen, or why not, or how to get it"},
                },
            },
        },
    },
}


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the table; fields as in ``SCHEMA``."""

    engine: str
    file: str
    version: str | None
    device: str
    cpu_ms: float | None
    wall_ms: float | None
    times: float | None
    agreement: float | None
    state: str
    verdict: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--input", metavar="WIDTHxHEIGHT", help="size the network sees; default: the model's")
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="of one inference (%(default)s); `edgeseg run` shares the cores among at most as many cameras",
    )


def examine(
    settings: PipelineSettings | None, model: str | None, args: argparse.Namespace
) -> Iterator[tuple[dict[str, Any] | None, Finding]]:
    """Measure every engine with each network and size of a pipeline file, or with one model.

    The measurements are saved. An engine that the file names is only loaded. Yields table (as in ``SCHEMA``)
    and verdict. Raises EdgesegError for mistakes in ``args``.
    """
    from edgeseg.models.runtimes import AUTO
    from edgeseg.tools.doctor.finding import Finding

    cores = whole_cpus()
    if not 1 <= args.threads <= cores:
        raise EdgesegError(f"--threads {args.threads}: expected 1 to {cores}, the cores of this machine")
    requested_px = input_size_px(args.input)
    if settings is None:
        yield _benchmark(_model(model), requested_px, args)
        return
    cameras = {(one.model, one.engine, one.input_size_px): None for one in settings.cameras}
    for name, engine, camera_px in cameras:
        try:
            if engine == AUTO:
                yield _benchmark(_model(name), requested_px or camera_px, args)
            else:
                yield None, _loaded(name, engine, camera_px)
        except EdgesegError as error:
            yield None, Finding(name, "problem", str(error), f"edgeseg models pull {name}")


def _benchmark(
    model: Model, input_size_px: tuple[int, int] | None, args: argparse.Namespace
) -> tuple[dict[str, Any], Finding]:
    from edgeseg.clock import SystemClock
    from edgeseg.engines import autotune, hardware
    from edgeseg.engines.measurement_cache import Table
    from edgeseg.engines.select import candidates
    from edgeseg.tools.doctor.finding import Finding

    size = input_size_px or model.input.size_px
    options = candidates(model, size)
    table = Table((), None)
    if options:
        with _progress_report(len(options), args.json) as report:
            table = autotune.measure(
                model, options, size, args.threads, _LIMIT_S, SystemClock(), threading.Event(), report
            )
        autotune.save_measurements(model, size, args.threads, options, table)
    rows = [*_measured(table), *_untried(model, options, size)]
    found = {
        "model": model.name,
        "input": f"{size[0]}x{size[1]}",
        "threads": args.threads,
        "cpu": hardware.cpu(),
        "chosen": table.best.engine if table.best else None,
        "candidates": [asdict(row) for row in sorted(rows, key=_order)],
    }
    if table.best is None:
        text = f"no engine here runs it at {found['input']}; the table says what each lacks"
        return found, Finding(model.name, "problem", text, _remedy(model))
    text = (
        f"`engine: auto` takes {table.best.engine} at {found['input']}: "
        f"{table.best.cpu_ms or 0.0:.1f} ms of CPU a frame"
    )
    return found, Finding(model.name, "ok", text)


def _loaded(name: str, engine: str, input_size_px: tuple[int, int] | None) -> Finding:
    """Raises ModelError, EngineError."""
    from edgeseg.engines.select import open_engine
    from edgeseg.tools.doctor.finding import Finding

    opened = open_engine(_model(name), engine, input_size_px)
    try:
        width, height = opened.input_size_px
        return Finding(name, "ok", f"loads in {opened.name} at {width}x{height}")
    finally:
        opened.close()


def _remedy(model: Model) -> str:
    """How to get an engine that reads one of its files."""
    formats = {artefact.format for artefact in model.artefacts}
    able = [one.install for one in ENGINES.values() if formats & set(one.formats) and not one.accelerator]
    return able[0] if able else f"edgeseg models show {model.name}"


def show(found: dict[str, Any]) -> None:
    """Print what ``examine`` found."""
    threads = "1 thread" if found["threads"] == 1 else f"{found['threads']} threads"
    print(f"engines: {found['model']} at {found['input']}, {threads}, on {found['cpu']}")
    rows = [
        (
            row["engine"],
            row["file"] or "-",
            row["version"] or "-",
            row["device"] or "-",
            _number_text(row["cpu_ms"], "{:.1f}"),
            _number_text(row["wall_ms"], "{:.1f}"),
            _number_text(row["agreement"], "{:.1%}"),
            row["verdict"],
        )
        for row in found["candidates"]
    ]
    header = ("engine", "file", "installed", "device", "CPU ms", "ms", "same labels", "verdict")
    print_table(header, rows)


def _model(name: str | None) -> Model:
    from edgeseg.models import registry

    if name is not None:
        model = registry.find(name)
        if not any(registry.has_weights(model, artefact) for artefact in model.artefacts):
            raise ModelError(
                f"model {model.name}: its weights are not here; fetch them with "
                f"`edgeseg models pull {model.name}`"
            )
        return model
    model = registry.find(DEFAULT_MODEL)
    here = any(registry.has_weights(model, artefact) for artefact in model.artefacts)
    return model if here else registry.find(_BUNDLED_MODEL)


def _measured(table: Table) -> Iterator[_Row]:
    absent: set[str] = set()
    for result in table.results:
        if result.state == "absent":
            # Once is enough, whatever it would have run.
            if result.engine in absent:
                continue
            absent.add(result.engine)
        yield _Row(version=ENGINES[result.engine].version, **asdict(result))


def _untried(model: Model, options: tuple[EngineCandidate, ...], size: tuple[int, int]) -> Iterator[_Row]:
    """The engines that had nothing to run, and why."""
    from edgeseg.engines import hardware

    formats = {artefact.format for artefact in model.artefacts}
    for name, spec in ENGINES.items():
        if any(option.engine == name for option in options):
            continue
        if not formats & set(spec.formats):
            reads, has = " and ".join(spec.formats), " and ".join(sorted(formats))
            state, verdict = "cannot read it", f"reads {reads}, the model has {has}"
        elif not spec.installed:
            missing = hardware.absence(name)
            state = "not installed"
            verdict = f"{missing}; for one: {spec.install}" if missing else spec.install
        else:
            state, verdict = "cannot read it", f"no file that it reads is here for {size[0]}x{size[1]}"
        yield _Row(name, "", spec.version, "", None, None, None, None, state, verdict)


def _order(row: _Row) -> tuple[int, float]:
    """The chosen one first, then those that ran, by time; then those that did not run."""
    return _STATES.index(
        "slower" if row.times is not None and row.state != "chosen" else row.state
    ), row.times or 0.0


def _number_text(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


@contextmanager
def _progress_report(count: int, quiet: bool) -> Iterator[Any]:
    """Yield the function that ``autotune.measure`` calls before each candidate."""
    with progress("measuring engines", "engine", quiet) as advance:
        done = -1

        def report(name: str) -> None:
            nonlocal done
            done += 1
            if done:
                advance(done / count)

        yield report
