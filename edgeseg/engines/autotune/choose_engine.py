"""Which engine is the best here: every candidate runs the model at hand, and the labels must be right.

The reference is onnxruntime on the float network, or the first candidate that works. A candidate is within
the accuracy bound where it gives ``LEAST_AGREEMENT`` of the cells of two real pictures, of which the
reference is sure, the same label, int8 against float too; ``LEAST_AGREEMENT_GATED`` where the manifest
shows that an int8 artefact passed the gate. Among these the one that takes the least time
for a frame wins: CPU time of all threads, or an accelerator's time where that is longer.

Two at a time compete frame by frame, so that whatever else runs on the machine slows both alike.
"""

from __future__ import annotations

import logging
import threading

from edgeseg.clock import Clock, SystemClock
from edgeseg.engines import measurement_cache
from edgeseg.engines.autotune.contest import LIMIT_S, measure
from edgeseg.engines.base import Engine
from edgeseg.engines.measurement_cache import Table
from edgeseg.engines.select import Candidate, candidates, choose, open_candidate, open_engine
from edgeseg.errors import EdgesegError, EngineError
from edgeseg.models.model import Model
from edgeseg.models.runtimes import AUTO

log = logging.getLogger(__name__)


def open_best(
    model: Model,
    engine: str,
    input_size_px: tuple[int, int],
    threads: int,
    stop: threading.Event | None = None,
    clock: Clock | None = None,
) -> Engine:
    """As ``open_engine``, but ``auto`` measures first where nothing was measured yet: ``LIMIT_S`` at most.

    Raises EngineError and ModelError as ``open_engine`` does.
    """
    if engine != AUTO:
        return open_engine(model, engine, input_size_px, threads)
    for candidate in settle(model, input_size_px, threads, stop, clock):
        try:
            return open_candidate(model, candidate, input_size_px, threads)
        except EngineError as error:
            # It ran when it was measured: a device was unplugged, a library replaced.
            log.warning("engine auto: %s is out, the next best takes over: %s", candidate, error)
    return open_engine(model, choose(model, AUTO, input_size_px)[0], input_size_px, threads)


def settle(
    model: Model,
    input_size_px: tuple[int, int],
    threads: int,
    stop: threading.Event | None = None,
    clock: Clock | None = None,
) -> tuple[Candidate, ...]:
    """The candidates that work, best first: as remembered, else measured now, which is then remembered."""
    options = candidates(model, input_size_px)
    if len(options) < 2:
        return options
    table = measurement_cache.recall(model, input_size_px, threads, options, exactly=True)
    if table is None:
        stop = stop or threading.Event()
        table = measure(model, options, input_size_px, threads, LIMIT_S, clock or SystemClock(), stop)
        _tell(model, table)
        if not stop.is_set():
            keep(model, input_size_px, threads, options, table)
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


def keep(
    model: Model,
    input_size_px: tuple[int, int],
    threads: int,
    options: tuple[Candidate, ...],
    table: Table,
) -> None:
    """Remember what was measured; where that cannot be, say so."""
    try:
        measurement_cache.remember(model, input_size_px, threads, options, table)
    except EdgesegError as error:
        log.warning("engine auto: will measure again at the next start: %s", error)


def _tell(model: Model, table: Table) -> None:
    """Who cannot be had, once; the slower ones are in ``edgeseg doctor``."""
    for result in table.results:
        if result.state == "failed":
            log.warning(
                "engine auto: %s with %s is out for %s: %s",
                result.engine,
                result.file,
                model.name,
                result.verdict,
            )
