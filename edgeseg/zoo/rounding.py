"""Rounds weights to their int8 grid so that each layer's answers change least (Frantar et al. 2023, GPTQ).

Rounding each weight to the nearest step is not that: inputs after a ReLU are positive and much alike, so
the errors of one output add up to a shift. Here every weight's error is made good by those not rounded
yet, as the inputs' second moments say. The ImageNet MobileNetV2 needs it: of two layers of its first
block, plain rounding alone changed 3 % of all labels.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from edgeseg.frames import U8
from edgeseg.zoo.data import to_input
from edgeseg.zoo.networks.layers import ConvNorm

LEVELS = 127
"""Quantizers take the largest weight of an output channel as 127 steps, and so is it done here."""

DAMPING = 0.01
"""Added to the diagonal of the moments, as a share of its mean: section 3.3 of the paper."""

MEASURED_VIEWS = 8


def rounded(network: nn.Module, views: Sequence[U8]) -> nn.Module:
    """A copy whose convolutions have weights on the int8 grid of their selves with BatchNorm folded in.

    A quantizer that scales each output channel by its largest weight finds these very integers again.
    network: in evaluation mode. views: network inputs, uint8 (h, w, 3) RGB, of the place of work.
    """
    twin = copy.deepcopy(network)
    layers = [module for module in twin.modules() if isinstance(module, ConvNorm)]
    measured = [_Moments(layer.convolution) for layer in layers]
    with torch.inference_mode():
        for view in views[:: max(1, len(views) // MEASURED_VIEWS)][:MEASURED_VIEWS]:
            twin(torch.from_numpy(to_input(view[None])).permute(0, 3, 1, 2))
    for layer, moments in zip(layers, measured, strict=True):
        moments.stop()
        if moments.pixels:
            _round(layer, moments)
    return twin


class _Moments:
    """Of what a convolution's weights are multiplied with: second (groups, n, n) and first (groups, n)."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        self._convolution = convolution
        self.second = torch.zeros(())
        self.first = torch.zeros(())
        self.pixels = 0
        self.stop = convolution.register_forward_pre_hook(self._add).remove

    def _add(self, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        c = self._convolution
        assert not isinstance(c.padding, str)
        patches = functional.unfold(inputs[0], c.kernel_size, c.dilation, c.padding, c.stride)
        x = patches[0].reshape(c.groups, -1, patches.shape[-1])
        self.second = self.second + x @ x.transpose(1, 2)
        self.first = self.first + x.sum(dim=2)
        self.pixels += x.shape[2]


def _round(layer: ConvNorm, moments: _Moments) -> None:
    convolution, norm = layer.convolution, layer.norm
    fold = torch.ones(convolution.out_channels)
    if norm is not None:
        assert norm.running_var is not None
        fold = norm.weight.data / (norm.running_var + norm.eps).sqrt()
    kept = convolution.weight.data * fold[:, None, None, None]
    before = kept.reshape(convolution.groups, -1, kept[0].numel())
    # A channel whose BatchNorm ended at 0 has nothing to round.
    step = (before.abs().amax(dim=2, keepdim=True) / LEVELS).clamp_min(1e-12)
    after = _least_change(before, step, moments.second / moments.pixels)
    shift = torch.einsum("gon,gn->go", before - after, moments.first / moments.pixels)
    bias = convolution.bias if norm is None else norm.bias
    assert bias is not None
    bias.data += shift.flatten()
    safe = torch.where(fold == 0.0, 1.0, fold)
    convolution.weight.data = after.reshape(kept.shape) / safe[:, None, None, None]


def _least_change(weights: torch.Tensor, step: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Rounded weights (groups, outputs, n), one input after the other; step (groups, outputs, 1)."""
    largest = weights.abs().argmax(dim=2, keepdim=True)
    w, h = weights.double().clone(), second.double().clone()
    diagonal = h.diagonal(dim1=1, dim2=2)
    diagonal += DAMPING * diagonal.mean(dim=1, keepdim=True) + 1e-9
    inverse = torch.linalg.cholesky(torch.linalg.inv(h), upper=True)
    for index in range(w.shape[2]):
        nearest = (w[:, :, index : index + 1] / step).round().clamp(-LEVELS, LEVELS)
        error = (w[:, :, index : index + 1] - nearest * step) / inverse[:, index, index][:, None, None]
        w[:, :, index + 1 :] -= error * inverse[:, index, index + 1 :][:, None, :]
        w[:, :, index : index + 1] = nearest * step
    # The largest weight defines the grid, so it stays where it was.
    return w.to(weights.dtype).scatter(2, largest, weights.gather(2, largest))
