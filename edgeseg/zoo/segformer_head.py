"""SegFormer's decode head in an ONNX graph, rewritten exactly; see networks.segformer.MergedHead for why.

Works on any export whose head is projection (MatMul and Add, or a 1 x 1 Conv), Resize, Concat, 1 x 1
Conv, BatchNormalization or none, Relu, 1 x 1 Conv: transformers' under either exporter, and mmseg's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseg.errors import ModelError
from edgeseg.zoo.export import load_model, save_model
from edgeseg.zoo.onnx_session import Session
from edgeseg.zoo.surgery import clean

Matrix = npt.NDArray[np.float64]

TOLERANCE = 1e-4
"""Largest difference between merged and original logits, as a share of the largest logit."""

CHECK_SIZES_PX = ((128, 96), (192, 256))
SKIPPED = ("Dropout", "Identity", "Cast")


@dataclass(frozen=True, slots=True, eq=False)
class _Projection:
    """source: the stage's feature map (n, c, h, w). weight (d, c), bias (d)."""

    source: ir.Value
    weight: Matrix
    bias: Matrix


def merge_file(source: Path, target: Path) -> None:
    """Read, merge, check, write. Raises ModelError, and writes nothing, if any of it fails."""
    original = load_model(source)
    merged = merge(original)
    check(original, merged)
    save_model(merged, target)


def merge(original: ir.Model) -> ir.Model:
    """A merged copy. Raises ModelError, saying what was found instead, if there is no such head."""
    model = ir.from_proto(ir.to_proto(original))
    graph = model.graph
    classify = _before(graph.outputs[0], ("Conv",), ("Resize", "ArgMax", "Softmax", *SKIPPED))
    relu = _before(classify.inputs[0], ("Relu",))
    norm = _before(relu.inputs[0], ("BatchNormalization", "Conv"))
    fuse = _before(norm.inputs[0], ("Conv",)) if norm.op_type == "BatchNormalization" else norm
    concat = _before(fuse.inputs[0], ("Concat",))
    weight, bias = _weight(fuse, 1).reshape(_weight(fuse, 1).shape[0], -1), _bias(fuse)
    if norm is not fuse:
        gain, shift, mean, variance = (_weight(norm, index) for index in range(1, 5))
        scale = gain / np.sqrt(variance + norm.attributes.get_float("epsilon", 1e-5))
        weight, bias = weight * scale[:, None], (bias - mean) * scale + shift
    projections = [_projection(value) for value in concat.inputs]
    # Concatenated deepest first, as SegFormer's own code does: the last one is at stride 4.
    parts = np.split(weight, np.cumsum([len(item.bias) for item in projections])[:-1], axis=1)
    total: ir.Value | None = None
    nodes: list[ir.Node] = []
    for stage, (item, part) in enumerate(zip(reversed(projections), reversed(parts), strict=True)):
        # The bias once, with the stage that is not enlarged.
        merged_bias = part @ item.bias + (bias if stage == 0 else 0.0)
        y = _conv(graph, nodes, f"merged_head_stage{stage}", item.source, part @ item.weight, merged_bias)
        if stage > 0:
            y = _enlarge(graph, nodes, f"merged_head_stage{stage}", y, 2**stage)
            assert total is not None
            nodes.append(ir.node("Add", [total, y]))
            y = nodes[-1].outputs[0]
        total = y
    graph.insert_before(relu, nodes)
    relu.replace_input_with(0, total)
    clean(model)
    return model


def check(original: ir.Model, merged: ir.Model) -> None:
    """Raises ModelError unless both answer the same: logits within TOLERANCE, and the same winner
    wherever the original's lead is larger than the largest difference.
    """
    before, after = Session(original), Session(merged)
    random = np.random.default_rng(0)
    for height, width in CHECK_SIZES_PX:
        x = random.normal(size=(1, 3, height, width)).astype(np.float32)
        old = np.asarray(next(iter(before.run(x).values())), np.float64)
        new = np.asarray(next(iter(after.run(x).values())), np.float64)
        difference = float(np.abs(old - new).max())
        limit = TOLERANCE * float(np.abs(old).max())
        ranked = np.sort(old, axis=1)
        clear = ranked[:, -1] - ranked[:, -2] > 2 * difference
        flipped = int(((old.argmax(axis=1) != new.argmax(axis=1)) & clear).sum())
        if not difference <= limit or flipped:
            raise ModelError(
                f"merged head: logits differ by {difference:.2g} (limit {limit:.2g}) and {flipped} labels at"
                f" {width} x {height}: not the same network, not written"
            )


