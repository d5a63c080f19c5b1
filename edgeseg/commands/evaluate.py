"""``edgeseg eval``: scores a model on labelled pictures, or its artefacts against each other."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from edgeseg.clock import cpu_s
from edgeseg.commands.shared.network_options import add_refine, open_refined
from edgeseg.commands.shared.terminal import print_table
from edgeseg.errors import EdgesegError
from edgeseg.models.runtimes import ENGINE_NAMES
from edgeseg.settings import FIT_NAMES, REFINEMENTS

if TYPE_CHECKING:
    from edgeseg.engines.base import Engine
    from edgeseg.frames import U8, LabelMap, Picture
    from edgeseg.models.model import Model
    from edgeseg.settings import Refinement
    from edgeseg.zoo.data import Sample

JSON_SCHEMA: dict[str, Any] = {
    "title": "edgeseg eval --json",
    "type": "object",
    "required": ["model", "engine", "input", "fit", "pictures"],
    "properties": {
        "model": {"type": "string"},
        "engine": {"type": "string"},
        "input": {"type": "string", "description": "WIDTHxHEIGHT that the network saw"},
        "fit": {"enum": list(FIT_NAMES)},
        "refine": {"type": "array", "items": {"enum": list(REFINEMENTS)}},
        "cpu_ms": {
            "type": "number",
            "description": "CPU time of network and refinement for a picture, all threads; the median",
        },
        "pictures": {"type": "integer"},
        "iou": {
            "type": "object",
            "description": "class -> intersection over union, 0-1; null: neither there nor predicted",
            "additionalProperties": {"type": ["number", "null"]},
        },
        "mean_iou": {"type": "number"},
        "pixel_accuracy": {"type": "number"},
        "frequency_weighted_iou": {"type": "number"},
        "agreement": {"type": "number", "description": "share of equal labels with the float artefact, 0-1"},
        "agreement_iou": {"type": "object", "additionalProperties": {"type": ["number", "null"]}},
        "occupancy_error": {
            "type": "object",
            "description": "difference of a class's share of a zone, percentage points",
            "properties": {"mean": {"type": "number"}, "p95": {"type": "number"}},
        },
        "shift_cells": {"type": "array", "items": {"type": "number"}, "description": "x, y"},
    },
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "eval",
        help="score a model on labelled pictures, or its artefacts against each other",
        description="With a folder that has images/ and labels/ (or CamVid's val/ and valannot/): IoU by "
        "class, mean IoU, pixel accuracy, frequency-weighted IoU; one confusion matrix over all pictures, "
        "void left out. With any other folder of pictures, or a clip: how far the chosen artefact agrees "
        "with the float one, by class and in what zones would show.",
    )
    parser.add_argument("model", help="name or folder of a model")
    parser.add_argument("data", type=Path, help="a folder with labels, a folder of pictures, or a clip")
    parser.add_argument("--engine", default="auto", choices=ENGINE_NAMES, help="(%(default)s)")
    parser.add_argument("--precision", choices=("float", "int8"), help="the artefact; default: int8 first")
    parser.add_argument("--input", metavar="WIDTHxHEIGHT", help="size the network sees; default: the model's")
    parser.add_argument("--fit", choices=FIT_NAMES, help="default: the model's own")
    add_refine(parser)
    parser.add_argument("--pictures", type=int, default=64, help="how many pictures of a clip (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON (`edgeseg schema cli` describes it)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from edgeseg.models import registry

    if not args.data.exists():
        raise EdgesegError(f"{args.data}: no such folder or clip")
    model = registry.find(args.model)
    samples = _labelled(args.data)
    answer = _score(args, model, samples) if samples else _compare(args, model)
    if args.json:
        print(json.dumps(answer, indent=2))
    else:
        _print(answer)
    return 0


def _labelled(data: Path) -> tuple[Sample, ...]:
    """The labelled pictures of a folder; none where it has no labels. Raises ModelError."""
    from edgeseg.zoo.data import pairs

    for pictures, labels in (("images", "labels"), ("val", "valannot")):
        if (data / labels).is_dir():
            return pairs(data / pictures, data / labels)
    return ()


@dataclass(frozen=True, slots=True)
class _Network:
    """A model on an engine, at one size and fit."""

    model: Model
    engine: Engine
    fit: Any
    refine: tuple[Refinement, ...] = ()
    took_s: list[float] = field(default_factory=list)

    def label_map(self, picture: Picture) -> LabelMap:
        from edgeseg.stages import postprocess
        from edgeseg.stages.preprocess import Preprocess

        fit, views = Preprocess(self.fit, self.engine.input_size_px)(picture)
        began_s = cpu_s()
        label_map = postprocess.label_map(self.engine.run(views), fit, self.model)
        self.took_s.append(cpu_s() - began_s)
        return label_map

    def described(self) -> dict[str, Any]:
        width, height = self.engine.input_size_px
        return {
            "model": self.model.name,
            "engine": self.engine.name,
            "input": f"{width}x{height}",
            "fit": self.fit,
            "refine": list(self.refine),
            "cpu_ms": round(1000 * median(self.took_s), 1),
        }


def _open(args: argparse.Namespace, model: Model, precision: Any) -> _Network:
    engine = open_refined(model, args.engine, args.input, args.refine, threads=0, precision=precision)
    return _Network(model, engine, args.fit or model.fit, args.refine)


def _score(args: argparse.Namespace, model: Model, samples: tuple[Sample, ...]) -> dict[str, Any]:
    """Labels brought back through the fit, enlarged by nearest neighbour, scored at the picture's size."""
    from edgeseg.commands.shared.terminal import progress
    from edgeseg.drawing.overlay import labels_on_picture
    from edgeseg.frames import FrameTime, Picture
    from edgeseg.zoo.data import read_sample
    from edgeseg.zoo.metrics import Confusion

    confusion = Confusion(len(model.classes))
    with ExitStack() as stack:
        network = _open(args, model, args.precision)
        stack.callback(network.engine.close)
        advance = stack.enter_context(progress(f"scoring {model.name}", "picture", args.json))
        for number, sample in enumerate(samples, 1):
            picture, truth = read_sample(sample, len(model.classes))
            label_map = network.label_map(Picture((picture,), "rgb", True, "bt601", FrameTime(0.0, 0.0)))
            confusion.add(labels_on_picture(label_map, (truth.shape[1], truth.shape[0])), truth)
            advance(number / len(samples))
    scores = confusion.scores()
    return network.described() | {
        "pictures": len(samples),
        "iou": _by_class(model, scores.iou),
        "mean_iou": round(scores.mean_iou, 4),
        "pixel_accuracy": round(scores.pixel_accuracy, 4),
        "frequency_weighted_iou": round(scores.frequency_weighted_iou, 4),
    }


