"""Tensors: fill a network's input, give its outputs their roles, and check both when the network is loaded.

Every engine adapter uses this; an adapter only describes its runtime's tensors with ``TensorInfo``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.engines.base import Engine, Outputs
from edgeseg.errors import EngineError
from edgeseg.frames import U8
from edgeseg.models.model import ROLES, Artefact, InputSpec, Role

Tensor = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor as the runtime describes it. shape: None where an extent is free.

    scale, zero_point: real = scale * (stored - zero_point); scale is 0 where the tensor has none.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0

    def __str__(self) -> str:
        extents = "x".join("?" if extent is None else str(extent) for extent in self.shape)
        return f"'{self.name}' {self.dtype} {extents}"


@dataclass(frozen=True, slots=True)
class ModelTensors:
    """The checked tensors of a loaded network. entry: the picture's. exits: the outputs by role."""

    artefact: Artefact
    classes: int
    entry: TensorInfo
    exits: dict[Role, TensorInfo]
    pictures: PictureTable

    def outputs(self, arrays: Mapping[Role, Tensor]) -> Outputs:
        """Return one picture's output tensors in the shapes of ``Engine.run``. Raises EngineError."""
        return by_role(self.artefact, self.classes, self.exits, arrays)


def check_model(
    artefact: Artefact,
    classes: int,
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
    size_px: tuple[int, int],
) -> ModelTensors:
    """Compare a loaded network with its manifest.

    Args:
        artefact: the file that was loaded, as the manifest describes it.
        classes: how many classes the model has.
        inputs: as the runtime describes them.
        outputs: as the runtime describes them.
        size_px: (width, height) to run at.

    Raises EngineError where they differ.
    """
    entry = find_input(artefact, inputs, size_px)
    return ModelTensors(
        artefact, classes, entry, find_outputs(artefact, outputs), PictureTable(artefact.input, entry)
    )


def run_once(engine: Engine) -> None:
    """Run a black picture, which shows at load whether the outputs fit the manifest. Raises EngineError."""
    width, height = engine.input_size_px
    engine.run(np.zeros((1, height, width, 3), np.uint8))


def input_size(artefact: Artefact, size_px: tuple[int, int] | None) -> tuple[int, int]:
    """Return (width, height) to run at. Raises EngineError where the network cannot take ``size_px``."""
    wanted = artefact.input.size_px if size_px is None else size_px
    refusal = artefact.input.refusal(wanted)
    if refusal:
        raise EngineError(f"{artefact.blob.file}: input size {refusal}")
    return wanted


def find_input(artefact: Artefact, tensors: Sequence[TensorInfo], size_px: tuple[int, int]) -> TensorInfo:
    """Return the picture tensor after comparing it with the manifest. Raises EngineError."""
    spec = artefact.input
    listed = ", ".join(str(tensor) for tensor in tensors)
    named = [tensor for tensor in tensors if spec.name in (None, tensor.name)]
    if not named:
        raise EngineError(
            f"{artefact.blob.file}: has no input '{spec.name}'; its inputs are {listed}: correct input.name"
        )
    if len(named) > 1 or len(tensors) > 1:
        raise EngineError(
            f"{artefact.blob.file}: takes {len(tensors)} inputs ({listed}), expected one picture"
        )
    tensor = named[0]
    wanted = tensor_shape(spec, size_px)
    fits = len(tensor.shape) == 4 and all(
        have in (None, want) for have, want in zip(tensor.shape, wanted, strict=True)
    )
    if tensor.dtype != spec.dtype or not fits:
        text = "x".join(map(str, wanted))
        raise EngineError(
            f"{artefact.blob.file}: its input is {tensor}, the manifest says {spec.dtype} {text} "
            f"({spec.layout}): correct input in model.yaml, or use the file it was written for"
        )
    return tensor


def tensor_shape(spec: InputSpec, size_px: tuple[int, int]) -> tuple[int, int, int, int]:
    width, height = size_px
    return (1, height, width, 3) if spec.layout == "nhwc" else (1, 3, height, width)


def bare_integers(artefact: Artefact) -> bool:
    """Return whether a TFLite file's tensors need the scales that only LiteRT reports."""
    entry, form = artefact.input, artefact.output.form
    bare_input = entry.dtype != "float32" and not (entry.dtype == "uint8" and entry.raw)
    bare_output = artefact.precision == "int8" and form in ("logits", "probabilities", "mask")
    return artefact.format == "tflite" and (bare_input or bare_output)


class PictureTable:
    """uint8 RGB pictures -> input tensors, through a table of 256 values for each channel.

    A table makes normalisation and quantisation one look-up: 0.3 ms for 513 x 513 where the same
    arithmetic takes 3-10 ms in numpy.
    """

    def __init__(self, spec: InputSpec, tensor: TensorInfo) -> None:
        self._spec = spec
        self._table = None if spec.raw and spec.dtype == "uint8" else _table(spec, tensor)

    def tensor(self, view: U8) -> Tensor:
        """view: uint8 (h, w, 3) RGB -> (1, h, w, 3) or (1, 3, h, w) of the network's type, contiguous."""
        picture: Tensor = view if self._spec.colour == "rgb" else cv2.cvtColor(view, cv2.COLOR_RGB2BGR)
        if self._table is not None:
            picture = cv2.LUT(picture, self._table)
        if self._spec.layout == "nchw":
            picture = picture.transpose(2, 0, 1)
        return np.ascontiguousarray(picture)[np.newaxis]


