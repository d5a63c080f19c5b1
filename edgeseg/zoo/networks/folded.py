"""Initialise a MobileNetV2 trunk from convolutions with BatchNorm folded in (an .npz).

Keys: ``stem``, ``blockNN/expand|depthwise|project`` (NN 00-16; 00 has no expand), each with ``/weight``
(out, in/groups, kh, kw) and ``/bias``. The trunk keeps its BatchNorm layers, and these must start as the
identity *on the network's own activations*: with mean 0 and variance 1 training would normalise the
folded weights away in its first step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import nn

from edgeseg.errors import ModelError
from edgeseg.zoo.networks.layers import ConvNorm
from edgeseg.zoo.networks.mobilenet_v2 import MobileNetV2


def load_folded(trunk: MobileNetV2, path: Path, pictures: torch.Tensor) -> None:
    """Fill ``trunk`` from ``path`` so that it computes what the folded network computes.

    pictures: float (n, 3, h, w) in [-1, 1], whose activations set the BatchNorm statistics; a few dozen.
    Raises ModelError if the file is not such an .npz.
    """
    try:
        with np.load(path) as arrays:
            folded = {key: np.asarray(arrays[key], np.float32) for key in arrays.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise ModelError(f"{path}: {error}; expected an .npz of folded MobileNetV2 weights") from error
    hooks = []
    was_training = trunk.training
    # Evaluation mode: BatchNorm then uses what the hook has just measured, so one pass in execution
    # order gives every layer its true input.
    trunk.eval()
    try:
        for name, layer in _convolutions(trunk):
            bias = _fill(layer.convolution, folded, name, path)
            norm = layer.norm
            assert norm is not None
            hooks.append(norm.register_forward_pre_hook(identity_with(bias)))
        with torch.no_grad():
            trunk(pictures)
    finally:
        for hook in hooks:
            hook.remove()
        trunk.train(was_training)


def fill_folded(trunk: MobileNetV2, folded: Mapping[str, torch.Tensor], path: Path) -> None:
    """Fill a trunk whose layers have a bias instead of BatchNorm. path: whom to name.

    Raises ModelError if the arrays are not those of a MobileNetV2 1.0.
    """
    for name, layer in _convolutions(trunk):
        for key, own in (("weight", layer.convolution.weight), ("bias", layer.convolution.bias)):
            given = folded.get(f"{name}/{key}")
            if given is None or own is None or given.shape != own.shape:
                raise ModelError(
                    f"{path}: {name}/{key} is missing or of another shape; expected MobileNetV2 1.0"
                )
            with torch.no_grad():
                own.copy_(given)


def _convolutions(trunk: MobileNetV2) -> list[tuple[str, ConvNorm]]:
    found = [("stem", trunk.stem)]
    for index, block in enumerate(trunk.blocks):
        for part in ("expand", "depthwise", "project"):
            layer = getattr(block, part)
            if isinstance(layer, ConvNorm):
                found.append((f"block{index:02d}/{part}", layer))
    return found


def _fill(layer: nn.Conv2d, folded: dict[str, np.ndarray], name: str, path: Path) -> torch.Tensor:
    for key in (f"{name}/weight", f"{name}/bias"):
        if key not in folded:
            raise ModelError(f"{path}: no array {key!r}; expected folded MobileNetV2 weights")
    weight = torch.from_numpy(folded[f"{name}/weight"])
    if weight.shape != layer.weight.shape:
        raise ModelError(
            f"{path}: {name}/weight has shape {tuple(weight.shape)}, expected {tuple(layer.weight.shape)};"
            " only MobileNetV2 1.0 fits"
        )
    with torch.no_grad():
        layer.weight.copy_(weight)
    return torch.from_numpy(folded[f"{name}/bias"])


def identity_with(bias: torch.Tensor) -> Callable[[nn.BatchNorm2d, tuple[torch.Tensor]], None]:
    """A forward pre-hook that makes BatchNorm add ``bias`` to what it sees, and nothing else."""

    def measure(norm: nn.BatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
        variance, mean = torch.var_mean(inputs[0].float(), dim=(0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        norm.running_var.copy_(variance)  # type: ignore[union-attr]
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean + bias)

    return measure
