"""Fine-tune from a model that travels with edgeseg: its float ONNX file holds the weights of the network.

The exporter keeps the names of convolutions and folds BatchNorm into them, surgery folds the gain of the
picture's normalisation into the first one, and halving renames what it stores as float16. All of it is
undone here. SegFormer's merged decode head cannot be taken apart again, so its file will not do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgeseg.errors import ModelError
from edgeseg.zoo.export import load_model
from edgeseg.zoo.networks import NETWORKS, another_architecture, build
from edgeseg.zoo.networks.folded import identity_with
from edgeseg.zoo.networks.layers import ConvNorm
from edgeseg.zoo.networks.segformer import SegFormer
from edgeseg.zoo.surgery import Normalisation

TRAINING_ONLY = "auxiliary"
"""Heads of this name are in no exported graph; they begin afresh."""

MERGED_HEAD = "head.classify.weight"
"""What only the graphs of SegFormer have."""

Weights = dict[str, npt.NDArray[np.float32]]


def fill_from_graph(network: nn.Module, path: Path, pictures: torch.Tensor) -> list[str]:
    """Fill ``network`` so that it computes what the graph computes. Returns the names of what stays fresh:
    layers whose size depends on the number of classes, and those that only training has.

    path: a float deploy graph that ``edgeseg.zoo.build`` wrote of the same architecture. pictures: float
    (n, 3, h, w) in [-1, 1], whose activations set the BatchNorm statistics; a few dozen.
    Raises ModelError if the graph is of another architecture.
    """
    weights = _weights(path)
    if MERGED_HEAD in weights:
        raise ModelError(
            f"{path}: SegFormer's merged head cannot be taken apart; name a checkpoint (best.pt) or another "
            "model"
        )
    convolutions = {name: part for name, part in network.named_modules() if isinstance(part, nn.Conv2d)}
    stored = {name for name, array in weights.items() if _of_convolution(name, array)}
    if _deployed(network) != stored:
        raise another_architecture(path, _described(stored), network)
    fresh = [name for name in convolutions if TRAINING_ONLY in name]
    hooks = []
    was_training = network.training
    # In evaluation mode each BatchNorm uses what its hook has just measured: see networks/folded.py.
    network.eval()
    try:
        for name, part in convolutions.items():
            if name in fresh:
                continue
            weight = torch.from_numpy(weights[f"{name}.weight"])
            if weight.shape != part.weight.shape:
                fresh.append(name)
                continue
            with torch.no_grad():
                part.weight.copy_(weight)
                if part.bias is not None:
                    part.bias.copy_(torch.from_numpy(weights[f"{name}.bias"]))
            norm = _norm_after(network, name)
            if norm is not None:
                bias = torch.from_numpy(weights[f"{name}.weight_bias"])
                hooks.append(norm.register_forward_pre_hook(identity_with(bias)))
        with torch.no_grad():
            network(pictures)
    except KeyError as error:
        raise ModelError(f"{path}: has no {error.args[0]}; not a graph of edgeseg.zoo.build") from None
    finally:
        for hook in hooks:
            hook.remove()
        network.train(was_training)
    return fresh


def network_of_graph(path: Path, classes: int, pictures: torch.Tensor) -> nn.Module:
    """The network that a float deploy graph was written of, in evaluation mode.

    classes: how many the graph has. pictures: as for ``fill_from_graph``.
    Raises ModelError if the graph is none of ours, or SegFormer's.
    """
    stored = {name for name, array in _weights(path).items() if _of_convolution(name, array)}
    network = build(_described(stored) or "segformer", classes)
    fill_from_graph(network, path, pictures)
    return network.eval()


def _of_convolution(name: str, array: npt.NDArray[np.float32]) -> bool:
    return array.ndim == 4 and name.endswith(".weight")


def _described(stored: set[str]) -> str | None:
    """The name of the network whose convolutions these are; None if it is none of ours."""
    for name, kind in NETWORKS.items():
        if kind is not SegFormer and stored == _deployed(build(name, 2)):
            return name
    return None


def _deployed(network: nn.Module) -> set[str]:
    """Names of the weights of convolutions that a graph of ``network`` has."""
    parts = network.named_modules()
    return {
        f"{name}.weight" for name, part in parts if isinstance(part, nn.Conv2d) and TRAINING_ONLY not in name
    }


def _norm_after(network: nn.Module, name: str) -> nn.BatchNorm2d | None:
    parent = network.get_submodule(name.rpartition(".")[0])
    return parent.norm if isinstance(parent, ConvNorm) else None


def _weights(path: Path) -> Weights:
    """By the torch network's names. Raises ModelError if the file cannot be read."""
    gain = np.float32(Normalisation().scale)
    found: Weights = {}
    for value in load_model(path).graph.initializers.values():
        name = str(value.name)
        if value.const_value is None or "network." not in name:
            continue
        array = np.asarray(value.const_value.numpy(), np.float32)
        if name.startswith("deploy_"):
            array = array * gain
        found[name.removeprefix("deploy_").removeprefix("network.").removesuffix("_half")] = array.copy()
    return found
