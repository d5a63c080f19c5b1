"""Refinement: more accuracy for more time, by several runs and filtered edges.

``flip`` also asks for the mirrored picture, ``sizes`` at the model's other measured input sizes; what they
answer is put to the vote (``votes``). ``edges`` draws boundaries along those of the picture (``edges``).
What each gains and costs: docs/refinement.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from edgeseg.engines import open_engine
from edgeseg.engines.base import Engine
from edgeseg.engines.refine.engine import RefinedEngine
from edgeseg.engines.select import choose
from edgeseg.models.model import Model, Precision
from edgeseg.settings import Refinement


def refined(
    engine: Engine,
    model: Model,
    refine: Sequence[Refinement],
    threads: int,
    precision: Precision | None = None,
) -> Engine:
    """``engine`` with these refinements, as it is without any; it owns ``engine`` from then on.

    threads, precision: for the other sizes, see ``open_engine``. Raises EngineError and ModelError, with
    ``engine`` closed.
    """
    if not refine:
        return engine
    with ExitStack() as stack:
        stack.callback(engine.close)
        engines = [engine]
        if "sizes" in refine:
            for size_px in other_sizes_px(model, engine, precision):
                engines.append(open_engine(model, engine.name, size_px, threads, precision))
                stack.callback(engines[-1].close)
        stack.pop_all()
    return RefinedEngine(engines, model, refine)


def other_sizes_px(
    model: Model, engine: Engine, precision: Precision | None = None
) -> tuple[tuple[int, int], ...]:
    """The model's measured input sizes (width, height) beside the engine's own, where it can take them."""
    found = []
    for score in model.sizes:
        _, artefact = choose(model, engine.name, score.size_px, precision)
        if score.size_px != engine.input_size_px and artefact.input.refusal(score.size_px) is None:
            found.append(score.size_px)
    return tuple(found)
