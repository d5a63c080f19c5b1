"""Engine choice: benchmarks every candidate on this machine, and opens the fastest one with right labels.

The reference is onnxruntime on the float network, or the first candidate that works. A candidate is within
the accuracy bound where it gives ``LEAST_AGREEMENT`` of the cells of two real pictures, of which the
reference is sure, the same label, int8 against float too; ``LEAST_AGREEMENT_GATED`` where the manifest
shows that an int8 artefact passed the gate. Among these the one that takes the least time
for a frame wins: CPU time of all threads, or an accelerator's time where that is longer.

Two candidates at a time run frame by frame in turn, so that other load on the machine slows both alike.
"""

from __future__ import annotations

import logging
import threading

from edgeseg.clock import Clock, SystemClock
from edgeseg.engines import measurement_cache
from edgeseg.engines.autotune.benchmark import LIMIT_S, measure
from edgeseg.engines.base import Engine
from edgeseg.engines.measurement_cache import Table
from edgeseg.engines.select import EngineCandidate, candidates, choose, open_candidate, open_engine
from edgeseg.errors import EdgesegError, EngineError
from edgeseg.models.model import Model
from edgeseg.models.runtimes import AUTO

log = logging.getLogger(__name__)


def open_best_engine(
    model: Model,
    engine: str,
    input_size_px: tuple[int, int],
    threads: int,
    stop: threading.Event | None = None,
    clock: Clock | None = None,
) -> Engine:
    """Open an engine as ``open_engine`` does, but measure first for ``auto`` where no measurement is cached.

    Args:
        model: the network to run.
        engine: one of ENGINES; only ``auto`` measures, for ``LIMIT_S`` at most.
        input_size_px: (width, height).
        threads: for one run.
        stop: ends a benchmark early; nothing is saved then.
        clock: of the benchmark, None for the system's.

    Raises EngineError and ModelError as ``open_engine`` does.
    """
    if engine != AUTO:
        return open_engine(model, engine, input_size_px, threads)
    for candidate in rank_candidates(model, input_size_px, threads, stop, clock):
        try:
            return open_candidate(model, candidate, input_size_px, threads)
        except EngineError as error:
            # It ran when it was measured: a device was unplugged, a library replaced.
            log.warning("engine auto: %s cannot be opened, the next best is used: %s", candidate, error)
    return open_engine(model, choose(model, AUTO, input_size_px)[0], input_size_px, threads)


def rank_candidates(
    model: Model,
    input_size_px: tuple[int, int],
    threads: int,
    stop: threading.Event | None = None,
    clock: Clock | None = None,
) -> tuple[EngineCandidate, ...]:
    """Return the candidates that work, best first: from the measurement cache, else measured now and saved.

    Args as of ``open_best_engine``.
    """
    options = candidates(model, input_size_px)
    if len(options) < 2:
        return options
    table = measurement_cache.load(model, input_size_px, threads, options, exactly=True)
    if table is None:
        stop = stop or threading.Event()
        table = measure(model, options, input_size_px, threads, LIMIT_S, clock or SystemClock(), stop)
        _log_failures(model, table)
        if not stop.is_set():
            save_measurements(model, input_size_px, threads, options, table)
    best = table.best
    if best is not None:
        log.info(
            "engine auto: %s at %dx%d runs in %s with %s, %.1f ms of CPU a frame",
            model.name,
            *input_size_px,
            best.engine,
            best.file,
            best.cpu_ms or 0.0,
        )
    by_name = {(option.engine, option.artefact.blob.file): option for option in options}
    return tuple(by_name[result.engine, result.file] for result in table.ranking())


def save_measurements(
    model: Model,
    input_size_px: tuple[int, int],
    threads: int,
    options: tuple[EngineCandidate, ...],
    table: Table,
) -> None:
    """Save ``table`` for the next start; log a warning where the cache cannot be written.

    Args:
        model: the network that was measured.
        input_size_px: (width, height) it was measured at.
        threads: of one run.
        options: the candidates; their artefacts are part of the cache key.
        table: their results.
    """
    try:
        measurement_cache.save(model, input_size_px, threads, options, table)
    except EdgesegError as error:
        log.warning("engine auto: the measurement is not saved, the next start measures again: %s", error)


def _log_failures(model: Model, table: Table) -> None:
    """Log the candidates that failed, once; ``edgeseg doctor`` shows the slower ones."""
    for result in table.results:
        if result.state == "failed":
            log.warning(
                "engine auto: %s with %s cannot run %s: %s",
                result.engine,
                result.file,
                model.name,
                result.verdict,
            )
