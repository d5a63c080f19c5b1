"""Networks that take long: one on bright pictures for minutes, one whose numbers decay on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.tiny_models import Convention, write_manifest

_SIZE = (64, 48)
_LAYERS, _CHANNELS = 8, 32
# Pixels become at most a thousandth, so that a first layer of 1e-36, itself no denormal, gives denormals.
_SCALE = 255_000.0


def write_long_model(folder: Path) -> Path:
    """A model folder: a loop that a dark picture never enters and a bright one leaves after hours."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    folder.mkdir(parents=True)
    convention = Convention()
    kernel, bias = convention.weights()
    width, height = convention.size
    constants = {
        "kernel": kernel[:, :, None, None],
        "bias": bias,
        "rounds_a_level": np.float32(1 << 32),
        "yes": np.bool_(True),
        "zero": np.float32(0),
    }
    float_, bool_, int_ = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["on_still"]),
            helper.make_node("Add", ["count", "one"], ["counted"]),
        ],
        "round",
        [info("number", int_, []), info("on", bool_, []), info("count", float_, [])],
        [info("on_still", bool_, []), info("counted", float_, [])],
        [numpy_helper.from_array(np.float32(1).reshape(()), "one")],
    )
    nodes = [
        helper.make_node("AveragePool", ["picture"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["pooled", "kernel", "bias"], ["scores"]),
        helper.make_node("ReduceMean", ["picture"], ["level"], keepdims=0),
        helper.make_node("Mul", ["level", "rounds_a_level"], ["many"]),
        helper.make_node("Cast", ["many"], ["rounds"], to=int_),
        helper.make_node("Loop", ["rounds", "yes", "zero"], ["idle"], body=body),
        helper.make_node("Mul", ["idle", "zero"], ["nothing"]),
        helper.make_node("Add", ["scores", "nothing"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "long",
        [info("picture", float_, [1, 3, height, width])],
        [info("out", float_, [None] * 4)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save(model, str(folder / "long.onnx"))
    return write_manifest(folder, folder / "long.onnx", convention, "onnx", "float")


def write_decaying_model(folder: Path, suffix: str, scale: float) -> Path:
    """A model folder: averages of averages. scale: of the first layer's weights."""
    folder.mkdir(parents=True)
    convention = Convention(layout="nhwc" if suffix == "tflite" else "nchw", scale=_SCALE, size=_SIZE)
    path = folder / f"decaying.{suffix}"
    seed, kernels, channels = np.random.default_rng(0), [], 3
    for number in range(_LAYERS):
        outputs = 4 if number == _LAYERS - 1 else _CHANNELS
        kernel = seed.uniform(0.5, 1.5, (outputs, channels, 3, 3)).astype(np.float32)
        kernel /= kernel.sum(axis=(1, 2, 3), keepdims=True)
        kernels.append(kernel * np.float32(scale if number == 0 else 1.0))
        channels = outputs
    (_write_onnx if suffix == "onnx" else _write_tflite)(path, kernels)
    return write_manifest(folder, path, convention, suffix, "float")


def _write_onnx(path: Path, kernels: list[np.ndarray]) -> None:
    from onnx import TensorProto, checker, helper, numpy_helper, save

    width, height = _SIZE
    names = ["picture", *(f"b{number}" for number in range(len(kernels)))]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", [names[number], f"k{number}"], [names[number + 1]], pads=[1] * 4)
            for number in range(len(kernels))
        ],
        "decaying",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, height, width])],
        [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, [1, 4, height, width])],
        [numpy_helper.from_array(kernel, f"k{number}") for number, kernel in enumerate(kernels)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save(model, str(path))


def _write_tflite(path: Path, kernels: list[np.ndarray]) -> None:
    from ai_edge_litert import schema_py_generated as schema

    from tests.support.tiny_tflite import Builder

    builder = Builder()
    width, height = _SIZE
    first = at = builder.tensor("picture", [1, height, width, 3], "float32")
    for number, kernel in enumerate(kernels):
        outputs = len(kernel)
        weights = builder.tensor(
            f"k{number}", kernel.transpose(0, 2, 3, 1).shape, "float32", data=kernel.transpose(0, 2, 3, 1)
        )
        bias = builder.tensor(f"z{number}", [outputs], "float32", data=np.zeros(outputs, np.float32))
        end = builder.tensor(f"b{number}", [1, height, width, outputs], "float32")
        options = schema.Conv2DOptionsT()
        options.padding = schema.Padding.SAME
        options.strideW = options.strideH = 1
        builder.operator("CONV_2D", [at, weights, bias], [end], "Conv2DOptions", options)
        at = end
    path.write_bytes(builder.finish([first], [at]))
