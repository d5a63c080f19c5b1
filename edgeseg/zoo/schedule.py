"""How long training lasts and how fast each part of the network learns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from edgeseg.zoo.recipe import Optimizer


@dataclass(frozen=True, slots=True)
class Budget:
    """When training ends: after the recipe's steps, or after ``minutes`` of training if given.

    The learning rate decays towards this end. A budget in minutes makes the best of a known time on an
    unknown or shared machine, at the price of a schedule that differs from run to run.
    """

    steps: int
    minutes: float | None = None

    def progress(self, step: int, trained_s: float) -> float:
        """0-1; 1 ends the training."""
        if self.minutes is not None:
            return min(trained_s / (self.minutes * 60.0), 1.0)
        return min(step / self.steps, 1.0)


def adamw(network: nn.Module, wanted: Optimizer) -> torch.optim.Optimizer:
    """Trunk, head and classifiers, each with and without decay (none on BatchNorm and biases)."""
    rates = {
        "trunk": wanted.trunk_rate,
        "head": wanted.head_rate,
        "classify": wanted.classifier_rate or wanted.head_rate,
    }
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            part = (
                "trunk"
                if name.startswith("trunk.")
                else "classify"
                if name.startswith("classify")
                else "head"
            )
            part = part if wanted.classifier_rate or part != "classify" else "head"
            groups.setdefault((part, parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "rate": rates[part],
                "weight_decay": wanted.weight_decay if decays else 0.0,
            }
            for (part, decays), parameters in groups.items()
        ],
        fused=True,
    )


def set_rates(optimizer: torch.optim.Optimizer, wanted: Optimizer, step: int, progress: float) -> None:
    """Linear warm-up, then poly decay: (1 - progress) ** power (Chen et al. 2017)."""
    factor = min((step + 1) / wanted.warmup_steps, 1.0) * (1.0 - progress) ** wanted.power
    for group in optimizer.param_groups:
        group["lr"] = group["rate"] * factor
