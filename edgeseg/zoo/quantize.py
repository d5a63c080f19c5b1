"""Static int8 quantization of a deploy graph, calibrated on pictures the user gives.

Two flavours, because runtimes want opposite things. ``cpu``: unsigned activations with a zero point,
signed weights per channel; runs well in onnxruntime and in OpenVINO from one file. ``tensorrt``: signed
and symmetric throughout, biases in float, no quantization between a convolution and its residual; slower
than float on a CPU, and never run on TensorRT itself.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgeseg.errors import ModelError
from edgeseg.frames import U8
from edgeseg.models.model import Flavour
from edgeseg.system.atomic_files import write_errors
from edgeseg.zoo.export import load_model, save_model
from edgeseg.zoo.surgery import INPUT, clean

CONVOLUTIONAL = [
    *("Conv", "Add", "Concat", "Resize", "MaxPool", "AveragePool", "GlobalAveragePool"),
    *("Relu", "Clip", "MatMul", "Gemm"),
]
"""Everything between two convolutions, or each of these costs a round trip through float."""

TRANSFORMER = ["Conv", "MatMul", "Gemm"]
"""LayerNormalization, GELU and Softmax stay float: an int8 Softmax alone costs 45 ms at 512 x 512."""


class _Views(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Hands the views over one at a time, as onnxruntime's calibrator asks for them."""

    def __init__(self, views: Sequence[U8]) -> None:
        self._waiting = iter(views)

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        view = next(self._waiting, None)
        return None if view is None else {INPUT: view[None]}


def quantize(deploy: Path, views: Sequence[U8], target: Path, flavour: Flavour = "cpu") -> None:
    """Write the int8 deploy graph of the float one, atomically.

    views: network inputs for calibration, uint8 (h, w, 3) RGB, all of one size; 32 to 100 of them from
    the place where the network will work. Ranges are the smallest and largest values seen.
    Raises ModelError if there are no views or ``deploy`` is not a deploy graph, EdgesegError if a disk is
    full.
    """
    if not views:
        raise ModelError("quantize: no frames to calibrate on; give a folder of pictures or a clip with some")
    graph = load_model(deploy)
    if graph.graph.inputs[0].name != INPUT:
        raise ModelError(f"{deploy}: input {graph.graph.inputs[0].name}, expected a deploy graph ({INPUT})")
    transformer = any(node.op_type == "Softmax" for node in graph.graph)
    scratch = Path(tempfile.gettempdir())
    with (
        write_errors(scratch, "make room there, or name another in TMPDIR"),
        tempfile.TemporaryDirectory() as folder,
    ):
        inferred, written = Path(folder) / "inferred.onnx", Path(folder) / "int8.onnx"
        with _quiet():
            quant_pre_process(str(deploy), str(inferred), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(inferred),
                str(written),
                _Views(views),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=quantization.CalibrationMethod.MinMax,
                op_types_to_quantize=TRANSFORMER if transformer else CONVOLUTIONAL,
                nodes_to_exclude=_attention(inferred) if transformer else [],
                **_settings(flavour),
            )
        model = load_model(written)
        clean(model)
        model.producer_name, model.producer_version = "edgeseg.zoo", None
        save_model(model, target)


def _settings(flavour: Flavour) -> dict[str, Any]:
    if flavour == "cpu":
        return {"activation_type": quantization.QuantType.QUInt8, "extra_options": {"WeightSymmetric": True}}
    return {
        "activation_type": quantization.QuantType.QInt8,
        "extra_options": {
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": ["Conv", "Add"],
        },
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """quantize_static asks on the root logger to pre-process models, which was done just before; and
    pre-processing prints a whole traceback there when it cannot write, before the error that counts."""
    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        root.setLevel(level)


def _attention(path: Path) -> list[str]:
    """Names of the MatMuls of two activations: int8 gains nothing there and costs accuracy."""
    graph = onnx.load(path).graph
    constant = {tensor.name for tensor in graph.initializer}
    return [node.name for node in graph.node if node.op_type == "MatMul" and not constant & set(node.input)]
