"""``edgeseg models``: which networks there are, what they are, their weights fetched and verified."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeseg.commands.terminal import download_bars, print_table
from edgeseg.errors import ModelError
from edgeseg.settings import FIT_NAMES

if TYPE_CHECKING:
    from edgeseg.manifest import Model
    from edgeseg.registry import BlobState

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
                            "required": ["format", "precision", "files"],
                            "additionalProperties": False,
                            "properties": {
                                "format": {"enum": ["onnx", "tflite", "openvino"]},
                                "precision": {"enum": ["float", "int8"]},
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
        help="list networks, fetch and verify their weights",
        description="Lists networks, fetches and verifies their weights.",
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


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("--json", action="store_true", help="print JSON (`edgeseg schema cli` describes it)")
    parser.set_defaults(run=run, action=name)
    return parser


def run(args: argparse.Namespace) -> int:
    """Do one action. Raises ModelError, ConfigError."""
    from edgeseg import registry

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
            ", ".join(f"{artefact.format} {artefact.precision}" for artefact in model.artefacts),
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
    from edgeseg.manifest import CARD

    print(f"{model.name}: {model.title}")
    print(f"  licence  {model.licence}")
    print(f"  folder   {model.folder}")
    print(f"  input    {_input(model)}, fit {model.fit}")
    print(f"  classes  {', '.join(model.classes)}")
    for found in states:
        size = f"{found.blob.bytes / 1e6:.1f} MB"
        print(f"  weights  {found.blob.file}, {size}, {found.state}: {found.path}")
        print(f"           sha256 {found.blob.sha256}")
        print(f"           from {found.blob.url or 'nowhere: the manifest names no url'}")
    card = model.folder / CARD
    if card.is_file():
        print(f"\n{card.read_text(encoding='utf-8').strip()}")
