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
    """The admission limit is reached; the client should use another server."""


class BadRequestError(EdgesegError):
    """The request does not fit the model."""


class AdmissionLimit:
    """The admission limit: how many requests run and how many wait; the next one is refused.

    A queue that grows makes every answer late, and clients discard late answers.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self.refused = 0
        self._turns = threading.Semaphore(running)
        self._places = threading.Semaphore(running + waiting)

    @contextlib.contextmanager
    def turn(self, timeout_s: float | None) -> Iterator[None]:
        """Wait for a turn, at most ``timeout_s``. Raises FullError."""
        if not self._places.acquire(blocking=False):
            self.refused += 1
            raise FullError("the admission limit of this server is reached")
        try:
            if not self._turns.acquire(timeout=timeout_s):
                raise FullError("no request ended before the deadline")
            try:
                yield
            finally:
                self._turns.release()
        finally:
            self._places.release()


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """A model on an engine, under its name and, for JPEG, NAME-jpeg.

    grid: rows and columns of its answer. certain: whether it gives a confidence. admission: of this machine,
    shared by all served models.
    """

    model: Model
    engine: Engine
    grid: tuple[int, int]
    certain: bool
    admission: AdmissionLimit

    @property
    def names(self) -> tuple[str, str]:
        return self.model.name, self.model.name + JPEG_SUFFIX

    def picture(self, raw: memoryview | bytes) -> U8:
        """uint8 (1, h, w, 3) RGB of so many bytes, without a copy. Raises BadRequestError."""
        width, height = self.engine.input_size_px
        if len(raw) != width * height * 3:
            raise BadRequestError(f"got {len(raw)} bytes, expected {width * height * 3} for {width}x{height}")
        return np.frombuffer(raw, np.uint8).reshape(1, height, width, 3)

    def answer(self, picture: Callable[[], U8], timeout_s: float | None) -> tuple[U8, U8 | None]:
        """labels and confidence, uint8 (1, rows, columns). ``picture`` is called when there is a turn, for
        decoding is work too. Raises FullError, BadRequestError, EngineError."""
        with self.admission.turn(timeout_s):
            answered = postprocess.label_map(self.engine.run(picture()), _NO_FIT, self.model)
        return answered.labels, answered.confidence

    def jpeg(self, coded: bytes) -> U8:
        """A JPEG of the network's size -> uint8 (1, h, w, 3) RGB. Raises BadRequestError."""
        try:
            return decode(coded, self.engine.input_size_px)
        except ValueError as error:
            raise BadRequestError(str(error)) from None


def serve_model(model: Model, engine: Engine, admission: AdmissionLimit) -> ServedModel:
    """Return the model ready to serve; a black picture shows the size of its answer. Raises EngineError."""
    width, height = engine.input_size_px
    answered = postprocess.label_map(engine.run(np.zeros((1, height, width, 3), np.uint8)), _NO_FIT, model)
    _, rows, columns = answered.labels.shape
    return ServedModel(model, engine, (rows, columns), answered.confidence is not None, admission)
