"""The tiny networks as TFLite files, written with LiteRT's own schema."""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.support.tiny_models import STRIDE, Convention

# Real values of one step of the quantized tensors: pictures 0-255, logits -8 to 24 (8 is the largest).
INPUT_ZERO = -128
LOGIT_STEP = 0.125
LOGIT_ZERO = -64


def write_tflite(path: Path, convention: Convention, quantized: bool) -> None:
    """Build the network: average pool, 1 x 1 convolution, for ``labels`` an argmax; NHWC as TFLite is.

    quantized: int8 throughout, as post-training quantization makes it; else float32.
    """
    assert convention.layout == "nhwc"
    assert convention.form in ("logits", "labels", "mask")
    builder = Builder()
    width, height = convention.size
    grid = [1, height // STRIDE, width // STRIDE]
    kernel, bias = convention.weights()
    kernel = kernel[:, None, None, :]
    if quantized:
        steps = np.maximum(np.abs(kernel).max(axis=(1, 2, 3)), 1e-6) / 127
        rounded = np.rint(kernel / steps[:, None, None, None]).astype(np.int8)
        bias_steps = steps.astype(np.float32)
        picture = builder.tensor("picture", [1, height, width, 3], "int8", [1.0], [INPUT_ZERO])
        pooled = builder.tensor("pooled", [*grid, 3], "int8", [1.0], [INPUT_ZERO])
        weights = builder.tensor("kernel", kernel.shape, "int8", steps, [0] * len(steps), rounded)
        whole = np.rint(bias / bias_steps).astype(np.int32)
        offsets = builder.tensor("bias", bias.shape, "int32", bias_steps, [0] * len(steps), whole)
        scores = builder.tensor("scores", [*grid, len(bias)], "int8", [LOGIT_STEP], [LOGIT_ZERO])
    else:
        picture = builder.tensor("picture", [1, height, width, 3], "float32")
        pooled = builder.tensor("pooled", [*grid, 3], "float32")
        weights = builder.tensor("kernel", kernel.shape, "float32", data=kernel)
        offsets = builder.tensor("bias", bias.shape, "float32", data=bias)
        scores = builder.tensor("scores", [*grid, len(bias)], "float32")
    pool = schema.Pool2DOptionsT()
    pool.padding = schema.Padding.VALID
    pool.strideW = pool.strideH = pool.filterWidth = pool.filterHeight = STRIDE
    builder.operator("AVERAGE_POOL_2D", [picture], [pooled], "Pool2DOptions", pool)
    convolution = schema.Conv2DOptionsT()
    convolution.padding = schema.Padding.VALID
    convolution.strideW = convolution.strideH = 1
    builder.operator("CONV_2D", [pooled, weights, offsets], [scores], "Conv2DOptions", convolution)
    answer = scores
    if convention.form == "labels":
        axis = builder.tensor("axis", [1], "int32", data=np.array([3], np.int32))
        answer = builder.tensor("labels", grid, "int64")
        options = schema.ArgMaxOptionsT()
        options.outputType = schema.TensorType.INT64
        builder.operator("ARG_MAX", [scores, axis], [answer], "ArgMaxOptions", options)
    path.write_bytes(builder.finish([picture], [answer]))


class Builder:
    def __init__(self) -> None:
        self._buffers = [schema.BufferT()]
        self._tensors: list[schema.TensorT] = []
        self._codes: list[schema.OperatorCodeT] = []
        self._operators: list[schema.OperatorT] = []

    def tensor(
        self,
        name: str,
        shape: object,
        kind: str,
        steps: object = None,
        zeros: object = None,
        data: np.ndarray | None = None,
    ) -> int:
        tensor = schema.TensorT()
        tensor.name = name
        tensor.shape = [int(extent) for extent in shape]  # type: ignore[attr-defined]
        tensor.type = getattr(schema.TensorType, kind.upper())
        if steps is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = [float(step) for step in steps]  # type: ignore[attr-defined]
            tensor.quantization.zeroPoint = [int(zero) for zero in zeros]  # type: ignore[attr-defined]
            tensor.quantization.quantizedDimension = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self._buffers.append(buffer)
            tensor.buffer = len(self._buffers) - 1
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def operator(
        self, kind: str, inputs: list[int], outputs: list[int], options_kind: str, options: object
    ) -> None:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        # Version 3 of convolution and 2 of the others are the first that take int8.
        code.version = 3 if kind == "CONV_2D" else 2
        self._codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self._codes) - 1
        operator.inputs, operator.outputs = inputs, outputs
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, options_kind)
        operator.builtinOptions = options
        self._operators.append(operator)

    def finish(self, inputs: list[int], outputs: list[int]) -> bytes:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs, graph.outputs = inputs, outputs
        model = schema.ModelT()
        model.version = 3
        model.operatorCodes, model.subgraphs, model.buffers = self._codes, [graph], self._buffers
        packer = flatbuffers.Builder(4096)
        packer.Finish(model.Pack(packer), b"TFL3")
        return bytes(packer.Output())
