"""Losses for few classes of very unequal size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from edgeseg.zoo.data import VOID
from edgeseg.zoo.networks.output import Logits
from edgeseg.zoo.recipe import Loss

ENET_CONSTANT = 1.02
"""Paszke et al. 2016, section 5.2: weights stay between 1 and 50."""


def class_weights(frequencies: npt.NDArray[np.float64], power: float) -> torch.Tensor:
    """ENet's 1 / ln(1.02 + frequency), softened by ``power`` and scaled to mean 1: float (classes)."""
    weights = (1.0 / np.log(ENET_CONSTANT + frequencies)) ** power
    return torch.from_numpy((weights / weights.mean()).astype(np.float32))


def hard_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, *, hardest: float
) -> torch.Tensor:
    """Weighted cross-entropy over the hardest share of the labelled pixels (OHEM).

    logits (n, classes, h, w), labels int64 (n, h, w) with VOID. The threshold is taken from every
    seventh pixel: a full selection costs more than the loss itself, and 7 divides no common width.
    """
    loss = functional.cross_entropy(logits, labels, weights, ignore_index=VOID, reduction="none")
    loss = loss[labels != VOID]
    if loss.numel() == 0:
        return logits.sum() * 0.0
    if hardest < 1.0:
        some = loss.detach()[::7] if loss.numel() > 4096 else loss.detach()
        threshold = torch.quantile(some[: 1 << 24], 1.0 - hardest)
        loss = loss[loss >= threshold]
    return loss.mean()


def soft_dice(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """1 - mean Dice over the classes present in the batch (Milletari et al. 2016, with squares left out)."""
    classes = logits.shape[1]
    valid = (labels != VOID).unsqueeze(1)
    probability = logits.softmax(dim=1) * valid
    flat = labels.clamp(max=classes)
    truth = functional.one_hot(flat, classes + 1)[..., :classes].permute(0, 3, 1, 2).to(logits.dtype)
    overlap = (probability * truth).sum(dim=(0, 2, 3))
    total = probability.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3))
    present = truth.sum(dim=(0, 2, 3)) > 0
    if not bool(present.any()):
        return logits.sum() * 0.0
    return 1.0 - (2.0 * overlap[present] / total[present]).mean()


def total_loss(output: Logits, labels: torch.Tensor, weights: torch.Tensor, wanted: Loss) -> torch.Tensor:
    """Hard cross-entropy and Dice at full size, plus cross-entropy of each auxiliary head on its own grid."""
    size = labels.shape[-2:]
    main = functional.interpolate(output.main.float(), size, mode="bilinear", align_corners=False)
    loss = hard_cross_entropy(main, labels, weights, hardest=wanted.hardest)
    if wanted.dice:
        loss = loss + wanted.dice * soft_dice(main, labels)
    for logits in output.auxiliary:
        stride = labels.shape[-1] // logits.shape[-1]
        coarse = labels[:, stride // 2 :: stride, stride // 2 :: stride]
        loss = loss + wanted.auxiliary * hard_cross_entropy(logits.float(), coarse, weights, hardest=1.0)
    return loss


def distillation(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence from the teacher's distribution, a mean over pixels, void ones too.

    Both are logits (n, classes, h, w) on one grid (Hinton et al. 2015, temperature 1: there is no class
    hierarchy to soften in a dozen classes).
    """
    learned = functional.log_softmax(student.float(), dim=1)
    taught = functional.log_softmax(teacher.float(), dim=1)
    divergence = functional.kl_div(learned, taught, reduction="none", log_target=True)
    return divergence.sum(dim=1).mean()


def on_grid(
    output: Logits, labels: torch.Tensor, soft: torch.Tensor, weights: torch.Tensor, wanted: Loss
) -> torch.Tensor:
    """Cross-entropy with labels and divergence from soft targets, both on the network's own grid.

    output.main (n, classes, h, w); labels int64 (n, 4 h, 4 w) with VOID; soft uint8 (n, h, w, classes + 1).
    Soft targets count ``wanted.soft`` times where there is no label, ``wanted.soft_labelled`` times where
    there is. Each auxiliary head learns the labels alone.
    """
    likely = functional.log_softmax(output.main.float(), dim=1)
    coarse = _coarse(labels, output.main)
    loss = _mean_by_weight(likely, coarse, weights)
    for logits in output.auxiliary:
        other = functional.log_softmax(logits.float(), dim=1)
        loss = loss + wanted.auxiliary * _mean_by_weight(other, _coarse(labels, logits), weights)
    if not (wanted.soft or wanted.soft_labelled):
        return loss
    levels = soft.permute(0, 3, 1, 2).float()
    taught = levels[:, :-1]
    taught = taught / taught.sum(dim=1, keepdim=True).clamp(min=1.0)
    counts = levels[:, -1] / 255.0 * torch.where(coarse != VOID, wanted.soft_labelled, wanted.soft)
    divergence = (torch.xlogy(taught, taught) - taught * likely).sum(dim=1)
    return loss + (divergence * counts).sum() / counts.numel()


def _coarse(labels: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    stride = labels.shape[-1] // logits.shape[-1]
    return labels[:, stride // 2 :: stride, stride // 2 :: stride]


def _mean_by_weight(likely: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    weight = weights[labels.clamp(max=len(weights) - 1)] * (labels != VOID)
    chosen = functional.nll_loss(likely, labels, ignore_index=VOID, reduction="none")
    return (chosen * weight).sum() / weight.sum().clamp(min=1.0)


def imitation(guessed: tuple[torch.Tensor, ...], hints: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Mean squared error against a teacher's features, each channel brought to mean 0 and variance 1.

    Without that the few loud channels of a ReLU6 network would be all that is learned. Guesses on a
    coarser grid are enlarged.
    """
    parts = []
    for guess, hint in zip(guessed, hints, strict=True):
        variance, mean = torch.var_mean(hint.float(), dim=(0, 2, 3), keepdim=True, correction=0)
        wanted = (hint.float() - mean) / (variance + 1e-5).sqrt()
        size = wanted.shape[-2:]
        enlarged = functional.interpolate(guess.float(), size, mode="bilinear", align_corners=False)
        parts.append(functional.mse_loss(enlarged, wanted))
    return torch.stack(parts).mean()