def _table(spec: InputSpec, tensor: TensorInfo) -> Tensor:
    """(1, 256, 3), channels in the network's order: the formula of ``edgeseg.models.manifest``."""
    pixels = np.arange(256, dtype=np.float64)[:, np.newaxis]
    values = (pixels / spec.scale - np.array(spec.mean)) / np.array(spec.std)
    table: Tensor = values.astype(np.float32)
    if spec.dtype == "float32":
        return table[np.newaxis]
    if tensor.scale:
        values = values / tensor.scale + tensor.zero_point
    bounds = np.iinfo(spec.dtype)
    table = np.clip(np.rint(values), bounds.min, bounds.max).astype(spec.dtype)
    return table[np.newaxis]


def find_outputs(artefact: Artefact, tensors: Sequence[TensorInfo]) -> dict[Role, TensorInfo]:
    """Return the tensor of each role. Raises EngineError where the manifest leaves it open."""
    roles = ROLES[artefact.output.form]
    listed = ", ".join(str(tensor) for tensor in tensors)
    if not artefact.output.names:
        if len(tensors) != len(roles):
            raise EngineError(
                f"{artefact.blob.file}: has {len(tensors)} outputs ({listed}), form {artefact.output.form} "
                f"has {len(roles)}: say which under output.names in model.yaml"
            )
        return dict(zip(roles, tensors, strict=True))
    by_name = {tensor.name: tensor for tensor in tensors}
    found: dict[Role, TensorInfo] = {}
    for role, name in artefact.output.names:
        if name not in by_name:
            raise EngineError(
                f"{artefact.blob.file}: has no output '{name}'; its outputs are {listed}: "
                f"correct output.names.{role}"
            )
        found[role] = by_name[name]
    return found


def by_role(
    artefact: Artefact, classes: int, infos: Mapping[Role, TensorInfo], arrays: Mapping[Role, Tensor]
) -> Outputs:
    """One picture's output tensors -> the shapes of ``Engine.run`` with n = 1. Raises EngineError."""
    outputs: Outputs = {}
    for role, array in arrays.items():
        if role in ("labels", "confidence"):
            outputs[role] = _plane(artefact, infos[role], role, array)
            continue
        channels = 1 if role == "mask" else classes
        outputs[role] = _channels_first(artefact, infos[role], channels, array)
        if role != "mask" and array.dtype.kind in "iu" and infos[role].scale:
            outputs["scale"] = np.array([infos[role].scale], np.float32)
    grids = {array.shape[-2:] for role, array in outputs.items() if role != "scale"}
    if len(grids) != 1:
        raise EngineError(f"{artefact.blob.file}: labels and confidence differ in size: {sorted(grids)}")
    return outputs


def _channels_first(artefact: Artefact, info: TensorInfo, channels: int, array: Tensor) -> Tensor:
    layout = artefact.output.layout
    at = 3 if layout == "nhwc" else 1
    if array.ndim != 4 or array.shape[0] != 1 or array.shape[at] != channels:
        shape = "x".join(map(str, array.shape))
        wanted = f"1xHxWx{channels}" if layout == "nhwc" else f"1x{channels}xHxW"
        raise EngineError(
            f"{artefact.blob.file}: its output '{info.name}' is {shape}, the manifest's "
            f"{'mask' if channels == 1 else f'{channels} classes'} and layout {layout} need {wanted}: "
            "correct classes or output in model.yaml"
        )
    if array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
    elif array.dtype not in (np.int8, np.uint8):
        raise EngineError(
            f"{artefact.blob.file}: its output '{info.name}' is {array.dtype}, expected float or int8"
        )
    elif channels == 1:
        step, zero = np.float32(info.scale or 1.0), np.float32(info.zero_point)
        array = (array.astype(np.float32) - zero) * step
    return np.moveaxis(array, at, 1)


def _plane(artefact: Artefact, info: TensorInfo, role: Role, array: Tensor) -> Tensor:
    if array.ndim == 4:
        # An argmax may keep its axis.
        axis = 3 if array.shape[3] == 1 else 1
        array = np.squeeze(array, axis) if array.shape[axis] == 1 else array
    kind_right = array.dtype.kind in "iu" if role == "labels" else array.dtype == np.uint8
    if array.ndim != 3 or array.shape[0] != 1 or not kind_right:
        shape = "x".join(map(str, array.shape))
        wanted = "an integer type" if role == "labels" else "uint8"
        raise EngineError(
            f"{artefact.blob.file}: its output '{info.name}' is {array.dtype} {shape}, the manifest's form "
            f"{artefact.output.form} needs {wanted} 1xHxW for {role}: correct output.form in model.yaml"
        )
    return array


def each_view(batch: U8, size_px: tuple[int, int], infer: Callable[[U8], Outputs]) -> Outputs:
    """Run a static batch of one over n views: batching gains nothing on a CPU.

    Raises EngineError where ``batch`` is not uint8 (n, h, w, 3) of the network's size.
    """
    width, height = size_px
    if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != (height, width, 3) or not len(batch):
        raise EngineError(f"got {batch.dtype} {batch.shape}, expected uint8 (n, {height}, {width}, 3)")
    answers = [infer(view) for view in batch]
    if len(answers) == 1:
        return answers[0]
    return {role: cast(Tensor, np.concatenate([answer[role] for answer in answers])) for role in answers[0]}
