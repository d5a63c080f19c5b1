"""``edgeseg models train | import | quantize``: the commands that need the extra ``zoo``."""

from __future__ import annotations

import argparse
import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeseg.errors import EdgesegError

Actions = Any
"""argparse has no public name for what ``add_subparsers`` returns."""


def add_actions(actions: Actions, add: Callable[[Actions, str, str], argparse.ArgumentParser]) -> None:
    """Add the three to ``edgeseg models``. add: makes the parser of one action."""
    _add_train(
        add(actions, "train", "train or fine-tune a network on labelled pictures; resumes where it was")
    )
    _add_import(add(actions, "import", "make a model of a checkpoint: transformers' or one of ours"))
    _add_quantize(
        add(
            actions,
            "quantize",
            "make an int8 artefact on frames of your own, if it passes the gate on others",
        )
    )


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Trains a network, or fine-tunes one with --start. Run again with the same arguments it resumes; "
        "Ctrl-C finishes the step and saves. OUT receives last.pt, best.pt, curves.csv and curves.png."
    )
    parser.add_argument("recipe", help="a recipe file, or the name of one that comes with edgeseg")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="a folder with images/ and labels/ (PNG of class indices, 255 counts for nothing), or CamVid",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--start", help="what to fine-tune: a model's name, or a best.pt, of any classes")
    parser.add_argument("--weights", type=Path, help="folder of the recipe's initial weights")
    parser.add_argument("--teacher", help="a model's name, or a best.pt, whose answers are distilled")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=_at_least_one, help="end after so many steps instead of the recipe's")
    length.add_argument("--minutes", type=_positive, help="end after this much training instead of the steps")
    parser.add_argument("--leave-out", metavar="PREFIX", help="validate on these training pictures alone")
    parser.add_argument(
        "--unlabelled", type=Path, action="append", default=[], help="pictures for the teacher alone"
    )
    parser.add_argument(
        "--agreed", type=Path, help="labels of edgeseg.zoo.pseudo_label: DATA is then the scenes for cameras"
    )
    parser.add_argument(
        "--permissive", action="store_true", help="with --agreed: only pictures of permissive licences"
    )
    parser.add_argument("--threads", type=int, default=0, help="0: one for each core (%(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="threads that draw crops ahead, for a GPU")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument("--fp32", action="store_true", help="no bf16, for processors without it")
    parser.set_defaults(run=train)


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes a model folder with a float ONNX deploy graph, checked against the network it came from. "
        "Known are SegFormer and MobileNetV2 DeepLab in transformers' format (a folder, or OWNER/NAME at "
        "Hugging Face), and checkpoints of `edgeseg models train`."
    )
    parser.add_argument("origin", metavar="PATH|HUB_ID", help="a folder, a best.pt, or OWNER/NAME")
    parser.add_argument("--name", required=True, help="what the model will be called")
    parser.add_argument("--size", default="512x512", help="default input, multiples of 32 (%(default)s)")
    parser.add_argument("--title", help="default: the name")
    parser.add_argument("--licence", default="unknown", help="of the weights (%(default)s)")
    _add_into(parser)
    parser.set_defaults(run=import_)


def _add_quantize(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Calibrates on every second of the frames, holds the int8 graph against the float one on the others, "
        "and stores the figures in model.yaml. What fails the gate is not installed. A model that came with "
        "edgeseg is copied first."
    )
    parser.add_argument("name", metavar="NAME", help="a model's name, or a path")
    parser.add_argument("--frames", type=Path, required=True, help="a clip or a folder of pictures, yours")
    parser.add_argument(
        "--flavour",
        choices=("cpu", "tensorrt"),
        default="cpu",
        help="cpu: for onnxruntime and OpenVINO; tensorrt: symmetric, never run on TensorRT (%(default)s)",
    )
    parser.add_argument("--force", action="store_true", help="install what fails the gate too")
    _add_into(parser)
    parser.set_defaults(run=quantize)


def _add_into(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--into", type=Path, metavar="DIR", help="folder of models; default: EDGESEG_MODELS, or models/ here"
    )


def train(args: argparse.Namespace) -> int:
    """Raises EdgesegError."""
    best = _zoo("train", "train").train(args)
    if best < 0:
        print(f"{args.out}: not validated yet; run again to resume")
    else:
        print(f"best validation mIoU {best:.4f} ({args.out / 'best.pt'})")
    return 0


def import_(args: argparse.Namespace) -> int:
    """Raises EdgesegError."""
    install = _zoo("install", "import")
    wanted = install.Wanted(args.name, args.title or args.name, args.licence, args.size)
    folder = install.import_model(args.origin, wanted, args.into)
    print(f"wrote {folder}; try it with `edgeseg segment --model {_called(folder)} PICTURE`")
    return 0


def quantize(args: argparse.Namespace) -> int:
    """Raises EdgesegError."""
    from edgeseg.models import registry

    if not args.frames.exists():
        raise EdgesegError(f"--frames {args.frames}: no such clip or folder")
    model = registry.find(args.name)
    install = _zoo("install", "quantize")
    folder, figures = install.quantize_model(model, args.frames, args.into, args.flavour, force=args.force)
    print(f"{folder}: {figures.sentence()}")
    if args.flavour == "tensorrt":
        print("the TensorRT flavour was judged in onnxruntime; it was never run on TensorRT")
    print(f"use it with `model: {_called(folder)}`")
    return 0


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected at least 1")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"got {text}, expected more than 0")
    return value


def _called(folder: Path) -> str:
    """How the user can name the model in ``folder``: by name where that is looked for, else by path."""
    from edgeseg.models import registry

    found = folder.parent.resolve() in (place.resolve() for place in registry.search_path())
    return folder.name if found else str(folder)


def _zoo(module: str, action: str) -> Any:
    """A module of the zoo. Raises EdgesegError where its extra is not installed."""
    try:
        return importlib.import_module(f"edgeseg.zoo.{module}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "edgeseg":
            raise
        raise EdgesegError(
            f"`edgeseg models {action}` needs {error.name}, which is not installed; install it with "
            "pip install torch==2.13.0 && pip install 'edgeseg[zoo]' (in this order)"
        ) from None
