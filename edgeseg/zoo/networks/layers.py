"""Building blocks that every network of the zoo shares.

Padding. Stride-2 convolutions pad zeros right and below only, which is TensorFlow's SAME for even
sizes. Inputs are multiples of 32, so every size stays even and the padding is a constant: nothing is
computed from shapes, and the exporters have nothing to get wrong (the ceiling division of a general
SAME padding was once traced as truncation, silently).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class DilatedDepthwise(nn.Conv2d):
    """A depthwise convolution with dilation, trained by its phases or in float32 on a CPU.

    torch 2.13's bf16 kernel for channels-last tensors returns memory it never wrote as the gradient of
    the weights, from a grid of about 24 x 32 on: values like 1e30, and a loss of nan a few steps later.
    Where the dilation divides the size, its phases (every d-th row and column) are convolved without
    dilation: the same sums, in a quarter of float32's time.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not (self.training and x.device.type == "cpu"):
            return super().forward(x)
        dilation = self.dilation[0]
        rows, columns = x.shape[2:]
        if dilation == 1 or self.stride[0] != 1 or rows % dilation or columns % dilation:
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        split = (len(x), rows // dilation, dilation, columns // dilation, dilation, x.shape[1])
        phases = x.permute(0, 2, 3, 1).reshape(split).permute(2, 4, 0, 1, 3, 5)
        small = phases.reshape(-1, split[1], split[3], split[5]).permute(0, 3, 1, 2)
        y = functional.conv2d(small, self.weight, self.bias, padding=1, groups=self.groups)
        whole = y.permute(0, 2, 3, 1).reshape(dilation, dilation, split[0], split[1], split[3], split[5])
        return whole.permute(2, 3, 0, 4, 1, 5).reshape(split[0], rows, columns, split[5]).permute(0, 3, 1, 2)


class StridedDepthwise(nn.Conv2d):
    """A depthwise convolution with a stride, trained in float32 on a CPU: torch 2.13's bf16 kernel takes four
    times as long for the gradients. A frozen one has none.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and self.weight.requires_grad and x.device.type == "cpu":
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)


class ConvNorm(nn.Sequential):
    """Convolution, BatchNorm and, if asked, an activation; keeps the size at stride 1, halves it at 2."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activation: type[nn.Module] | None = nn.ReLU,
    ) -> None:
        layers: list[nn.Module] = []
        padding = dilation * (kernel - 1) // 2
        if stride == 2 and kernel == 3:
            layers.append(nn.ZeroPad2d((0, 1, 0, 1)))
            padding = 0
        kind = nn.Conv2d
        if groups == channels_in:
            kind = DilatedDepthwise if dilation > 1 else StridedDepthwise if stride > 1 else nn.Conv2d
        convolution = kind(channels_in, channels_out, kernel, stride, padding, dilation, groups, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        layers += [convolution, nn.BatchNorm2d(channels_out)]
        if activation is not None:
            layers.append(activation())
        super().__init__(*layers)

    @property
    def convolution(self) -> nn.Conv2d:
        return next(layer for layer in self if isinstance(layer, nn.Conv2d))

    @property
    def norm(self) -> nn.BatchNorm2d | None:
        """None after ``without_norms``."""
        return next((layer for layer in self if isinstance(layer, nn.BatchNorm2d)), None)


class SeparableConv(nn.Sequential):
    """Depthwise 3 x 3 then pointwise, each with BatchNorm and ReLU."""

    def __init__(self, channels_in: int, channels_out: int, *, dilation: int = 1) -> None:
        super().__init__(
            ConvNorm(channels_in, channels_in, 3, dilation=dilation, groups=channels_in),
            ConvNorm(channels_in, channels_out),
        )


class InvertedResidual(nn.Module):
    """MobileNetV2's block (Sandler et al. 2018): expand, depthwise, linear projection, residual."""

    def __init__(
        self, channels_in: int, channels_out: int, *, expansion: int, stride: int, dilation: int
    ) -> None:
        super().__init__()
        hidden = channels_in * expansion
        self.expand: nn.Module = nn.Identity()
        if expansion != 1:
            self.expand = ConvNorm(channels_in, hidden, activation=nn.ReLU6)
        self.depthwise = ConvNorm(
            hidden, hidden, 3, stride=stride, dilation=dilation, groups=hidden, activation=nn.ReLU6
        )
        self.project = ConvNorm(hidden, channels_out, activation=None)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after_expansion(x, self.expand(x))

    def after_expansion(self, x: torch.Tensor, expanded: torch.Tensor) -> torch.Tensor:
        """The rest of the block, for a decoder that also reads the expanded features."""
        y: torch.Tensor = self.project(self.depthwise(expanded))
        return x + y if self.residual else y


class AtrousPyramid(nn.Module):
    """ASPP (Chen et al. 2017) with separable convolutions and without image pooling.

    Pooling's 1 x 1 -> h x w resize throws everything after it off an Edge TPU, and at CamVid's size the
    widest rate already sees most of the picture.
    """

    def __init__(self, channels_in: int, channels: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [ConvNorm(channels_in, channels)]
            + [SeparableConv(channels_in, channels, dilation=rate) for rate in rates]
        )
        self.fuse = ConvNorm(channels * (len(rates) + 1), channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fused: torch.Tensor = self.fuse(torch.cat([branch(x) for branch in self.branches], dim=1))
        return fused


def enlarge(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Bilinear, half-pixel centres: the convention of cv2.resize and of ONNX Resize ``half_pixel``."""
    return functional.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


def without_norms(network: nn.Module) -> None:
    """Give every ConvNorm below ``network`` a bias instead of its BatchNorm, with fresh weights.

    For weights that have BatchNorm folded in: a quarter faster to train, and without running statistics.
    """
    for layer in [part for part in network.modules() if isinstance(part, ConvNorm)]:
        convolution = layer.convolution
        convolution.bias = nn.Parameter(torch.zeros(convolution.out_channels))
        # By what goes in: nothing after it will mend the scale of a depthwise kernel.
        nn.init.kaiming_normal_(convolution.weight, mode="fan_in", nonlinearity="relu")
        for index, part in enumerate(layer):
            if isinstance(part, nn.BatchNorm2d):
                layer[index] = nn.Identity()
