"""Refined engine: runs the network several times for each picture and returns one answer."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edgeseg.engines.base import Cancellable, Engine, Outputs
from edgeseg.engines.refine import edges
from edgeseg.engines.refine.votes import Ballot, Planes, count
from edgeseg.frames import U8, Fit
from edgeseg.models.model import Model
from edgeseg.settings import Refinement
from edgeseg.stages import postprocess


class RefinedEngine:
    """The network of ``engines``, one for each input size, the camera's own first. It owns them.

    Answers labels, and confidence where the network has one, whatever form the network answers in: on its own
    grid, with ``edges`` on one twice as fine. Takes the time of all the runs.
    """

    def __init__(self, engines: Sequence[Engine], model: Model, refine: Sequence[Refinement]) -> None:
        self._engines = tuple(engines)
        self._model = model
        self._mirrored = (False, True) if "flip" in refine else (False,)
        self._edges = "edges" in refine
        self.input_size_px = self._engines[0].input_size_px

    @property
    def name(self) -> str:
        return self._engines[0].name

    def run(self, batch: U8) -> Outputs:
        """See ``Engine.run``. Raises EngineError."""
        answers = [
            self._answer(engine, batch, mirror) for engine in self._engines for mirror in self._mirrored
        ]
        each = [self._agreed([answer[index] for answer in answers], view) for index, view in enumerate(batch)]
        refined: Outputs = {"labels": np.stack([one.labels for one in each])}
        if answers[0][0].confidence is not None:
            refined["confidence"] = np.stack([_sure(one) for one in each])
        return refined

    def close(self) -> None:
        """Close all of them. Idempotent."""
        for engine in self._engines:
            engine.close()

    def cancel(self, thread_id: int) -> bool:
        """See ``Cancellable.cancel``."""
        return any(isinstance(one, Cancellable) and one.cancel(thread_id) for one in self._engines)

    def _answer(self, engine: Engine, batch: U8, mirror: bool) -> list[Ballot]:
        """What the network says of each view, the right way round."""
        width, height = engine.input_size_px
        views = batch
        if engine.input_size_px != self.input_size_px:
            shrinks = width < batch.shape[2]
            how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            views = np.stack([cv2.resize(view, (width, height), interpolation=how) for view in batch])
        if mirror:
            views = np.stack([cv2.flip(view, 1) for view in views])
        said = postprocess.label_map(engine.run(views), Fit(width, height, width, height, ()), self._model)
        confidence = [None] * len(batch) if said.confidence is None else list(said.confidence)
        ballots = (Ballot(*one) for one in zip(said.labels, confidence, strict=True))
        # Engines use their output's memory again.
        return [_mirrored(one) if mirror else _copied(one) for one in ballots]

    def _agreed(self, ballots: Sequence[Ballot], view: U8) -> Ballot:
        grid = ballots[0].labels.shape
        planes: Planes = count(ballots, (grid[0], grid[1]))
        return (edges.follow(planes, view) if self._edges else planes).winners()


def _sure(ballot: Ballot) -> U8:
    assert ballot.confidence is not None, "winners have one"
    return ballot.confidence


def _copied(ballot: Ballot) -> Ballot:
    return Ballot(ballot.labels.copy(), None if ballot.confidence is None else ballot.confidence.copy())


def _mirrored(ballot: Ballot) -> Ballot:
    labels: U8 = np.ascontiguousarray(ballot.labels[:, ::-1])
    if ballot.confidence is None:
        return Ballot(labels, None)
    return Ballot(labels, np.ascontiguousarray(ballot.confidence[:, ::-1]))
