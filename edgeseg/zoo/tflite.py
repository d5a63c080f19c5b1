"""TFLite files of a fixed size: float, and full-integer int8 that an Edge TPU can take.

Needs LiteRT's converter (``litert-torch``, ``ai-edge-quantizer``), which was tried in an environment of
its own, without the ONNX tools. Input and output are NHWC; logits leave at stride 4, because the
quantizer would turn an ArgMax into a float one.

For a Coral Edge TPU the int8 file is compiled once more, on x86-64 Debian, by Google's own tool, which is
in no package registry (https://coral.ai/docs/edgetpu/compiler/): ``edgetpu_compiler -s int8.tflite``. Its
log must say that all operators were mapped; ``edge_tpu_problems`` tells beforehand what would not be.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import litert_torch  # type: ignore[import-not-found]
import numpy as np
import numpy.typing as npt
import torch
from ai_edge_litert import interpreter, schema_py_generated
from ai_edge_quantizer import quantizer, recipe  # type: ignore[import-not-found]
from torch import nn

from edgeseg.errors import ModelError
from edgeseg.frames import U8
from edgeseg.zoo.data import to_input
from edgeseg.zoo.networks.layers import ConvNorm

UNFOLDABLE = {
    "DeepLabV3Plus": ("trunk.blocks.3.depthwise",),
    "DeepLabV3PlusPooled": (
        "trunk.blocks.1.depthwise",
        "trunk.blocks.3.depthwise",
        "trunk.blocks.6.depthwise",
    ),
    "ICNet": ("trunk.stem", "detail.0", "detail.2"),
}
"""Layers whose padded input another layer reads too, or average pooling makes. The converter cannot fold
that padding into the convolution and surrounds it with transposes."""

EDGE_TPU_OPERATORS = frozenset(
    (
        *("ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "MEAN"),
        *("MUL", "PAD", "QUANTIZE", "RELU", "RELU6", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"),
        *("SLICE", "STRIDED_SLICE", "SUB"),
    )
)
"""The part of https://coral.ai/docs/edgetpu/models-intro/#supported-operations that our networks may use."""

INTEGERS = (
    schema_py_generated.TensorType.INT8,
    schema_py_generated.TensorType.INT32,
    schema_py_generated.TensorType.INT64,
)


class _MainOnly(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(x).main
        return logits


def convert(network: nn.Module, size_px: tuple[int, int]) -> bytes:
    """Float TFLite of one size (width, height): float32 (1, h, w, 3) -> logits (1, h/4, w/4, classes)."""
    width, height = size_px
    twin = copy.deepcopy(network).eval()
    for name in UNFOLDABLE.get(type(network).__name__, ()):
        _embed_padding(twin.get_submodule(name))
    last = litert_torch.to_channel_last_io(_MainOnly(twin), [0], [0]).eval()
    return bytes(litert_torch.convert(last, (torch.zeros(1, height, width, 3),)).model_content())


def quantize(model: bytes, views: Sequence[U8]) -> bytes:
    """Full-integer int8, weights per channel, calibrated on ``views``: uint8 (h, w, 3) of the model's size.

    Raises ModelError if there are none.
    """
    if not views:
        raise ModelError("quantize: no frames to calibrate on; give a folder of pictures or a clip with some")
    loaded = interpreter.Interpreter(model_content=model)
    (signature, tensors), *_ = loaded.get_signature_list().items()

    def samples() -> Iterator[dict[str, npt.NDArray[np.float32]]]:
        for view in views:
            yield {tensors["inputs"][0]: to_input(view[None])}

    work = quantizer.Quantizer(model, recipe.static_wi8_ai8())
    ranges = work.calibrate({signature: list(samples())}, num_threads=1)
    done = work.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(done.quantized_model)


def labels_of(model: bytes, views: Sequence[U8]) -> list[U8]:
    """The winning class on the model's grid for each view, uint8 (h/4, w/4)."""
    loaded = interpreter.Interpreter(model_content=model, num_threads=1)
    loaded.allocate_tensors()
    (entry,), (answer,) = loaded.get_input_details(), loaded.get_output_details()
    found = []
    for view in views:
        x = to_input(view[None])
        if entry["dtype"] is np.int8:
            scale, zero = entry["quantization"]
            x = np.clip(np.round(x / scale) + zero, -128, 127).astype(np.int8)
        loaded.set_tensor(entry["index"], x)
        loaded.invoke()
        found.append(loaded.get_tensor(answer["index"])[0].argmax(axis=-1).astype(np.uint8))
    return found


def operators(model: bytes) -> dict[str, int]:
    """How often each operator occurs, by its name in the TFLite schema."""
    names = {
        value: name for name, value in vars(schema_py_generated.BuiltinOperator).items() if name.isupper()
    }
    parsed = schema_py_generated.ModelT.InitFromPackedBuf(model, 0)
    counts: dict[str, int] = {}
    for operator in parsed.subgraphs[0].operators:
        name = names[parsed.operatorCodes[operator.opcodeIndex].builtinCode]
        counts[name] = counts.get(name, 0) + 1
    return counts


def edge_tpu_problems(model: bytes) -> tuple[str, ...]:
    """What would keep parts of an int8 model off an Edge TPU, one line each; empty if nothing is known to."""
    said = [
        f"{count} x {name}: not an operator that the Edge TPU documents"
        for name, count in sorted(operators(model).items())
        if name not in EDGE_TPU_OPERATORS
    ]
    parsed = schema_py_generated.ModelT.InitFromPackedBuf(model, 0)
    floats = [tensor.name.decode() for tensor in parsed.subgraphs[0].tensors if tensor.type not in INTEGERS]
    if floats:
        said.append(f"{len(floats)} tensors are not integers, first {floats[0]}")
    return tuple(said)


def _embed_padding(layer: nn.Module) -> None:
    """A 3 x 3 kernel at stride 2, padded on one side, is exactly a 4 x 4 one padded on all sides that is zero
    in its first row and column, or in its last for padding left and above. TFLite's SAME gives that padding
    without a PAD operator.
    """
    assert isinstance(layer, ConvNorm)
    old, pad = layer.convolution, layer[0]
    assert isinstance(pad, nn.ZeroPad2d)
    start = 0 if pad.padding[0] else 1
    new = nn.Conv2d(old.in_channels, old.out_channels, 4, 2, 1, groups=old.groups, bias=old.bias is not None)
    with torch.no_grad():
        new.weight.zero_()
        new.weight[:, :, start : start + 3, start : start + 3] = old.weight
        if new.bias is not None and old.bias is not None:
            new.bias.copy_(old.bias)
    layer[0], layer[1] = nn.Identity(), new
