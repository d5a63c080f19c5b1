"""``edgeseg models export-triton``: writes a model repository for NVIDIA Triton and OpenVINO Model Server."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.errors import EdgesegError, EngineError

if TYPE_CHECKING:
    from edgeseg.engines.tensors import TensorInfo
    from edgeseg.models.model import Artefact, Model

BACKENDS = ("onnxruntime", "openvino", "tensorrt")
_VERSION = "1"
# Where Triton's and OpenVINO Model Server's containers look for a repository.
_MOUNTED_AT = "/models"
# A frame that waits for company longer than that is late at 25 frames a second.
_QUEUE_DELAY_US = 5000
_MOST_QUEUED = 16
_TYPES = {
    "uint8": "TYPE_UINT8",
    "int8": "TYPE_INT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float32": "TYPE_FP32",
}


def add_action(parser: argparse.ArgumentParser) -> None:
    """Fill in the parser of the action."""
    parser.description = (
        "Writes DIR/NAME with config.pbtxt and the weights, for Triton's backend, and DIR/config.json for "
        "OpenVINO Model Server. Frames are put together into batches where the graph takes several."
    )
    parser.add_argument("name", metavar="MODEL", help="a model's name, or a path")
    parser.add_argument("--into", metavar="DIR", type=Path, required=True, help="the model repository")
    parser.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0], help="(%(default)s)")
    parser.add_argument("--precision", choices=("float", "int8"), help="which artefact; default: int8 first")
    parser.add_argument("--input", metavar="WIDTHxHEIGHT", help="size it is served at; default: the model's")
    parser.add_argument("--instances", type=int, default=1, help="copies that run at once (%(default)s)")
    parser.add_argument("--gpu", action="store_true", help="run on GPUs; the backend tensorrt always does")
    parser.add_argument("--max-batch", type=int, default=8, help="most frames together (%(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the repository. Raises ModelError, EngineError, EdgesegError."""
    from edgeseg.models import registry

    for name, value in (("--instances", args.instances), ("--max-batch", args.max_batch)):
        if not 1 <= value <= 128:
            raise EdgesegError(f"{name}: got {value}, expected 1 to 128")
    model = registry.find(args.name)
    artefact = _artefact(model, args.backend, args.precision)
    size_px = _size(args.input, artefact)
    path = registry.artefact_path(model, artefact)
    entry, exits, batches = _tensors(artefact, path, size_px)
    most = args.max_batch if batches else 0
    folder = args.into / model.name
    if folder.exists():
        raise EdgesegError(f"{folder}: is there already; remove it, or export into another folder")
    (folder / _VERSION).mkdir(parents=True)
    files = _weights(artefact, path, args.backend)
    for target, source in files.items():
        shutil.copyfile(source, folder / _VERSION / target)
    config = _config(model, args, entry, exits, most, size_px)
    (folder / "config.pbtxt").write_text(config)
    print(f"{folder}: for Triton's backend {args.backend}, {_batching(most)}")
    if args.backend == "tensorrt":
        (folder / "build.sh").write_text(_build_script(entry, most, size_px))
        (folder / "build.sh").chmod(0o755)
        print(f"{folder}/build.sh: run it where it will be served; a plan fits one GPU and one TensorRT")
    else:
        _add_to_openvino(args.into / "config.json", model.name)
        print(f"{args.into}/config.json: for OpenVINO Model Server, with this folder as {_MOUNTED_AT}")
    width, height = size_px
    print(f"a camera then needs `engine: kserve`, `model: {model.name}` and `input: {width}x{height}`")
    return 0


def _artefact(model: Model, backend: str, precision: str | None) -> Artefact:
    formats = ("openvino", "onnx") if backend == "openvino" else ("onnx",)
    able = [
        one
        for one in model.artefacts
        if one.format in formats
        and precision in (None, one.precision)
        and (one.precision == "float" or (one.flavour == "tensorrt") == (backend == "tensorrt"))
    ]
    if not able:
        has = ", ".join(f"{one.format} {one.precision} ({one.flavour})" for one in model.artefacts)
        wanted = f"{precision} {' or '.join(formats)}" if precision else " or ".join(formats)
        raise EdgesegError(f"model {model.name}: backend {backend} reads {wanted}, the model has {has}")
    return min(able, key=lambda one: one.precision != "int8")


def _size(text: str | None, artefact: Artefact) -> tuple[int, int]:
    from edgeseg.config.units import size_px
    from edgeseg.engines.tensors import input_size

    try:
        return input_size(artefact, size_px(text) if text else None)
    except (ValueError, EngineError) as error:
        raise EdgesegError(f"--input: {error}") from None


