"""Golden label maps of every network that ships, on pictures that are drawn here.

``python -m tests.support.golden_maps`` writes them anew: after a network was replaced, or a scene changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgeseg.engines import open_engine
from edgeseg.engines.base import Engine
from edgeseg.frames import FrameTime, LabelMap, Picture
from edgeseg.models import registry
from edgeseg.models.manifest import Artefact, Model
from edgeseg.stages import postprocess
from edgeseg.stages.preprocess import Preprocess
from tests.conftest import TESTS
from tests.support.drawn_scenes import SCENES, U8

FOLDER = TESTS / "golden" / "drawn"
# Not compared: where the network itself was unsure, other kernels round a cell the other way. A confidence
# of 170 is two thirds for the winner.
UNSURE = 255
_SURE = 170
_FIRST_READER = {"onnx": "onnxruntime", "tflite": "litert"}


@dataclass(frozen=True, slots=True)
class Shipped:
    """One file of weights that travels with edgeseg."""

    model: Model
    artefact: Artefact

    def __str__(self) -> str:
        return f"{self.model.name}-{self.artefact.blob.file}"

    @property
    def reader(self) -> str:
        """The engine that the golden maps of this file come from."""
        return _FIRST_READER[self.artefact.format]

    def opened(self, engine: str) -> Engine:
        """Raises EngineError where the engine does not read this file."""
        return open_engine(self.model, engine, precision=self.artefact.precision)

    def golden(self, scene: str) -> Path:
        return FOLDER / f"{self.model.name}-{self.artefact.blob.file.replace('.', '-')}-{scene}.png"


def shipped() -> Iterator[Shipped]:
    """Every file of weights beside its manifest."""
    for model in registry.list_models():
        for artefact in model.artefacts:
            if all((model.folder / blob.file).is_file() for blob in artefact.blobs):
                yield Shipped(model, artefact)


def answer(engine: Engine, model: Model, picture: U8) -> LabelMap:
    """The label map of a picture, uint8 (h, w, 3) RGB, as the daemon makes it."""
    fit, views = Preprocess(model.fit, engine.input_size_px)(
        Picture((picture,), "rgb", True, "bt601", FrameTime(0.0, 0.0))
    )
    return postprocess.label_map(engine.run(views), fit, model)


def write(one: Shipped) -> None:
    engine = one.opened(one.reader)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for scene, draw in SCENES.items():
        found = answer(engine, one.model, draw())
        labels = found.labels[0].copy()
        if found.confidence is not None:
            labels[found.confidence[0] < _SURE] = UNSURE
        print(f"{one}, {scene}: {np.mean(labels != UNSURE):.0%} of the cells are sure")
        cv2.imwrite(str(one.golden(scene)), labels, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    engine.close()


if __name__ == "__main__":
    for stale in FOLDER.glob("*.png"):
        stale.unlink()
    for each in shipped():
        write(each)
