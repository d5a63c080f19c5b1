"""An image cascade after ICNet (Zhao et al. 2018): the picture at three resolutions, fused upwards.

The deep part of the network sees a quarter of the resolution, the shallow part a half, and only three
light convolutions the whole picture. Against the paper: the shared trunk is MobileNetV2, the pyramid
is a small ASPP (its pooling would leave an Edge TPU), and the cascade takes one more step, to stride 4,
without which poles and pedestrians drown.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from edgeseg.zoo.networks.layers import AtrousPyramid, ConvNorm, SeparableConv, enlarge
from edgeseg.zoo.networks.mobilenet_v2 import MobileNetV2
from edgeseg.zoo.networks.output import Logits


class CascadeFusion(nn.Module):
    """CFF (section 3.3 of the paper): the coarse map twice as large through a dilated convolution, plus
    the fine map through a projection, then ReLU. While training the enlarged coarse map is classified too.
    """

    def __init__(self, coarse: int, fine: int, channels: int, classes: int) -> None:
        super().__init__()
        self.coarse = nn.Sequential(
            ConvNorm(coarse, coarse, 3, dilation=2, groups=coarse),
            ConvNorm(coarse, channels, activation=None),
        )
        self.fine = ConvNorm(fine, channels, activation=None)
        self.auxiliary = nn.Conv2d(coarse, classes, 1)

    def forward(self, coarse: torch.Tensor, fine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        larger = enlarge(coarse, 2)
        fused = torch.relu(self.coarse(larger) + self.fine(fine))
        return fused, self.auxiliary(larger) if self.training else None


class ICNet(nn.Module):
    """Takes float (n, 3, h, w) in [-1, 1], h and w multiples of 32; returns logits at stride 4."""

    def __init__(self, classes: int, *, channels: int = 128, rates: tuple[int, ...] = (2, 4, 6)) -> None:
        super().__init__()
        self.trunk = MobileNetV2(output_stride=8)
        self.pyramid = AtrousPyramid(320, channels, rates)
        self.detail = nn.ModuleList(
            [ConvNorm(3, 16, 3, stride=2), ConvNorm(16, 32, 3, stride=2), ConvNorm(32, 64, 3, stride=2)]
        )
        self.fuse = nn.ModuleList(
            [
                CascadeFusion(channels, 32, channels, classes),
                CascadeFusion(channels, 64, channels, classes),
                CascadeFusion(channels, 32, 64, classes),
            ]
        )
        self.refine = SeparableConv(64, 64)
        self.classify = nn.Conv2d(64, classes, 1)

    def forward(self, x: torch.Tensor) -> Logits:
        half = self.trunk.shallow(functional.avg_pool2d(x, 2))
        y = self.pyramid(self.trunk.deepen(functional.avg_pool2d(half, 2)))
        details = [half]
        for layer in self.detail:
            x = layer(x)
            details.insert(1, x)
        coarse: list[torch.Tensor] = []
        # half is at stride 16, then the detail branch at 8 and 4; its stride-2 map is not fused.
        for fuse, fine in zip(self.fuse, details[:3], strict=True):
            y, auxiliary = fuse(y, fine)
            if auxiliary is not None:
                coarse.append(auxiliary)
        return Logits(self.classify(self.refine(y)), tuple(coarse))