def _tensors(
    artefact: Artefact, path: Path, size_px: tuple[int, int]
) -> tuple[TensorInfo, tuple[TensorInfo, ...], bool]:
    """What the graph takes and gives, and whether it takes several pictures together. Raises EngineError."""
    from edgeseg.engines import tensors
    from edgeseg.engines.select import adapter

    runtime = "openvino" if artefact.format == "openvino" else "onnxruntime"
    entries, exits = adapter(runtime).described(path)
    entry = tensors.find_input(artefact, entries, size_px)
    roles = tensors.find_outputs(artefact, exits)
    several = entry.shape[0] is None and all(info.shape and info.shape[0] is None for info in roles.values())
    return entry, tuple(roles.values()), several


def _weights(artefact: Artefact, path: Path, backend: str) -> dict[str, Path]:
    """Name in the repository -> file."""
    if artefact.format == "onnx":
        return {"model.onnx": path}
    assert artefact.weights is not None, "the manifest's reader asks for them"
    return {"model.xml": path, "model.bin": path.with_name(artefact.weights.file)}


def _config(
    model: Model,
    args: argparse.Namespace,
    entry: TensorInfo,
    exits: Sequence[TensorInfo],
    most: int,
    size_px: tuple[int, int],
) -> str:
    """config.pbtxt, text format of Triton's ModelConfig. Where it batches, dims leave the batch out."""
    shape = _with_size(entry, size_px)
    kind = "KIND_GPU" if args.gpu or args.backend == "tensorrt" else "KIND_CPU"
    served = {"tensorrt": "model.plan", "openvino": "model.xml"}.get(args.backend, "model.onnx")
    if args.backend == "openvino" and not (args.into / model.name / _VERSION / served).exists():
        served = "model.onnx"
    lines = [
        f'name: "{model.name}"',
        f'backend: "{args.backend}"',
        f'default_model_filename: "{served}"',
        f"max_batch_size: {most}",
        *_tensor_lines("input", entry.name, entry.dtype, shape, most),
        *(
            line
            for info in exits
            for line in _tensor_lines("output", info.name, info.dtype, info.shape, most)
        ),
        f"instance_group [ {{ kind: {kind} count: {args.instances} }} ]",
    ]
    if most:
        lines += [
            "dynamic_batching {",
            f"  max_queue_delay_microseconds: {_QUEUE_DELAY_US}",
            # A queue that grows makes every answer late.
            f"  default_queue_policy {{ max_queue_size: {_MOST_QUEUED} }}",
            "}",
        ]
    # edgeseg compares them with its own when it connects.
    lines.append(_parameter("classes", ",".join(model.classes)))
    if args.backend == "onnxruntime" and kind == "KIND_CPU":
        lines.append(_parameter("intra_op_thread_count", "1"))
    return "\n".join(lines) + "\n"


def _with_size(entry: TensorInfo, size_px: tuple[int, int]) -> tuple[int | None, ...]:
    """The picture's shape with its free extents fixed, all but the batch."""
    width, height = size_px
    last = entry.shape[-1] == 3
    whole = (height, width, 3) if last else (3, height, width)
    return (entry.shape[0], *whole)


def _tensor_lines(key: str, name: str, dtype: str, shape: Sequence[int | None], most: int) -> tuple[str, ...]:
    if dtype not in _TYPES:
        raise EngineError(f"tensor '{name}' is {dtype}, which Triton's configuration has no word for here")
    kept = shape[1:] if most else (1, *shape[1:])
    dims = ", ".join("-1" if extent is None else str(extent) for extent in kept)
    return (f'{key} [ {{ name: "{name}" data_type: {_TYPES[dtype]} dims: [ {dims} ] }} ]',)


def _parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value: {{ string_value: "{value}" }} }}'


def _build_script(entry: TensorInfo, most: int, size_px: tuple[int, int]) -> str:
    shapes = []
    for flag, batch in (("min", 1), ("opt", max(1, most // 2)), ("max", max(1, most))):
        extents = "x".join(str(extent) for extent in (batch, *_with_size(entry, size_px)[1:]))
        shapes.append(f"  --{flag}Shapes={entry.name}:{extents}")
    # trtexec refuses shapes for graphs that have only one.
    given = " \\\n".join(["", *shapes]) if None in entry.shape else ""
    return (
        "#!/bin/sh\n# Makes model.plan of model.onnx; trtexec comes with TensorRT.\nset -eu\n"
        f'cd "$(dirname "$0")/{_VERSION}"\n'
        f"trtexec --onnx=model.onnx --saveEngine=model.plan --fp16{given}\n"
    )


def _add_to_openvino(path: Path, name: str) -> None:
    """Beside what an earlier export wrote."""
    known: list[Any] = []
    if path.exists():
        try:
            known = json.loads(path.read_text())["model_config_list"]
        except (ValueError, KeyError, TypeError) as error:
            raise EdgesegError(f"{path}: is no configuration of OpenVINO Model Server: {error}") from None
    kept = [one for one in known if one["config"]["name"] != name]
    kept.append({"config": {"name": name, "base_path": f"{_MOUNTED_AT}/{name}"}})
    path.write_text(json.dumps({"model_config_list": kept}, indent=2) + "\n")


def _batching(most: int) -> str:
    return f"batches of up to {most}" if most else "one picture at a time, as its graph says"
