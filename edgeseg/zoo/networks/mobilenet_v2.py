"""The MobileNetV2 1.0 trunk (Sandler et al. 2018) that DeepLabV3+ and ICNet share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from edgeseg.zoo.networks.layers import ConvNorm, InvertedResidual

# (expansion, channels, blocks, stride of the first block): table 2 of the paper.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)

SKIP_BLOCK = 3
"""Its expansion is the last layer at stride 4: 144 channels."""

SHALLOW_BLOCKS = 6
"""How many blocks ``shallow`` runs: up to the last one at stride 8, with 32 channels."""

MIDDLE_BLOCK = 12
"""The last block before the stage that runs at stride 32, or dilated at 16: 96 channels."""


@dataclass(frozen=True, slots=True)
class Features:
    """skip: (n, 144, h/4, w/4); middle: (n, 96, h/16, w/16); deep: (n, 320, h/s, w/s) at output stride s."""

    skip: torch.Tensor
    middle: torch.Tensor
    deep: torch.Tensor


class MobileNetV2(nn.Module):
    """Takes float (n, 3, h, w) in [-1, 1] (x / 127.5 - 1), h and w multiples of 32.

    output_stride: 32 is the original; 16 and 8 replace the last strides by dilation (atrous convolution).
    """

    def __init__(self, output_stride: int = 16) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 32, 3, stride=2, activation=nn.ReLU6)
        blocks: list[InvertedResidual] = []
        channels_in, reached, dilation = 32, 2, 1
        for expansion, channels, count, first_stride in STAGES:
            for index in range(count):
                stride = first_stride if index == 0 else 1
                block_dilation = dilation
                if stride == 2 and reached == output_stride:
                    # The block that gives up its stride keeps the old dilation; the ones after it widen.
                    stride, dilation = 1, dilation * 2
                reached *= stride
                blocks.append(
                    InvertedResidual(
                        channels_in, channels, expansion=expansion, stride=stride, dilation=block_dilation
                    )
                )
                channels_in = channels
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: torch.Tensor) -> Features:
        skip = middle = x = self.stem(x)
        for index, block in enumerate(self.blocks):
            assert isinstance(block, InvertedResidual)
            expanded = block.expand(x)
            x = block.after_expansion(x, expanded)
            if index == SKIP_BLOCK:
                skip = expanded
            if index == MIDDLE_BLOCK:
                middle = x
        return Features(skip, middle, x)

    def shallow(self, x: torch.Tensor) -> torch.Tensor:
        """The first blocks alone: (n, 32, h/8, w/8)."""
        x = self.stem(x)
        for block in self.blocks[:SHALLOW_BLOCKS]:
            x = block(x)
        return x

    def deepen(self, x: torch.Tensor) -> torch.Tensor:
        """The other blocks, on what ``shallow`` returned: (n, 320, ...)."""
        for block in self.blocks[SHALLOW_BLOCKS:]:
            x = block(x)
        return x
