"""Which runtime runs a model: the one asked for, or the best that is installed."""

from __future__ import annotations

import importlib
import importlib.util
import os

from edgeseg import registry
from edgeseg.engines.base import Engine
from edgeseg.errors import EngineError
from edgeseg.manifest import Artefact, Model, Precision
from edgeseg.runtimes import AUTO, ENGINES, RUNTIMES, formats
from edgeseg.yamlfile import nearest


def open_engine(
    model: Model,
    engine: str = AUTO,
    input_size_px: tuple[int, int] | None = None,
    threads: int = 1,
    precision: Precision | None = None,
) -> Engine:
    """Load ``model``, ready to run: every check is behind it.

    engine: one of ENGINES; ``auto`` takes, in this order, what is installed, whose weights are here,
        what can take the size, int8 before float, the manifest's order.
    input_size_px: (width, height), None for the manifest's.
    precision: of the artefact, where only that will do.
    threads: for one run, 0 for as many as this process has cores; several callers may run at once.
    Raises EngineError (no engine fits, it is not installed, the file is not what the manifest says),
    ModelError (weights missing or damaged).
    """
    name, artefact = choose(model, engine, input_size_px, precision)
    if not _installed(name):
        raise EngineError(
            f"model {model.name}: engine {name} is not installed; install it with {RUNTIMES[name].install}"
        )
    path = registry.artefact_path(model, artefact)
    cores = threads or len(os.sched_getaffinity(0))
    module = importlib.import_module(f"edgeseg.engines.{name}")
    loaded: Engine = module.load(artefact, path, len(model.classes), input_size_px, cores)
    return loaded


def choose(
    model: Model,
    engine: str = AUTO,
    input_size_px: tuple[int, int] | None = None,
    precision: Precision | None = None,
) -> tuple[str, Artefact]:
    """The engine and artefact that ``open_engine`` would load; reads no weights. Raises EngineError."""
    if engine not in ENGINES:
        raise EngineError(f"engine '{engine}' is not known{nearest(engine, ENGINES)}")
    names = tuple(RUNTIMES) if engine == AUTO else (engine,)
    options = [
        (name, artefact)
        for artefact in model.artefacts
        for name in names
        if artefact.format == RUNTIMES[name].format and precision in (None, artefact.precision)
    ]
    if not options:
        has = ", ".join(sorted({f"{artefact.format} {artefact.precision}" for artefact in model.artefacts}))
        reads = " or ".join(formats(engine)) + (f" in {precision}" if precision else "")
        raise EngineError(f"model {model.name}: engine {engine} reads {reads}, the model has {has} only")
    return min(options, key=lambda option: _demerits(model, option[0], option[1], input_size_px))


def _demerits(
    model: Model, name: str, artefact: Artefact, input_size_px: tuple[int, int] | None
) -> tuple[bool, bool, bool, bool]:
    return (
        not _installed(name),
        input_size_px is not None and artefact.input.refusal(input_size_px) is not None,
        not registry.has_weights(model, artefact),
        artefact.precision != "int8",
    )


def _installed(name: str) -> bool:
    return any(importlib.util.find_spec(package) is not None for package in RUNTIMES[name].packages)
