"""Exponential moving average of a network's weights: what is validated and shipped."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """Follows ``network``. BatchNorm statistics are averaged too: they belong to the averaged weights."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval()
        self._decay = decay
        for parameter in self.network.parameters():
            parameter.requires_grad_(False)

    @torch.no_grad()
    def follow(self, network: nn.Module, step: int) -> None:
        """One step; early ones forget faster, so that the start does not linger (as in Adam's bias)."""
        keep = min(self._decay, (1 + step) / (10 + step))
        followed = network.state_dict()
        for name, mine in self.network.state_dict().items():
            theirs = followed[name]
            if mine.is_floating_point():
                mine.lerp_(theirs, 1.0 - keep)
            else:
                mine.copy_(theirs)
