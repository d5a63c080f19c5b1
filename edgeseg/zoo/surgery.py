"""Rewrite an ONNX segmentation network into edgeseg's deploy graph.

The deploy graph takes uint8 pictures (n, h, w, 3) RGB and returns ``labels`` and ``confidence``, uint8
(n, grid_h, grid_w), on the network's own grid: normalisation folded in, the last Resize gone, ArgMax and
the winner's softmax probability inside. Height and width stay free in multiples of 32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes import common

from edgeseg.errors import ModelError

INPUT = "pictures"
LABELS = "labels"
CONFIDENCE = "confidence"

LARGE_WEIGHT = 256
"""Elements; smaller tensors, biases above all, would save nothing."""


@dataclass(frozen=True, slots=True)
class Normalisation:
    """value = (pixel / scale - mean) / std, in the network's own channel order: the manifest's formula."""

    scale: float = 127.5
    mean: tuple[float, float, float] = (1.0, 1.0, 1.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    bgr: bool = False


def clean(model: ir.Model) -> None:
    """Drop unused nodes and weights, and all notes: exporters leave source paths in them."""
    common.RemoveUnusedNodesPass()(model)
    common.ClearMetadataAndDocStringPass()(model)
    for value in model.graph.initializers.values():
        value.metadata_props.clear()
    model.metadata_props.clear()
    model.graph.metadata_props.clear()


def drop_final_resize(model: ir.Model) -> bool:
    """Let the last Resize's input be the network's answer, under the same name. Whether there was one.

    A softmax or ArgMax after it goes too: the largest logit wins on either grid.
    """
    output = model.graph.outputs[0]
    value, found = output, False
    while (node := value.producer()) is not None and node.op_type in ("Resize", "ArgMax", "Softmax", "Cast"):
        source = node.inputs[0]
        assert source is not None
        value, found = source, found or node.op_type == "Resize"
    if not found:
        return False
    model.graph.outputs[0] = value
    output.name, value.name = f"{output.name}_enlarged", output.name
    clean(model)
    return True


def to_deploy(model: ir.Model, normalisation: Normalisation) -> None:
    """Rewrite ``model`` (float NCHW in, float NCHW logits out) in place.

    Raises ModelError if it does not have one picture input and one logits output.
    """
    graph = model.graph
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ModelError(
            f"graph: {len(graph.inputs)} inputs and {len(graph.outputs)} outputs, expected 1 and 1"
        )
    for value, what in ((graph.inputs[0], "input"), (graph.outputs[0], "output")):
        if value.shape is None or len(value.shape) != 4 or value.dtype != ir.DataType.FLOAT:
            raise ModelError(
                f"graph: {what} {value.name} is {value.dtype} {value.shape}, expected float32 NCHW"
            )
    _pictures_in(graph, normalisation)
    _labels_out(graph)
    clean(model)


def halve_weights(model: ir.Model) -> None:
    """Store large weights as float16, cast back when the graph is loaded: half the file, the same arithmetic.

    Runtimes fold the Cast away, so it costs nothing per picture. Weights beyond float16's range stay.
    """
    graph = model.graph
    nodes = []
    for value in list(graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or value.dtype != ir.DataType.FLOAT or tensor.size < LARGE_WEIGHT:
            continue
        array = tensor.numpy()
        if np.abs(array).max() >= np.finfo(np.float16).max:
            continue
        half = _constant(graph, f"{value.name}_half", array.astype(np.float16))
        cast = ir.node("Cast", [half], {"to": int(ir.DataType.FLOAT)})
        cast.outputs[0].type, cast.outputs[0].shape = value.type, value.shape
        value.replace_all_uses_with(cast.outputs[0])
        nodes.append(cast)
    graph.insert_before(graph[0], nodes)
    clean(model)


def _pictures_in(graph: ir.Graph, normalisation: Normalisation) -> None:
    old = graph.inputs[0]
    assert old.shape is not None
    batch, _, height, width = old.shape
    pictures = ir.Value(
        name=INPUT,
        type=ir.TensorType(ir.DataType.UINT8),
        shape=ir.Shape([batch, height, width, 3]),
    )
    mean = np.asarray(normalisation.mean, np.float32) * np.float32(normalisation.scale)
    gain = np.float32(1.0) / (np.asarray(normalisation.std, np.float32) * np.float32(normalisation.scale))
    first = _first_convolutions(old)
    nodes: list[ir.Node] = []

    def then(op_type: str, inputs: Sequence[ir.Value], **attributes: object) -> ir.Value:
        nodes.append(ir.node(op_type, inputs, attributes))  # type: ignore[arg-type]
        return nodes[-1].outputs[0]

    # Moved as bytes, before the cast quadruples them.
    y = then("Transpose", [pictures], perm=[0, 3, 1, 2])
    y = then("Cast", [y], to=int(ir.DataType.FLOAT))
    if normalisation.bgr:
        order = _constant(graph, "deploy_channel_order", np.array([2, 1, 0], np.int64))
        y = then("Gather", [y, order], axis=1)
    # The mean stays a Sub: folded into the bias of a padded convolution it would be wrong at the border.
    y = then("Sub", [y, _constant(graph, "deploy_mean", mean.reshape(1, 3, 1, 1))])
    if first is None:
        y = then("Mul", [y, _constant(graph, "deploy_gain", gain.reshape(1, 3, 1, 1))])
    for convolution in first or ():
        weight = convolution.inputs[1]
        assert weight is not None
        assert weight.const_value is not None
        scaled = weight.const_value.numpy() * gain.reshape(1, 3, 1, 1)
        convolution.replace_input_with(
            1, _constant(graph, f"deploy_{weight.name}", scaled.astype(np.float32))
        )
    y.shape, y.type = old.shape, old.type
    old.replace_all_uses_with(y)
    graph.insert_before(graph[0], nodes)
    graph.inputs[0] = pictures


def _first_convolutions(value: ir.Value) -> list[ir.Node] | None:
    """The convolutions that see the picture first, or None if something else does.

    Average pooling without padding is looked through: it commutes with a gain per channel.
    """
    found: list[ir.Node] = []
    for node in value.consumers():
        weight = node.inputs[1] if len(node.inputs) > 1 else None
        if node.op_type == "Conv" and weight is not None and weight.const_value is not None:
            found.append(node)
        elif node.op_type == "AveragePool" and not any(node.attributes.get_ints("pads", [0])):
            deeper = _first_convolutions(node.outputs[0])
            if deeper is None:
                return None
            found += deeper
        else:
            return None
    return found


def _labels_out(graph: ir.Graph) -> None:
    logits = graph.outputs[0]
    assert logits.shape is not None
    batch, _, height, width = logits.shape
    channel = _constant(graph, "deploy_channel_axis", np.array([1], np.int64))
    nodes: list[ir.Node] = []

    def then(op_type: str, inputs: Sequence[ir.Value], **attributes: object) -> ir.Value:
        nodes.append(ir.node(op_type, inputs, attributes))  # type: ignore[arg-type]
        return nodes[-1].outputs[0]

    labels = then("Cast", [then("ArgMax", [logits], axis=1, keepdims=0)], to=int(ir.DataType.UINT8))
    # The winner's softmax probability is 1 / sum(exp(x - max)): no division per class.
    largest = then("ReduceMax", [logits, channel], keepdims=1)
    total = then("ReduceSum", [then("Exp", [then("Sub", [logits, largest])]), channel], keepdims=0)
    levels = then("Div", [_constant(graph, "deploy_levels", np.array(255.0, np.float32)), total])
    confidence = then("Cast", [then("Round", [levels])], to=int(ir.DataType.UINT8))
    for value, name in ((labels, LABELS), (confidence, CONFIDENCE)):
        value.name = name
        value.type = ir.TensorType(ir.DataType.UINT8)
        value.shape = ir.Shape([batch, height, width])
    graph.extend(nodes)
    graph.outputs.clear()
    graph.outputs.extend([labels, confidence])


def _constant(graph: ir.Graph, name: str, array: npt.NDArray[np.generic]) -> ir.Value:
    value = ir.Value(
        name=name,
        shape=ir.Shape(array.shape),
        type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
        const_value=ir.tensor(array, name=name),
    )
    graph.register_initializer(value)
    return value
