"""Served model: takes pictures, returns labels and confidence, and limits concurrent requests."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from edgeseg.engines.base import Engine
from edgeseg.errors import EdgesegError
from edgeseg.frames import U8, Fit
from edgeseg.kserve.jpeg import decode
from edgeseg.models.model import Model
from edgeseg.models.runtimes import JPEG_SUFFIX
from edgeseg.stages import postprocess

_NO_FIT = Fit(1, 1, 1, 1, ())


class FullError(EdgesegError):
    """As many requests run and wait as may: the client had better go elsewhere."""


class BadRequestError(EdgesegError):
    """The request does not fit the model."""


class Admission:
    """How many run at once, and how many may wait for their turn; whoever comes then is refused.

    A queue that grows makes every answer late, and late answers are thrown away by who asked.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self.refused = 0
        self._turns = threading.Semaphore(running)
        self._places = threading.Semaphore(running + waiting)

    @contextlib.contextmanager
    def turn(self, patience_s: float | None) -> Iterator[None]:
        """Wait for a turn, at most ``patience_s``. Raises FullError."""
        if not self._places.acquire(blocking=False):
            self.refused += 1
            raise FullError("as many requests run and wait here as may")
        try:
            if not self._turns.acquire(timeout=patience_s):
                raise FullError("no turn came up before the deadline")
            try:
                yield
            finally:
                self._turns.release()
        finally:
            self._places.release()


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """A model on an engine, under its name and, for JPEG, NAME-jpeg.

    grid: rows and columns of its answer. certain: whether it gives a confidence. admission: of this machine,
    shared by all that is offered.
    """

    model: Model
    engine: Engine
    grid: tuple[int, int]
    certain: bool
    admission: Admission

    @property
    def names(self) -> tuple[str, str]:
        return self.model.name, self.model.name + JPEG_SUFFIX

    def picture(self, raw: memoryview | bytes) -> U8:
        """uint8 (1, h, w, 3) RGB of so many bytes, without a copy. Raises BadRequestError."""
        width, height = self.engine.input_size_px
        if len(raw) != width * height * 3:
            raise BadRequestError(f"got {len(raw)} bytes, expected {width * height * 3} for {width}x{height}")
        return np.frombuffer(raw, np.uint8).reshape(1, height, width, 3)

    def answer(self, picture: Callable[[], U8], patience_s: float | None) -> tuple[U8, U8 | None]:
        """labels and confidence, uint8 (1, rows, columns). ``picture`` is called when there is a turn, for
        decoding is work too. Raises FullError, BadRequestError, EngineError."""
        with self.admission.turn(patience_s):
            answered = postprocess.label_map(self.engine.run(picture()), _NO_FIT, self.model)
        return answered.labels, answered.confidence

    def jpeg(self, coded: bytes) -> U8:
        """A JPEG of the network's size -> uint8 (1, h, w, 3) RGB. Raises BadRequestError."""
        try:
            return decode(coded, self.engine.input_size_px)
        except ValueError as error:
            raise BadRequestError(str(error)) from None


def offer(model: Model, engine: Engine, admission: Admission) -> Offer:
    """What it answers is seen from a black picture. Raises EngineError."""
    width, height = engine.input_size_px
    answered = postprocess.label_map(engine.run(np.zeros((1, height, width, 3), np.uint8)), _NO_FIT, model)
    _, rows, columns = answered.labels.shape
    return Offer(model, engine, (rows, columns), answered.confidence is not None, admission)
