"""In-process pipeline: the daemon's own stages, frame by frame in one process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import cv2

from edgeseg.clock import SystemClock
from edgeseg.engines import open_engine
from edgeseg.engines.base import Engine
from edgeseg.frames import U8, Fit, Frame, Picture
from edgeseg.models.model import Model
from edgeseg.pipeline import Analysis
from edgeseg.publish.jsonl import JsonLinesPublisher
from edgeseg.publish.topics import Topics
from edgeseg.runtime.camera import Camera
from edgeseg.sources.open import open_source
from edgeseg.stages.preprocess import Preprocess
from edgeseg.tools.bench import workload


class Watching:
    """One camera of the fixed work that publishes to nowhere. A context manager."""

    def __init__(self, model: Model, zones: int = workload.ZONES) -> None:
        self._model = model
        self._zones = zones
        self._clock = SystemClock()
        self._seq = count()
        self._opened = ExitStack()

    def __enter__(self) -> Watching:
        folder = Path(self._opened.enter_context(tempfile.TemporaryDirectory()))
        text = workload.pipeline_text(self._model, ["clip.mp4"], zones=self._zones)
        settings = workload.settings(folder, text)
        stream = self._opened.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        topics = Topics("edgeseg", settings.node, boot="bench", clock=self._clock)
        self.publisher = self._opened.enter_context(JsonLinesPublisher(topics, stream))
        self.settings = settings.cameras[0]
        self.camera = Camera(
            settings.node, self.settings, self._model, settings.groups, self.publisher, self._clock, count(1)
        )
        self.camera.connecting()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def analyse(self, views: U8, fit: Fit, picture: Picture, engine: Engine) -> Analysis | None:
        """One frame from network input to published messages."""
        self.camera.received(picture.time)
        frame = Frame(self.settings.name, next(self._seq), views, fit, picture.time)
        return self.camera.analyse(frame, engine)


def watch(
    clip: str, model: str, engine: str, size_px: tuple[int, int], precision: str | None = None
) -> Iterator[None]:
    """Decode every picture of the clip, over and over, and analyse it; each ``next`` is one frame."""
    cv2.setNumThreads(1)
    found = workload.network(model).model
    place = Preprocess("stretch", (size_px[0], size_px[1]))
    with ExitStack() as stack:
        # A worker of the daemon has one thread of the engine.
        network = open_engine(found, engine, (size_px[0], size_px[1]), 1, precision)  # type: ignore[arg-type]
        stack.callback(network.close)
        watching = stack.enter_context(Watching(found))
        for picture, fit, views in placed(clip, place):
            watching.analyse(views, fit, picture, network)
            yield


def placed(clip: str, place: Preprocess) -> Iterator[tuple[Picture, Fit, U8]]:
    """Every picture of the clip, over and over, with its network input; the input's memory is used again."""
    out: U8 | None = None
    while True:
        with open_source(clip) as source:
            for picture in source:
                fit, out = place(picture, out)
                yield picture, fit, out
