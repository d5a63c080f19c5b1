"""Losses: void counts nowhere, hard mining keeps the hard pixels, Dice rewards overlap."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra zoo)")

from torch.nn import functional  # noqa: E402

from edgeseg.zoo.data import VOID  # noqa: E402
from edgeseg.zoo.losses import (  # noqa: E402
    class_weights,
    distillation,
    hard_cross_entropy,
    imitation,
    soft_dice,
)


def sharp(labels: torch.Tensor, classes: int, lead: float = 30.0) -> torch.Tensor:
    """Logits that say ``labels`` with confidence."""
    return lead * functional.one_hot(labels.clamp(max=classes - 1), classes).permute(0, 3, 1, 2).float()


def test_rare_classes_weigh_more_and_the_mean_is_1() -> None:
    weights = class_weights(np.array([0.9, 0.09, 0.01]), power=1.0)
    assert weights.mean() == pytest.approx(1.0)
    assert weights[0] < weights[1] < weights[2]
    assert weights[2] / weights[0] == pytest.approx(np.log(1.92) / np.log(1.03), rel=1e-5)


def test_without_mining_it_is_plain_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8))
    expected = functional.cross_entropy(logits, labels)
    got = hard_cross_entropy(logits, labels, torch.ones(3), hardest=1.0)
    assert got == pytest.approx(float(expected), rel=1e-5)


def test_mining_keeps_the_hardest_half() -> None:
    logits, labels = torch.zeros(1, 2, 1, 4), torch.zeros(1, 1, 4, dtype=torch.int64)
    logits[0, 0, 0] = torch.tensor([9.0, 8.0, -1.0, -2.0])
    each = functional.cross_entropy(logits, labels, reduction="none").flatten()
    got = hard_cross_entropy(logits, labels, torch.ones(2), hardest=0.5)
    assert got == pytest.approx(float(each[2:].mean()), rel=1e-5)


def test_void_counts_nowhere() -> None:
    torch.manual_seed(1)
    labels = torch.randint(0, 3, (1, 8, 8))
    labels[:, :4] = VOID
    first, second = torch.randn(1, 3, 8, 8), torch.randn(1, 3, 8, 8)
    second[:, :, 4:] = first[:, :, 4:]
    for loss in (
        lambda logits: hard_cross_entropy(logits, labels, torch.ones(3), hardest=0.5),
        lambda logits: soft_dice(logits, labels),
    ):
        assert loss(first) == pytest.approx(float(loss(second)), rel=1e-5)


def test_a_crop_of_nothing_but_void_gives_no_gradient() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    labels = torch.full((1, 4, 4), VOID)
    total = hard_cross_entropy(logits, labels, torch.ones(3), hardest=0.5) + soft_dice(logits, labels)
    total.backward()
    assert float(total.detach()) == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_dice_is_0_for_the_truth_and_1_without_overlap() -> None:
    labels = torch.tensor([[[0, 0], [1, 1]]])
    assert float(soft_dice(sharp(labels, 3), labels)) == pytest.approx(0.0, abs=1e-4)
    assert float(soft_dice(sharp(1 - labels, 3), labels)) == pytest.approx(1.0, abs=1e-4)


def test_distilling_an_equal_student_costs_nothing() -> None:
    logits = torch.randn(1, 3, 4, 4)
    assert float(distillation(logits + 5.0, logits)) == pytest.approx(0.0, abs=1e-5)
    assert float(distillation(-logits, logits)) > 0.1


def test_imitation_forgets_the_loudness_of_a_channel() -> None:
    torch.manual_seed(2)
    quiet = torch.randn(2, 3, 4, 4)
    loud = quiet * torch.tensor([1.0, 10.0, 100.0])[:, None, None] + 7.0
    guess = torch.randn(2, 3, 2, 2)
    assert float(imitation((guess,), (loud,))) == pytest.approx(
        float(imitation((guess,), (quiet,))), rel=1e-3
    )
    variance, mean = torch.var_mean(quiet, dim=(0, 2, 3), keepdim=True, correction=0)
    assert float(imitation(((quiet - mean) / variance.sqrt(),), (loud,))) == pytest.approx(0.0, abs=1e-5)
