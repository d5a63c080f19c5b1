"""``--refine`` of the commands that segment pictures."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edgeseg.errors import EdgesegError
from edgeseg.settings import REFINEMENTS

if TYPE_CHECKING:
    from edgeseg.engines.base import Engine
    from edgeseg.models.model import Model, Precision
    from edgeseg.settings import Refinement


def add_refine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--refine",
        nargs="+",
        choices=REFINEMENTS,
        default=(),
        help="more accuracy for more time: the mirrored picture too, the model's other sizes too, boundaries "
        "along those of the picture; any of them",
    )


def open_refined(
    model: Model,
    engine: str,
    size_px: tuple[int, int] | None,
    refine: tuple[Refinement, ...],
    threads: int,
    precision: Precision | None = None,
) -> Engine:
    """As ``engines.open_engine``, with what ``--refine`` asks for. Raises EngineError, ModelError, and
    EdgesegError where the model cannot have it."""
    from edgeseg.config.keys.refine import refine_error
    from edgeseg.engines import open_engine
    from edgeseg.engines.refine import refined
    from edgeseg.models.runtimes import formats

    opened = open_engine(model, engine, size_px, threads, precision)
    able = [artefact for artefact in model.artefacts if artefact.format in formats(opened.name)]
    flaw = refine_error(refine, opened.name, model, able, opened.input_size_px)
    if flaw is not None:
        opened.close()
        raise EdgesegError(f"--refine: {flaw}")
    return refined(opened, model, refine, threads, precision)