def _compare(args: argparse.Namespace, model: Model) -> dict[str, Any]:
    from edgeseg.zoo import gate

    with ExitStack() as stack:
        reference = _open(args, model, "float")
        stack.callback(reference.engine.close)
        candidate = _open(args, model, args.precision)
        stack.callback(candidate.engine.close)
        before: list[U8] = []
        after: list[U8] = []
        for picture in _spread(args.data, args.pictures):
            before.extend(reference.label_map(picture).labels)
            after.extend(candidate.label_map(picture).labels)
        verdict = gate.judge(before, after, len(model.classes))
    return candidate.described() | {
        "pictures": len(before),
        "agreement": round(verdict.agreement, 4),
        "agreement_iou": _by_class(model, verdict.class_iou),
        "occupancy_error": {
            "mean": round(verdict.occupancy_mean, 3),
            "p95": round(verdict.occupancy_p95, 3),
        },
        "shift_cells": [round(shift, 3) for shift in verdict.shift_cells],
    }


def _spread(data: Path, most: int) -> Iterator[Picture]:
    """Up to ``most`` pictures, evenly spread over a folder or clip. Raises SourceError."""
    from edgeseg.sources.open import open_source

    with open_source(str(data)) as source:
        duration_s = source.duration_s or 0.0
        due_s = 0.0
        for picture in source:
            if picture.time.camera_time_s >= due_s:
                due_s += duration_s / most
                yield picture


def _by_class(model: Model, values: Any) -> dict[str, float | None]:
    # NaN is the class that is neither there nor predicted; JSON has no word for it.
    return {
        name: None if value != value else round(float(value), 4)
        for name, value in zip(model.classes, values, strict=True)
    }


def _print(answer: dict[str, Any]) -> None:
    how = f", refined by {', '.join(answer['refine'])}" if answer["refine"] else ""
    print(
        f"{answer['model']} on {answer['engine']}, input {answer['input']}, fit {answer['fit']}{how}, "
        f"{answer['cpu_ms']:.1f} ms of CPU a picture"
    )
    by_class, heading = (answer["iou"], "IoU") if "iou" in answer else (answer["agreement_iou"], "same area")
    rows = [(name, "-" if value is None else f"{value:.1%}") for name, value in by_class.items()]
    print_table((f"{answer['pictures']} pictures", heading), rows)
    if "iou" in answer:
        print(
            f"mean IoU {answer['mean_iou']:.1%}, pixel accuracy {answer['pixel_accuracy']:.1%}, "
            f"frequency-weighted IoU {answer['frequency_weighted_iou']:.1%}"
        )
        return
    error, (x, y) = answer["occupancy_error"], answer["shift_cells"]
    print(f"labels agree with float on {answer['agreement']:.2%}, shift {x:+.2f}, {y:+.2f} cells")
    print(
        f"zone occupancy differs by {error['mean']:.2f} percentage points on average, "
        f"{error['p95']:.2f} at the 95th percentile"
    )
