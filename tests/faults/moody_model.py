"""A network that hangs on blue pictures and fails on green ones; else it tells red from the rest.

It runs in the real runtime, through the real engine: what hangs and fails is native code.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.tiny_models import Convention, write_manifest

# Rounds of an idle loop: hours in any runtime.
_FOR_EVER = 1 << 40
_MUCH = 150.0


def write_moody_model(folder: Path) -> Path:
    """A model folder."""
    folder.mkdir(parents=True)
    convention = Convention()
    _write(folder / "moody.onnx", convention)
    return write_manifest(folder, folder / "moody.onnx", convention, "onnx", "float")


def _write(path: Path, convention: Convention) -> None:
    from onnx import TensorProto, checker, helper, numpy_helper, save

    kernel, bias = convention.weights()
    width, height = convention.size
    round_ = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["on_still"]),
            helper.make_node("Add", ["count", "one"], ["counted"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("count", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("on_still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("counted", TensorProto.FLOAT, []),
        ],
        [numpy_helper.from_array(np.float32(1).reshape(()), "one")],
    )

    def share_of(channel: str, output: str) -> list[object]:
        """1 where the picture has much of this colour and little red, else 0 (int64, scalar)."""
        return [
            helper.make_node("Gather", ["means", channel], [f"{output}_mean"], axis=1),
            helper.make_node("Gather", ["means", "red"], [f"{output}_red"], axis=1),
            helper.make_node("Sub", [f"{output}_mean", f"{output}_red"], [f"{output}_more"]),
            helper.make_node("Greater", [f"{output}_more", "much"], [f"{output}_is"]),
            helper.make_node("Cast", [f"{output}_is"], [f"{output}_flat"], to=TensorProto.INT64),
            helper.make_node("Squeeze", [f"{output}_flat"], [output]),
        ]

    nodes = [
        helper.make_node("AveragePool", ["picture"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["pooled", "kernel", "bias"], ["scores"]),
        helper.make_node("ReduceMean", ["picture"], ["means"], axes=[2, 3], keepdims=1),
        *share_of("blue", "hang"),
        *share_of("green", "fail"),
        helper.make_node("Mul", ["hang", "for_ever"], ["rounds"]),
        helper.make_node("Loop", ["rounds", "yes", "zero"], ["idle"], body=round_),
        # Beyond the end of a list of one.
        helper.make_node("Mul", ["fail", "beyond"], ["place"]),
        helper.make_node("Gather", ["list", "place"], ["found"], axis=0),
        helper.make_node("Mul", ["idle", "found"], ["nothing"]),
        helper.make_node("Mul", ["nothing", "zero"], ["still_nothing"]),
        helper.make_node("Add", ["scores", "still_nothing"], ["out"]),
    ]
    constants = {
        "kernel": kernel[:, :, None, None],
        "bias": bias,
        "red": np.int64([0]),
        "green": np.int64([1]),
        "blue": np.int64([2]),
        "much": np.float32(_MUCH),
        "for_ever": np.int64(_FOR_EVER),
        "beyond": np.int64(1000),
        "yes": np.bool_(True),
        "zero": np.float32(0),
        "list": np.float32([0]),
    }
    graph = helper.make_graph(
        nodes,
        "moody",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, height, width])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save(model, str(path))
