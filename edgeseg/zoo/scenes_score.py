"""Score networks and teachers on the held-out pictures of the scenes, each source by itself:
``python -m edgeseg.zoo.scenes_score WHAT... --scenes DIR``.

WHAT is a checkpoint (best.pt), an ONNX deploy graph, or ``coral``, ``espnet``, ``teachers`` (the mean of
these two) or ``agreement`` (the labels that train). Prints a table and, with ``--out``, writes JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgeseg.errors import EdgesegError, ModelError
from edgeseg.frames import U8
from edgeseg.system.atomic_files import INTACT, atomic_write
from edgeseg.zoo.data import Sample, read_sample
from edgeseg.zoo.label_agreement import agree
from edgeseg.zoo.metrics import Scores
from edgeseg.zoo.onnx_session import Session
from edgeseg.zoo.scenes import CLASSES, OBJECTS, held_out_samples, source_of
from edgeseg.zoo.state import load_network
from edgeseg.zoo.surgery import LABELS
from edgeseg.zoo.teachers import Probabilities, Teachers
from edgeseg.zoo.validate import PADDING_LEVEL, predict

Predictor = Callable[[U8], U8]
"""uint8 (h, w, 3) RGB -> labels uint8 (h, w); values beyond the classes mean "no object"."""

HEAVY = (5, 6)
"""bus and truck: one class when compared with teachers, which know no truck."""


@dataclass(slots=True)
class Counts:
    """Pixels of one source. Each int64 (classes + 1): the last is bus and truck together.

    Unlabelled pixels count as "no object": people labelled every object in COCO (its crowds, which they did
    not, are counted against the network), but one alone in the other sources, whose IoU is therefore low
    where there are bystanders and whose recall is the better figure.
    """

    truth: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(CLASSES) + 1, np.int64))
    predicted: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(CLASSES) + 1, np.int64))
    both: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(CLASSES) + 1, np.int64))
    pictures: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(CLASSES) + 1, np.int64))

    def add(self, predicted: U8, truth: U8) -> None:
        """Both uint8 (h, w)."""
        for label in (*OBJECTS, len(CLASSES)):
            members = HEAVY if label == len(CLASSES) else (label,)
            theirs, ours = np.isin(truth, members), np.isin(predicted, members)
            self.truth[label] += int(theirs.sum())
            self.predicted[label] += int(ours.sum())
            self.both[label] += int((theirs & ours).sum())
            self.pictures[label] += bool(theirs.any())

    def iou(self) -> npt.NDArray[np.float64]:
        """nan for classes without true pixels."""
        union = self.truth + self.predicted - self.both
        return np.where(self.truth > 0, self.both / np.maximum(union, 1), np.nan)

    def recall(self) -> npt.NDArray[np.float64]:
        """nan for classes without true pixels."""
        return np.where(self.truth > 0, self.both / np.maximum(self.truth, 1), np.nan)

    def object_mean(self) -> float:
        """Mean IoU over the object classes that have true pixels; 0 without any."""
        values = self.iou()[list(OBJECTS)]
        return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0


def score(predictor: Predictor, samples: Sequence[Sample]) -> dict[str, Counts]:
    """Counts by source."""
    found: dict[str, Counts] = {}
    for sample in samples:
        picture, truth = read_sample(sample, len(CLASSES))
        found.setdefault(source_of(sample.picture.stem), Counts()).add(predictor(picture), truth)
    return found


def validate_objects(network: nn.Module, samples: Sequence[Sample], *, bf16: bool = False) -> Scores:
    """Scores of a network while it trains: IoU of the object classes alone, others nan."""
    network.eval()
    counts = Counts()
    for sample in samples:
        picture, truth = read_sample(sample, len(CLASSES))
        counts.add(predict(network, picture, bf16=bf16), truth)
    iou = np.full(len(CLASSES), np.nan)
    iou[list(OBJECTS)] = counts.iou()[list(OBJECTS)]
    return Scores(iou, counts.object_mean(), float("nan"), float("nan"))


def predictor_of(what: str, teachers: Path | None, models: Path | None, scale: float) -> Predictor:
    """Raises ModelError for what cannot be loaded."""
    if what in ("coral", "espnet", "teachers", "agreement"):
        if teachers is None or models is None:
            raise ModelError(f"{what}: name the teachers' folders with --teachers and --models")
        return _teacher(what, Teachers(teachers, models))
    path = Path(what)
    if path.suffix == ".onnx":
        return _graph(Session(path), scale)
    network, classes = load_network(path)
    if classes != CLASSES:
        raise ModelError(f"{path}: {len(classes)} classes, expected those of the scenes")
    return lambda picture: predict(network, picture, scale)


def _teacher(what: str, teachers: Teachers) -> Predictor:
    def said(probabilities: Probabilities) -> U8:
        return np.asarray(probabilities.argmax(axis=0), np.uint8)

    def answer(picture: U8) -> U8:
        answers = teachers(picture)
        if what == "agreement":
            return agree(answers, None, whole=False).labels
        if what == "teachers":
            return said(np.asarray(answers.coral + answers.espnet, np.float32))
        return said(answers.coral if what == "coral" else answers.espnet)

    return answer


def _graph(session: Session, scale: float) -> Predictor:
    def answer(picture: U8) -> U8:
        height, width = picture.shape[:2]
        size = (round(width * scale), round(height * scale))
        resized = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR) if scale != 1.0 else picture
        bottom, right = -size[1] % 32, -size[0] % 32
        level = (PADDING_LEVEL,) * 3
        padded = cv2.copyMakeBorder(resized, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=level)
        grid = np.asarray(session.run(np.asarray(padded, np.uint8)[None])[LABELS][0], np.uint8)
        stride = padded.shape[0] // grid.shape[0]
        rows = ((np.arange(height) + 0.5) * scale).astype(np.intp) // stride
        columns = ((np.arange(width) + 0.5) * scale).astype(np.intp) // stride
        return np.asarray(grid[rows[:, None], columns[None, :]])

    return answer


def table(what: str, found: dict[str, Counts]) -> str:
    """Lines of text: IoU (recall) of each object class that the source has."""
    lines = []
    for source, counts in sorted(found.items()):
        iou, recall = counts.iou(), counts.recall()
        names = [*(CLASSES[label] for label in OBJECTS), "bus+truck"]
        places = [*OBJECTS, len(CLASSES)]
        cells = [
            f"{name} {iou[place]:.3f} ({recall[place]:.2f}, {counts.pictures[place]})"
            for name, place in zip(names, places, strict=True)
            if counts.truth[place]
        ]
        lines.append(f"{what} {source}: mean {counts.object_mean():.3f}: {', '.join(cells)}")
    return "\n".join(lines)


def as_json(found: dict[str, Counts]) -> dict[str, object]:
    """Figures of each source, without classes that it does not have."""
    names = {label: CLASSES[label] for label in OBJECTS} | {len(CLASSES): "bus+truck"}
    return {
        source: {
            "object_mean_iou": round(counts.object_mean(), 4),
            "classes": {
                name: {
                    "iou": round(float(counts.iou()[label]), 4),
                    "recall": round(float(counts.recall()[label]), 4),
                    "pictures": int(counts.pictures[label]),
                }
                for label, name in names.items()
                if counts.truth[label]
            },
        }
        for source, counts in sorted(found.items())
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 2 for a user's mistake, said in one line."""
    parser = argparse.ArgumentParser(prog="python -m edgeseg.zoo.scenes_score", description=__doc__)
    parser.add_argument("what", nargs="+", metavar="WHAT")
    parser.add_argument("--scenes", type=Path, required=True, help="folder with labelled/ and unlabelled/")
    parser.add_argument("--teachers", type=Path, help="folder of ESPNetv2, ADE20K and YOLOX")
    parser.add_argument("--models", type=Path, help="folder of Coral's folded .npz")
    parser.add_argument("--source", default="", help="only pictures whose names begin so")
    parser.add_argument("--scale", type=float, default=1.0, help="enlargement of the pictures (%(default)s)")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    figures: dict[str, object] = {}
    try:
        samples = held_out_samples(options.scenes, options.source)
        for what in options.what:
            found = score(predictor_of(what, options.teachers, options.models, options.scale), samples)
            print(table(what, found), flush=True)
            figures[what] = as_json(found)
        if options.out is not None:
            with atomic_write(options.out, INTACT) as partial:
                partial.write_text(json.dumps(figures, indent=2) + "\n")
    except EdgesegError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