def _before(value: ir.Value | None, wanted: tuple[str, ...], skipped: tuple[str, ...] = SKIPPED) -> ir.Node:
    """The node that makes ``value``, looking through ``skipped`` ones."""
    node = value.producer() if value is not None else None
    while node is not None and node.op_type in skipped:
        source = node.inputs[0]
        node = source.producer() if source is not None else None
    if node is None or node.op_type not in wanted:
        found = "an input" if node is None else node.op_type
        raise ModelError(f"graph: found {found} where SegFormer's head has {' or '.join(wanted)}")
    return node


def _projection(value: ir.Value | None) -> _Projection:
    node = _before(value, ("Add", "Conv"), ("Resize", "Reshape", "Transpose", "Unsqueeze", *SKIPPED))
    if node.op_type == "Conv":
        source, weight = node.inputs[0], _weight(node, 1)
        assert source is not None
        if weight.shape[2:] != (1, 1):
            raise ModelError(f"graph: a {weight.shape[2:]} convolution where SegFormer projects 1 x 1")
        return _Projection(source, weight.reshape(len(weight), -1), _bias(node))
    constant = [index for index in (0, 1) if _constant(node.inputs[index]) is not None]
    if len(constant) != 1:
        raise ModelError("graph: found a residual Add where SegFormer's head adds a bias")
    bias = _weight(node, constant[0])
    product = _before(node.inputs[1 - constant[0]], ("MatMul",))
    weight = _weight(product, 1).T
    # Tokens (n, h w, c) come from a map (n, c, h, w) by a Reshape and a Transpose: back to the map. Only
    # these two, since what makes the map may end in a Transpose of its own.
    tokens = product.inputs[0]
    if tokens is not None and (turn := tokens.producer()) is not None and turn.op_type == "Transpose":
        tokens = turn.inputs[0]
    source = _before(tokens, ("Reshape", "Flatten")).inputs[0]
    assert source is not None
    return _Projection(source, weight, bias)


def _constant(value: ir.Value | None) -> Matrix | None:
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else np.asarray(tensor.numpy(), np.float64)


def _weight(node: ir.Node, index: int) -> Matrix:
    array = _constant(node.inputs[index])
    if array is None:
        raise ModelError(f"graph: {node.op_type} {node.name} has no constant weights at input {index}")
    return array


def _bias(convolution: ir.Node) -> Matrix:
    if len(convolution.inputs) > 2 and convolution.inputs[2] is not None:
        return _weight(convolution, 2)
    return np.zeros(len(_weight(convolution, 1)))


def _initializer(graph: ir.Graph, name: str, array: npt.NDArray[np.float32]) -> ir.Value:
    value = ir.Value(
        name=name,
        shape=ir.Shape(array.shape),
        type=ir.TensorType(ir.DataType.FLOAT),
        const_value=ir.tensor(array, name=name),
    )
    graph.register_initializer(value)
    return value


def _conv(
    graph: ir.Graph, nodes: list[ir.Node], name: str, x: ir.Value, weight: Matrix, bias: Matrix
) -> ir.Value:
    kernel = _initializer(graph, f"{name}_weight", weight[:, :, None, None].astype(np.float32))
    offset = _initializer(graph, f"{name}_bias", bias.astype(np.float32))
    nodes.append(ir.node("Conv", [x, kernel, offset], {"kernel_shape": [1, 1]}))
    return nodes[-1].outputs[0]


def _enlarge(graph: ir.Graph, nodes: list[ir.Node], name: str, x: ir.Value, factor: int) -> ir.Value:
    scales = _initializer(graph, f"{name}_scales", np.array([1, 1, factor, factor], np.float32))
    attributes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    nodes.append(ir.node("Resize", [x, None, scales], attributes))
    return nodes[-1].outputs[0]
