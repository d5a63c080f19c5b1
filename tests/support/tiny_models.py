"""Networks of two layers that tell red, green and blue from the rest, in every convention there is.

Each averages 4 x 4 pixels and gives the logits [4, 8 r, 8 g, 8 b] for r, g, b in 0-1, whatever the input
looks like; so all of them must answer alike. They need no data folder, and no training.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

CLASSES = ("background", "red", "green", "blue")
PALETTE = ((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255))
STRIDE = 4
GAIN = 8.0
BACKGROUND = 4.0


@dataclass(frozen=True, slots=True)
class Convention:
    """How one tiny network wants its picture and gives its answer; the fields of model.yaml."""

    form: str = "logits"
    layout: str = "nchw"
    dtype: str = "float32"
    colour: str = "rgb"
    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    size: tuple[int, int] = (64, 48)
    multiple_of: int | None = None
    output_names: dict[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        return CLASSES[:2] if self.form == "mask" else CLASSES

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """(classes, 3) and (classes,) float32 on the normalised picture, in the network's channel order."""
        order = [0, 1, 2] if self.colour == "rgb" else [2, 1, 0]
        kernel = np.zeros((4, 3), np.float32)
        bias = np.array([BACKGROUND, 0, 0, 0], np.float32)
        for channel, primary in enumerate(order):
            kernel[1 + primary, channel] = GAIN * self.std[channel] * self.scale / 255
            bias[1 + primary] = GAIN * self.mean[channel] * self.scale / 255
        if self.form == "mask":
            return kernel[1:2], bias[1:2] - BACKGROUND
        return kernel, bias


def picture(size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """uint8 (h, w, 3) RGB: black, with a red, a green and a blue block, all on the stride's grid."""
    width, height = size
    view = np.zeros((height, width, 3), np.uint8)
    for primary in range(3):
        view[8:24, 8 + 16 * primary : 16 + 16 * primary, primary] = 255
    return view


def expected_labels(form: str = "logits", size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """uint8 (h / 4, w / 4): what every tiny network must answer to ``picture``."""
    width, height = size
    labels = np.zeros((height // STRIDE, width // STRIDE), np.uint8)
    for primary in range(1 if form == "mask" else 3):
        labels[2:6, 2 + 4 * primary : 4 + 4 * primary] = 1 + primary
    return labels


def write_model(
    folder: Path, convention: Convention, suffix: str = "onnx", precision: str = "float", **changes: object
) -> Path:
    """A model folder called as ``folder`` is, with its weights. changes: top-level keys to replace."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / f"tiny.{suffix}"
    if suffix == "onnx":
        write_onnx(weights, convention)
    else:
        from tests.support.tiny_tflite import write_tflite

        write_tflite(weights, convention, quantized=precision == "int8")
    return write_manifest(folder, weights, convention, suffix, precision, **changes)


def write_manifest(
    folder: Path, weights: Path, convention: Convention, suffix: str, precision: str, **changes: object
) -> Path:
    """model.yaml for a weights file that lies in ``folder``."""
    raw = weights.read_bytes()
    entry: dict[str, object] = {
        "size": f"{convention.size[0]}x{convention.size[1]}",
        "layout": convention.layout,
        "dtype": convention.dtype,
        "colour": convention.colour,
        "scale": convention.scale,
        "mean": list(convention.mean),
        "std": list(convention.std),
    }
    if convention.multiple_of is not None:
        entry["multiple_of"] = convention.multiple_of
    document: dict[str, object] = {
        "name": folder.name,
        "title": "A tiny network of the tests",
        "licence": "Apache-2.0",
        "artefacts": [
            {
                "file": weights.name,
                "format": suffix,
                "precision": precision,
                "bytes": len(raw),
                "sha256": hashlib.sha256(raw).hexdigest(),
            }
        ],
        "input": entry,
        "output": {
            "form": convention.form,
            "layout": convention.layout,
            "names": convention.output_names,
        },
        "classes": [
            {"name": name, "colour": list(colour)}
            for name, colour in zip(convention.classes, PALETTE, strict=False)
        ],
    } | changes
    (folder / "model.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return folder


def write_onnx(path: Path, convention: Convention) -> None:
    """Build the network as ONNX, opset 17."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    types = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int8": TensorProto.INT8}
    nhwc = convention.layout == "nhwc"
    width, height = convention.size
    extents: list[int | str] = [height, width] if convention.multiple_of is None else ["height", "width"]
    shape = [1, *extents, 3] if nhwc else [1, 3, *extents]
    kernel, bias = convention.weights()
    nodes = []

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    at = "picture"
    if convention.dtype != "float32":
        at = node("Cast", [at], "real", to=TensorProto.FLOAT)
    if nhwc:
        at = node("Transpose", [at], "planes", perm=[0, 3, 1, 2])
    at = node("AveragePool", [at], "pooled", kernel_shape=[STRIDE] * 2, strides=[STRIDE] * 2)
    at = node("Conv", [at, "kernel", "bias"], "scores")
    outputs: list[tuple[str, int]] = []
    flat = convention.form in ("labels", "deploy")
    if convention.form in ("probabilities", "deploy"):
        shares = node("Softmax", [at], "shares", axis=1)
    if flat:
        best = node("ArgMax", [at], "best", axis=1, keepdims=0)
        if convention.form == "labels":
            outputs.append((best, TensorProto.INT64))
        else:
            outputs.append((node("Cast", [best], "labels", to=TensorProto.UINT8), TensorProto.UINT8))
            top = node("ReduceMax", [shares], "top", axes=[1], keepdims=0)
            rounded = node("Round", [node("Mul", [top, "full"], "scaled")], "rounded")
            certain = node("Cast", [rounded], "confidence", to=TensorProto.UINT8)
            outputs.append((certain, TensorProto.UINT8))
    else:
        at = shares if convention.form == "probabilities" else at
        if nhwc:
            at = node("Transpose", [at], "last", perm=[0, 2, 3, 1])
        outputs.append((at, TensorProto.FLOAT))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("picture", types[convention.dtype], shape)],
        [helper.make_tensor_value_info(name, kind, [None] * (3 if flat else 4)) for name, kind in outputs],
        [
            numpy_helper.from_array(kernel[:, :, None, None], "kernel"),
            numpy_helper.from_array(bias, "bias"),
            numpy_helper.from_array(np.float32(255).reshape(()), "full"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save(model, str(path))
