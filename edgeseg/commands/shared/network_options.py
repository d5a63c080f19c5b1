"""Network options: ``--input`` and ``--refine``, for the commands that segment pictures."""

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
    """Add ``--refine``."""
    parser.add_argument(
        "--refine",
        nargs="+",
        choices=REFINEMENTS,
        default=(),
        help="more accuracy for more time: the mirrored picture too, the model's other sizes too, boundaries "
        "along those of the picture; any of them",
    )


def input_size_px(text: str | None) -> tuple[int, int] | None:
    """Return (width, height) of ``--input``, None for the model's own. Raises EdgesegError."""
    from edgeseg.config.units import size_px

    try:
        return size_px(text) if text else None
    except ValueError as error:
        raise EdgesegError(f"--input: {error}") from None


def open_refined(
    model: Model,
    engine: str,
    input_size: str | None,
    refine: tuple[Refinement, ...],
    threads: int,
    precision: Precision | None = None,
) -> Engine:
    """Open an engine with the refinements of ``--refine``.

    Args:
        model: the network.
        engine: ``--engine``.
        input_size: ``--input``.
        refine: ``--refine``.
        threads: of one run, 0 for as many as this process has cores.
        precision: of the artefact, None for any.

    Raises EngineError, ModelError, and EdgesegError where an option is wrong.
    """
    from edgeseg.config.keys.refine import refine_error
    from edgeseg.engines import open_engine
    from edgeseg.engines.refine import refined
    from edgeseg.models.runtimes import formats

    opened = open_engine(model, engine, input_size_px(input_size), threads, precision)
    able = [artefact for artefact in model.artefacts if artefact.format in formats(opened.name)]
    wrong = refine_error(refine, opened.name, model, able, opened.input_size_px)
    if wrong is not None:
        opened.close()
        raise EdgesegError(f"--refine: {wrong}")
    return refined(opened, model, refine, threads, precision)
