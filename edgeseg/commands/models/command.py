"""``edgeseg models``: lists, describes, downloads and verifies networks."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeseg.commands.models import export_triton, zoo
from edgeseg.commands.shared.terminal import download_bars, print_table
from edgeseg.errors import ModelError
from edgeseg.settings import FIT_NAMES

if TYPE_CHECKING:
    from edgeseg.models.model import Artefact, Figures, Model
    from edgeseg.models.registry import BlobState

_PICTURES = re.compile(r"^(?:!\[[^\]]*\]\([^)]*\)[ \t]*)+\n\n?", re.MULTILINE)
"""Lines of a card that are pictures and nothing else, with the empty line after them."""

JSON_SCHEMA = {
    "title": "edgeseg models --json",
    "type": "object",
    "required": ["models"],
    "additionalProperties": False,
    "properties": {
        "models": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "title", "licence", "folder", "input", "fit", "classes", "artefacts"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string"},
                    "title": {"type": "string"},
                    "licence": {"type": "string"},
                    "folder": {"type": "string", "description": "where its manifest is"},
                    "input": {
                        "type": "object",
                        "required": ["width", "height", "multiple_of"],
                        "additionalProperties": False,
                        "properties": {
                            "width": {"type": "integer"},
                            "height": {"type": "integer"},
                            "multiple_of": {
                                "type": ["integer", "null"],
                                "description": "null: the size is fixed",
                            },
                        },
                    },
                    "fit": {"enum": list(FIT_NAMES)},
                    "classes": {"type": "array", "items": {"type": "string"}},
                    "artefacts": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["format", "precision", "flavour", "files"],
                            "additionalProperties": False,
                            "properties": {
                                "format": {"enum": ["onnx", "tflite", "openvino"]},
                                "precision": {"enum": ["float", "int8"]},
                                "flavour": {"enum": ["cpu", "tensorrt"], "description": "of int8 ONNX"},
                                "figures": {
                                    "type": "object",
                                    "description": "how it compared with float when it was made; left out "
                                    "without a measurement",
                                    "required": ["calibrated_on", "judged_on", "agreement", "forced"],
                                    "properties": {
                                        "calibrated_on": {"type": "integer"},
                                        "judged_on": {"type": "integer"},
                                        "agreement": {"type": "number"},
                                        "agreement_iou": {
                                            "type": "object",
                                            "additionalProperties": {"type": "number"},
                                        },
                                        "occupancy_error": {
                                            "type": "object",
                                            "description": "percentage points",
                                            "properties": {
                                                "mean": {"type": "number"},
                                                "p95": {"type": "number"},
                                            },
                                        },
                                        "shift_cells": {"type": "array", "items": {"type": "number"}},
                                        "forced": {"type": "boolean"},
                                    },
                                },
                                "files": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "required": ["file", "bytes", "sha256", "url", "path", "state"],
                                        "additionalProperties": False,
                                        "properties": {
                                            "file": {"type": "string"},
                                            "bytes": {"type": "integer"},
                                            "sha256": {"type": "string"},
                                            "url": {"type": ["string", "null"]},
                                            "path": {"type": "string"},
                                            "state": {"enum": ["ok", "missing", "damaged"]},
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to ``edgeseg``."""
    parser = subparsers.add_parser(
        "models",
        help="list networks, fetch and verify their weights; train, import and quantize",
        description="Lists networks, fetches and verifies their weights; trains, imports, quantizes.",
        epilog="EDGESEG_MODELS: more folders of models. EDGESEG_MODEL_MIRROR: a folder to take weights from "
        "instead of the network. EDGESEG_CACHE: where weights go.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _action(actions, "list", "every network that is found, and whether its weights are here")
    show = _action(actions, "show", "what one network is, wants and answers, and its card")
    show.add_argument("name", metavar="NAME", help="a model's name, or a path")
    pull = _action(actions, "pull", "fetch weights and verify them; goes on where it was interrupted")
    which = pull.add_mutually_exclusive_group(required=True)
    which.add_argument("name", metavar="NAME", nargs="?", help="a model's name, or a path")
    which.add_argument("--all", action="store_true", help="every model")
    verify = _action(
        actions,
        "verify",
        "hash the weights that are here and compare with the manifests; only damaged files fail it, and of "
        "a model that is named missing ones too",
    )
    verify.add_argument("name", metavar="NAME", nargs="?", help="a model's name, or a path; default: all")
    text = "write a model repository for NVIDIA Triton and OpenVINO Model Server"
    export_triton.add_action(_parser(actions, "export-triton", text))
    zoo.add_actions(actions, _parser)


def _parser(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    return actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    parser = _parser(actions, name, text)
    parser.add_argument("--json", action="store_true", help="print JSON (`edgeseg schema cli` describes it)")
    parser.set_defaults(run=run, action=name)
    return parser


def run(args: argparse.Namespace) -> int:
    """Do one action. Raises ModelError, ConfigError."""
    from edgeseg.models import registry

    name: str | None = getattr(args, "name", None)
    models = registry.list_models() if name is None else (registry.find(name),)
    if args.action == "pull":
        with download_bars(args.json) as progress:
            for model in models:
                registry.pull(model, progress)
    states = {model.name: registry.inspect(model) for model in models}
    if args.json:
        described = [_described(model, states[model.name]) for model in models]
        print(json.dumps({"models": described}, indent=2, ensure_ascii=False))
    elif args.action == "list":
        _print_list(models, states)
    elif args.action == "show":
        _print_model(models[0], states[models[0].name])
    else:
        for model in models:
            for found in states[model.name]:
                print(f"{found.state:8}{model.name}  {found.path}")
    if args.action == "verify":
        for model in models:
            registry.check(model)
            if name is not None and any(found.state == "missing" for found in states[model.name]):
                raise ModelError(
                    f"model {model.name}: weights are missing; fetch them with `edgeseg models pull {name}`"
                )
    return 0


def _described(model: Model, states: Sequence[BlobState]) -> dict[str, object]:
    by_file = {found.blob.file: found for found in states}
    width, height = model.input.size_px
    return {
        "name": model.name,
        "title": model.title,
        "licence": model.licence,
        "folder": str(model.folder),
        "input": {"width": width, "height": height, "multiple_of": model.input.multiple_of},
        "fit": model.fit,
        "classes": list(model.classes),
        "artefacts": [
            {
                "format": artefact.format,
                "precision": artefact.precision,
                "flavour": artefact.flavour,
                **({} if artefact.figures is None else {"figures": _figures(artefact.figures)}),
                "files": [
                    {
                        "file": blob.file,
                        "bytes": blob.bytes,
                        "sha256": blob.sha256,
                        "url": blob.url,
                        "path": str(by_file[blob.file].path),
                        "state": by_file[blob.file].state,
                    }
                    for blob in artefact.blobs
                ],
            }
            for artefact in model.artefacts
        ],
    }


def _figures(figures: Figures) -> dict[str, object]:
    return {
        "calibrated_on": figures.calibrated_on,
        "judged_on": figures.judged_on,
        "agreement": figures.agreement,
        "agreement_iou": dict(figures.agreement_iou),
        "occupancy_error": {"mean": figures.occupancy_mean, "p95": figures.occupancy_p95},
        "shift_cells": list(figures.shift_cells),
        "forced": figures.forced,
    }


def _artefact(artefact: Artefact) -> str:
    """As the table shows it: ``onnx int8 (99.2% as float)``."""
    words = f"{artefact.format} {artefact.precision}" + (
        "" if artefact.flavour == "cpu" else f" for {artefact.flavour}"
    )
    return words if artefact.figures is None else f"{words} ({artefact.figures.agreement:.1%} as float)"


def _weights(states: Sequence[BlobState]) -> str:
    """One word for the table: the worst of its files."""
    found = {item.state for item in states}
    return next(state for state in ("damaged", "missing", "ok") if state in found)


def _input(model: Model) -> str:
    width, height = model.input.size_px
    step = model.input.multiple_of
    return f"{width}x{height}" + ("" if step is None else f" (any multiple of {step})")


def _print_list(models: Sequence[Model], states: dict[str, tuple[BlobState, ...]]) -> None:
    rows = [
        (
            model.name,
            ", ".join(_artefact(artefact) for artefact in model.artefacts),
            _input(model),
            str(len(model.classes)),
            model.licence,
            _weights(states[model.name]),
        )
        for model in models
    ]
    print_table(("model", "artefacts", "input", "classes", "licence", "weights"), rows)
    if any(row[-1] == "missing" for row in rows):
        print("fetch missing weights with `edgeseg models pull NAME`")


def _print_model(model: Model, states: Sequence[BlobState]) -> None:
    from edgeseg.models.manifest import CARD

    print(f"{model.name}: {model.title}")
    print(f"  licence  {model.licence}")
    print(f"  folder   {model.folder}")
    print(f"  input    {_input(model)}, fit {model.fit}")
    print(f"  classes  {', '.join(model.classes)}")
    for found in states:
        size = f"{found.blob.bytes / 1e6:.1f} MB"
        print(f"  weights  {found.blob.file}, {size}, {found.state}: {found.path}")
        print(f"           sha256 {found.blob.sha256}")
        print(f"           from {found.blob.url or _without_url(model, found)}")
    for artefact in model.artefacts:
        if artefact.flavour == "tensorrt":
            print(f"  flavour  {artefact.blob.file} is for TensorRT, and was never run on it")
        if artefact.figures is not None:
            print(f"  figures  {artefact.blob.file} {artefact.figures.sentence()}")
    card = model.folder / CARD
    if card.is_file():
        # A terminal shows no pictures.
        print(f"\n{_PICTURES.sub('', card.read_text(encoding='utf-8')).strip()}")


def _without_url(model: Model, found: BlobState) -> str:
    from edgeseg.system import paths

    if found.path.parent != model.folder or found.state == "missing":
        return "nowhere: the manifest names no url"
    own = paths.folder("models").resolve() in model.folder.resolve().parents
    return "edgeseg itself: it travels along" if own else "its own folder alone: the manifest names no url"
