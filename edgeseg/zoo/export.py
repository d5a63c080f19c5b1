"""From a torch network to ONNX files: float logits, then the deploy graph; both checked before they stay."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import onnx_ir as ir
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from torch import nn

from edgeseg.errors import ModelError
from edgeseg.system.atomic_files import INTACT, atomic_write
from edgeseg.zoo.sizes import STEP_PX
from edgeseg.zoo.surgery import clean

OPSET = 18
LOGITS = "logits"


class _MainOnly(nn.Module):
    """The exporter wants one tensor out, and names the graph's input after the argument."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(input).main
        return logits


def to_onnx(network: nn.Module) -> ir.Model:
    """Float graph: ``input`` (n, 3, 32 h, 32 w) -> ``logits`` (n, classes, 8 h, 8 w), opset 18.

    The network is left in evaluation mode. n, h and w stay free.
    """
    network.eval()
    batch, rows, columns = (torch.export.Dim(name, min=1, max=256) for name in ("n", "rows", "columns"))
    # Neither square nor batch 1: equal or single sizes make the exporter specialise on them.
    example = torch.zeros(2, 3, 3 * STEP_PX, 4 * STEP_PX, device=next(network.parameters()).device)
    # One line for each operator of torchvision, which is not needed.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # torch's own deprecations; nothing here can act on them.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _MainOnly(network).eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes={"input": {0: batch, 2: STEP_PX * rows, 3: STEP_PX * columns}},
            input_names=["input"],
            output_names=[LOGITS],
            verbose=False,
        )
    assert program is not None
    model = program.model
    clean(model)
    model.producer_name, model.producer_version = "edgeseg.zoo", None
    return model


def load_model(path: Path) -> ir.Model:
    """Raises ModelError if ``path`` is not an ONNX file."""
    try:
        return ir.load(path)
    except (OSError, ValueError, RuntimeError, DecodeError) as error:
        raise ModelError(f"{path}: not a readable ONNX file ({error})") from error


def save_model(model: ir.Model, path: Path) -> None:
    """Write whole or not at all. Raises EdgesegError if the disk is full."""
    with atomic_write(path, INTACT) as partial:
        ir.save(model, partial, format="protobuf")
