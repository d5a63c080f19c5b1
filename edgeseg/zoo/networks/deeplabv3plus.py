"""DeepLabV3+ (Chen et al. 2018) on MobileNetV2, output stride 16."""

from __future__ import annotations

import torch
from torch import nn

from edgeseg.zoo.networks.layers import AtrousPyramid, ConvNorm, SeparableConv, enlarge
from edgeseg.zoo.networks.mobilenet_v2 import MobileNetV2
from edgeseg.zoo.networks.output import Logits


class DeepLabV3Plus(nn.Module):
    """Takes float (n, 3, h, w) in [-1, 1], h and w multiples of 32; returns logits at stride 4.

    Rates are half the paper's 6/12/18, which were chosen for 513 x 513: 480 x 384 at stride 16 is a grid
    of only 30 x 24. The decoder reads the trunk's last stride-4 layer (block 3's expansion), as DeepLab's own
    MobileNetV2 decoder does. While training an auxiliary head reads the middle of the trunk.
    """

    def __init__(
        self,
        classes: int,
        *,
        channels: int = 128,
        skip_channels: int = 48,
        rates: tuple[int, ...] = (3, 6, 9),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.trunk = MobileNetV2(output_stride=16)
        self.pyramid = AtrousPyramid(320, channels, rates)
        self.skip = ConvNorm(144, skip_channels)
        self.decoder = nn.Sequential(
            SeparableConv(channels + skip_channels, channels), SeparableConv(channels, channels)
        )
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(channels, classes, 1)
        self.auxiliary = nn.Sequential(SeparableConv(96, 96), nn.Conv2d(96, classes, 1))

    def forward(self, x: torch.Tensor) -> Logits:
        features = self.trunk(x)
        context = enlarge(self.pyramid(features.deep), 4)
        y = self.decoder(torch.cat([context, self.skip(features.skip)], dim=1))
        logits = self.classify(self.dropout(y))
        hints = (features.skip, features.middle, features.deep)
        return Logits(logits, (self.auxiliary(features.middle),) if self.training else (), hints)
