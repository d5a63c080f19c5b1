"""Rounded weights: on the grid a quantizer finds again, and closer to the network than plain rounding."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the zoo extra is not installed")

from torch import nn  # noqa: E402

from edgeseg.zoo.data import to_input  # noqa: E402
from edgeseg.zoo.networks.layers import ConvNorm  # noqa: E402
from edgeseg.zoo.rounding import LEVELS, rounded  # noqa: E402

RNG = np.random.default_rng(5)
VIEWS = [RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(4)]


def network() -> nn.Module:
    """A first block as MobileNetV2 has it; the fold of each BatchNorm differs by channel and sign."""
    torch.manual_seed(3)
    layers = nn.Sequential(
        ConvNorm(3, 16, 3, stride=2, activation=nn.ReLU6),
        ConvNorm(16, 16, 3, groups=16, activation=nn.ReLU6),
        ConvNorm(16, 8, activation=None),
    )
    for layer in layers:
        layer.norm.weight.data.uniform_(-2.0, 2.0)
        layer.norm.bias.data.uniform_(0.5, 1.5)
    return layers.eval()


def folded(layer: ConvNorm) -> torch.Tensor:
    fold = layer.norm.weight / (layer.norm.running_var + layer.norm.eps).sqrt()
    return (layer.convolution.weight * fold[:, None, None, None]).detach().flatten(1)


def plainly_rounded(exact: nn.Module) -> nn.Module:
    plain = copy.deepcopy(exact)
    for layer in plain:
        weights = folded(layer)
        step = weights.abs().amax(dim=1, keepdim=True) / LEVELS
        ratio = ((weights / step).round() * step / weights).reshape(layer.convolution.weight.shape)
        layer.convolution.weight.data *= ratio
    return plain


def answers(network: nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([network(torch.from_numpy(to_input(v[None])).permute(0, 3, 1, 2)) for v in VIEWS])


def test_weights_are_whole_steps_of_the_largest() -> None:
    for layer in rounded(network(), VIEWS):
        weights = folded(layer)
        steps = weights / (weights.abs().amax(dim=1, keepdim=True) / LEVELS)
        torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0.0)


def test_answers_stay_closer_than_by_plain_rounding() -> None:
    exact = network()
    wanted = answers(exact)
    plain = (answers(plainly_rounded(exact)) - wanted).square().mean()
    ours = (answers(rounded(exact, VIEWS)) - wanted).square().mean()
    assert ours < 0.5 * plain


def test_the_network_itself_is_left_alone() -> None:
    exact = network()
    before = copy.deepcopy(exact.state_dict())
    rounded(exact, VIEWS)
    for name, value in exact.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0.0, atol=0.0)
