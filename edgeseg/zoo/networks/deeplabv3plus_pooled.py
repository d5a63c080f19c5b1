"""DeepLabV3+ (Chen et al. 2018) that begins as Google's Pascal VOC network and answers like it.

Against deeplabv3plus.py: image pooling and one 1 x 1 branch instead of the pyramid, as in Google's
MobileNetV2 models; no BatchNorm, which their published weights have folded in; and a decoder whose answer
is added to the coarse one, so that it can begin at zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import nn

from edgeseg.errors import ModelError
from edgeseg.zoo.networks.folded import fill_folded
from edgeseg.zoo.networks.layers import (
    ConvNorm,
    InvertedResidual,
    SeparableConv,
    enlarge,
    without_norms,
)
from edgeseg.zoo.networks.mobilenet_v2 import MobileNetV2
from edgeseg.zoo.networks.output import Logits

PADDED_BEFORE = (1, 6)
"""Blocks that pad left and above at stride 2, the others right and below. Google's weights know sizes of
16 n + 1, with padding on both sides; on even sizes one side alone would shift the features by 7.5 pixels at
stride 16. By turns it is 2.5."""

FROZEN_BLOCKS = 3
"""Blocks that never learn, and the stem: their backward pass at stride 2 and 4 costs a third of a step."""


class DeepLabV3PlusPooled(nn.Module):
    """Takes float (n, 3, h, w) in [-1, 1], h and w multiples of 32; returns logits at stride 4."""

    def __init__(
        self, classes: int, *, context: int = 256, channels: int = 128, skip_channels: int = 48
    ) -> None:
        super().__init__()
        self.trunk = MobileNetV2(output_stride=16)
        for index in PADDED_BEFORE:
            block = self.trunk.blocks[index]
            assert isinstance(block, InvertedResidual)
            block.depthwise[0] = nn.ZeroPad2d((1, 0, 1, 0))
        self.pooling = ConvNorm(320, context)
        self.near = ConvNorm(320, context)
        # The halves of one 1 x 1 convolution over both: what is pooled is computed once, not at each place.
        self.fuse_pooled = nn.Conv2d(context, context, 1, bias=False)
        self.fuse_near = nn.Conv2d(context, context, 1)
        self.classify_coarse = nn.Conv2d(context, classes, 1)
        self.reduce = ConvNorm(context, channels - skip_channels)
        self.skip = ConvNorm(144, skip_channels)
        self.decoder = nn.Sequential(SeparableConv(channels, channels), SeparableConv(channels, channels))
        self.classify = nn.Conv2d(channels, classes, 1)
        without_norms(self)
        nn.init.zeros_(self.classify.weight)
        nn.init.zeros_(self.classify.bias)  # type: ignore[arg-type]
        for part in (self.trunk.stem, *self.trunk.blocks[:FROZEN_BLOCKS]):
            part.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> Logits:
        features = self.trunk(x)
        pooled = self.pooling(features.deep.mean((2, 3), keepdim=True))
        context = torch.relu(self.fuse_near(self.near(features.deep)) + self.fuse_pooled(pooled))
        fine = torch.cat([enlarge(self.reduce(context), 4), self.skip(features.skip)], dim=1)
        logits = self.classify(self.decoder(fine)) + enlarge(self.classify_coarse(context), 4)
        return Logits(logits, (), (features.skip, features.middle, features.deep))


def start_from_pascal(
    network: DeepLabV3PlusPooled, path: Path, rows: Sequence[Sequence[int]], *, silent: float = 0.01
) -> None:
    """Fill ``network`` so that it answers as the folded Pascal network of ``path`` does.

    rows: for each class the Pascal classes it is made of; a class without any begins as Pascal's background,
    which these share, with noise of this deviation (``silent``) to tell them apart.
    Raises ModelError if the file is not such an .npz.
    """
    folded = _arrays(path)
    fill_folded(network.trunk, folded, path)
    try:
        with torch.no_grad():
            for part, name in ((network.pooling, "image_pooling"), (network.near, "aspp_1x1")):
                part.convolution.weight.copy_(folded[f"deeplab/{name}/weight"])
                part.convolution.bias.copy_(folded[f"deeplab/{name}/bias"])  # type: ignore[union-attr]
            fuse = folded["deeplab/fuse/weight"]
            width = fuse.shape[1] // 2
            network.fuse_pooled.weight.copy_(fuse[:, :width])
            network.fuse_near.weight.copy_(fuse[:, width:])
            network.fuse_near.bias.copy_(folded["deeplab/fuse/bias"])  # type: ignore[union-attr]
            weight, bias = _rows(folded, rows, silent)
            network.classify_coarse.weight.copy_(weight)
            network.classify_coarse.bias.copy_(bias)  # type: ignore[union-attr]
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"{path}: {error}; expected Google's DeepLabV3 on MobileNetV2, folded") from error


def _rows(
    folded: Mapping[str, torch.Tensor], rows: Sequence[Sequence[int]], silent: float
) -> tuple[torch.Tensor, torch.Tensor]:
    weight, bias = folded["deeplab/logits/weight"], folded["deeplab/logits/bias"]
    free = sum(1 for members in rows if not members)
    noise = torch.Generator().manual_seed(1)
    weights, biases = [], []
    for members in rows:
        if members:
            # A mean of rows answers less than the best of them; the logarithm is its usual share.
            weights.append(weight[list(members)].mean(dim=0))
            biases.append(bias[list(members)].mean() + 1.5 * math.log(len(members)))
        else:
            jitter = torch.randn(weight[0].shape, generator=noise) * silent
            weights.append(weight[0] + jitter)
            biases.append(bias[0] - math.log(max(free, 1)))
    return torch.stack(weights), torch.stack([torch.as_tensor(value) for value in biases])


def _arrays(path: Path) -> dict[str, torch.Tensor]:
    try:
        with np.load(path) as arrays:
            return {key: torch.from_numpy(np.asarray(arrays[key], np.float32)) for key in arrays.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise ModelError(f"{path}: {error}; expected an .npz of folded DeepLab weights") from error
