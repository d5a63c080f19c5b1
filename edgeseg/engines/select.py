"""Engine selection: the engine that was asked for, that was measured best, or that is most likely best."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

from edgeseg.engines import measurement_cache
from edgeseg.engines.base import Engine
from edgeseg.engines.tensors import bare_integers
from edgeseg.errors import EngineError
from edgeseg.models import registry
from edgeseg.models.model import Artefact, Model, Precision
from edgeseg.models.runtimes import AUTO, ENGINE_NAMES, ENGINES, REMOTE, formats
from edgeseg.system.cpu_quota import whole_cpus
from edgeseg.yamlfile import suggestion

CORAL = "coral"
# What edgetpu_compiler appends to the name of what it made.
_COMPILED = "_edgetpu.tflite"


@dataclass(frozen=True, slots=True)
class EngineCandidate:
    """An engine and the artefact that it would run."""

    engine: str
    artefact: Artefact

    def __str__(self) -> str:
        return f"{self.engine} with {self.artefact.blob.file}"


def open_engine(
    model: Model,
    engine: str = AUTO,
    input_size_px: tuple[int, int] | None = None,
    threads: int = 1,
    precision: Precision | None = None,
) -> Engine:
    """Load ``model``, ready to run: every check is behind it.

    engine: one of ENGINE_NAMES; ``auto`` takes what was measured to be the best on this machine. Where
        nothing was measured (``engines.autotune`` does it): in this order, what is installed, whose weights
        are here, what can take the size, int8 before float, the manifest's order.
    input_size_px: (width, height), None for the manifest's.
    precision: of the artefact, where only that will do.
    threads: for one run, 0 for as many as this process has cores; several callers may run at once.
    Raises EngineError (no engine fits, it is not installed, the file is not what the manifest says),
    ModelError (weights missing or damaged).
    """
    if engine == REMOTE:
        raise EngineError(f"engine {REMOTE} is for pipeline files, which name its servers under `remote`")
    cores = threads or whole_cpus()
    name, artefact = choose(model, engine, input_size_px, precision)
    size_px = input_size_px or artefact.input.size_px
    if engine == AUTO and precision is None:
        best = measurement_cache.choice(model, size_px, cores, candidates(model, size_px))
        if best is not None:
            name, artefact = best.engine, best.artefact
    return open_candidate(model, EngineCandidate(name, artefact), size_px, cores)


def is_measured(model: Model, input_size_px: tuple[int, int]) -> bool:
    """Return whether the best engine is known here: it was measured, or there is only one candidate."""
    options = candidates(model, input_size_px)
    return len(options) < 2 or measurement_cache.choice(model, input_size_px, 1, options) is not None


def open_candidate(
    model: Model, candidate: EngineCandidate, input_size_px: tuple[int, int], threads: int
) -> Engine:
    """Load one artefact in one engine. Raises EngineError and ModelError as ``open_engine`` does."""
    name, artefact = candidate.engine, candidate.artefact
    if not ENGINES[name].installed:
        raise EngineError(
            f"model {model.name}: engine {name} is not installed; install it with {ENGINES[name].install}"
        )
    path = registry.artefact_path(model, artefact)
    loaded: Engine = adapter(name).load(name, artefact, path, len(model.classes), input_size_px, threads)
    return loaded


def adapter(name: str) -> ModuleType:
    """The module that drives engine ``name``, which imports its runtime: ``load``, ``absent``, ``device``."""
    return importlib.import_module(f"edgeseg.engines.{ENGINES[name].module}")


def choose(
    model: Model,
    engine: str = AUTO,
    input_size_px: tuple[int, int] | None = None,
    precision: Precision | None = None,
) -> tuple[str, Artefact]:
    """The engine and artefact that ``open_engine`` would load where nothing was measured; reads no weights.

    Raises EngineError.
    """
    if engine not in (*ENGINE_NAMES, REMOTE):
        raise EngineError(f"engine '{engine}' is not known{suggestion(engine, ENGINE_NAMES)}")
    names = tuple(ENGINES) if engine in (AUTO, REMOTE) else (engine,)
    options = [
        (name, artefact)
        for artefact in model.artefacts
        for name in names
        if artefact.format in ENGINES[name].formats and precision in (None, artefact.precision)
    ]
    if not options:
        has = ", ".join(sorted({f"{artefact.format} {artefact.precision}" for artefact in model.artefacts}))
        reads = " or ".join(formats(engine)) + (f" in {precision}" if precision else "")
        raise EngineError(f"model {model.name}: engine {engine} reads {reads}, the model has {has} only")
    return min(options, key=lambda option: _demerits(model, option[0], option[1], input_size_px))


def candidates(model: Model, input_size_px: tuple[int, int]) -> tuple[EngineCandidate, ...]:
    """What ``auto`` has to choose from: is installed, reads the artefact, has its weights, takes the size.

    Ordered by ``choose``'s preference, so that the first is what it would take.
    """
    able = [
        EngineCandidate(name, artefact)
        for artefact in model.artefacts
        for name, spec in ENGINES.items()
        if artefact.format in spec.formats
        and _compiled(artefact) == (name == CORAL)
        and not (spec.module == "openvino" and bare_integers(artefact))
        and _flavoured(artefact, name)
        and artefact.input.refusal(input_size_px) is None
        and spec.installed
        and registry.has_weights(model, artefact)
    ]
    return tuple(sorted(able, key=lambda each: each.artefact.precision != "int8"))


def _demerits(
    model: Model, name: str, artefact: Artefact, input_size_px: tuple[int, int] | None
) -> tuple[bool, ...]:
    return (
        not ENGINES[name].installed,
        _compiled(artefact) != (name == CORAL),
        input_size_px is not None and artefact.input.refusal(input_size_px) is not None,
        not registry.has_weights(model, artefact),
        artefact.precision != "int8" or not _flavoured(artefact, name),
    )


def _flavoured(artefact: Artefact, name: str) -> bool:
    """TensorRT takes symmetric int8 alone, which is slower than float everywhere else."""
    return artefact.precision == "float" or (artefact.flavour == "tensorrt") == (name == "tensorrt")


def _compiled(artefact: Artefact) -> bool:
    """For the Edge TPU, as its name says."""
    return artefact.blob.file.endswith(_COMPILED)
