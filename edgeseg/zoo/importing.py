"""Bring a public checkpoint in transformers' format to a deploy graph: SegFormer of any size, and DeepLabV3
on MobileNetV2 (``nvidia/segformer-b0-finetuned-*``, ``google/deeplabv3_mobilenet_v2_1.0_513`` and the like).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from safetensors import SafetensorError  # type: ignore[import-not-found]
from torch import nn
from transformers import (
    AutoConfig,
    MobileNetV2ForSemanticSegmentation,
    SegformerForSemanticSegmentation,
)

from edgeseg.errors import ModelError
from edgeseg.frames import U8
from edgeseg.zoo import agreement, export, segformer_head, surgery
from edgeseg.zoo.networks.output import Logits
from edgeseg.zoo.networks.segformer import SegFormer
from edgeseg.zoo.surgery import Normalisation

ARCHITECTURES = ("SegformerForSemanticSegmentation", "MobileNetV2ForSemanticSegmentation")
PREPROCESSOR = "preprocessor_config.json"


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """network: in evaluation mode, returns ``Logits``. classes: names as the manifest wants them."""

    network: nn.Module
    classes: tuple[str, ...]
    normalisation: Normalisation


class MobileNetDeepLab(nn.Module):
    """Takes float (n, 3, h, w), h and w multiples of 32; returns logits at stride 16 or 8, as trained."""

    def __init__(self, network: MobileNetV2ForSemanticSegmentation) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> Logits:
        return Logits(self.network(x).logits)


def read(folder: Path) -> Imported:
    """Load a checkpoint from a folder with ``config.json``, weights and ``preprocessor_config.json``.

    Raises ModelError for another architecture, or if a part is missing or damaged.
    """
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder}: no readable config.json of transformers ({_one_line(error)})") from error
    architectures = list(config.architectures or ())
    if len(architectures) != 1 or architectures[0] not in ARCHITECTURES:
        found = ", ".join(architectures) or "no architecture"
        raise ModelError(f"{folder}: {found}, expected {' or '.join(ARCHITECTURES)}")
    segformer = architectures[0] == ARCHITECTURES[0]
    kind = SegformerForSemanticSegmentation if segformer else MobileNetV2ForSemanticSegmentation
    try:
        loaded: Any = kind.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        network, loading = loaded
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise ModelError(f"{folder}: weights cannot be loaded ({_one_line(error)})") from error
    lost = [*loading["missing_keys"], *loading["mismatched_keys"]]
    if lost:
        raise ModelError(f"{folder}: {len(lost)} weights are missing or of another shape, first {lost[0]}")
    if segformer:
        wrapped: nn.Module = SegFormer(config.num_labels, network)
    else:
        _pad_statically(network)
        wrapped = MobileNetDeepLab(network)
    return Imported(wrapped.eval(), _classes(config), _normalisation(folder))


def to_deploy(imported: Imported, pictures: Sequence[U8]) -> ir.Model:
    """The deploy graph, SegFormer's head merged; checked against torch on ``pictures`` (uint8 (h, w, 3) RGB).

    Raises ModelError if merging, surgery or the comparison fails.
    """
    graph = export.to_onnx(imported.network)
    if isinstance(imported.network, SegFormer):
        merged = segformer_head.merge(graph)
        segformer_head.check(graph, merged)
        graph = merged
    surgery.drop_final_resize(graph)
    surgery.to_deploy(graph, imported.normalisation)
    compared = agreement.compare(imported.network, graph, pictures, imported.normalisation)
    agreement.require(compared, "import")
    return graph


def _pad_statically(network: nn.Module) -> None:
    """transformers computes SAME padding from the input's size, which would fix the size in the graph.

    For even sizes it depends on kernel, stride and dilation alone, and multiples of 32 stay even.
    """
    for layer in list(network.modules()):
        convolution = getattr(layer, "convolution", None)
        if not isinstance(convolution, nn.Conv2d) or not layer.config.tf_padding:  # type: ignore[union-attr]
            continue
        total = max(convolution.kernel_size[0] - convolution.stride[0], 0)
        before, after = (part * convolution.dilation[0] for part in (total // 2, total - total // 2))
        layer.convolution = nn.Sequential(nn.ZeroPad2d((before, after, before, after)), convolution)
    network.config.tf_padding = False  # type: ignore[union-attr]


def _classes(config: Any) -> tuple[str, ...]:
    """Names in the manifest's alphabet; equal ones are numbered apart."""
    names: list[str] = []
    for index in range(config.num_labels):
        name = (
            re.sub(r"[^a-z0-9_-]+", "_", str(config.id2label[index]).lower()).strip("_-") or f"class{index}"
        )
        names.append(name if name not in names else f"{name}_{index}")
    return tuple(names)


def _normalisation(folder: Path) -> Normalisation:
    path = folder / PREPROCESSOR
    try:
        said = json.loads(path.read_text())
        # Wrong ones cost most of the accuracy and no error: so they must be said, not guessed.
        mean, std = (tuple(float(value) for value in said[key]) for key in ("image_mean", "image_std"))
        factor = float(said.get("rescale_factor", 1 / 255))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: no readable image_mean and image_std ({_one_line(error)})") from error
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0 or factor <= 0:
        raise ModelError(f"{path}: image_mean and image_std need 3 values each, std above 0")
    if not said.get("do_normalize", True):
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    flipped = bool(said.get("do_flip_channel_order", False))
    return Normalisation(round(1 / factor, 6), mean, std, bgr=flipped)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
