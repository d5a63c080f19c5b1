"""Scores of the FCN paper (Long et al. 2015, section 5) from one confusion matrix over a whole set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.frames import U8


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """All 0-1. iou has one value per class: nan for a class that is neither true nor predicted anywhere."""

    iou: npt.NDArray[np.float64]
    mean_iou: float
    pixel_accuracy: float
    frequency_weighted_iou: float


class Confusion:
    """Counts pixels: ``counts[truth, predicted]``, int64 (classes, classes). Void truth is left out."""

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((classes, classes), np.int64)

    def add(self, predicted: U8, truth: U8) -> None:
        """Both uint8 of one shape; predicted < classes; truth >= classes is void."""
        classes = len(self.counts)
        valid = truth < classes
        pairs = truth[valid].astype(np.int64) * classes + predicted[valid]
        self.counts += np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)

    def scores(self) -> Scores:
        true = self.counts.sum(axis=1)
        union = true + self.counts.sum(axis=0) - np.diag(self.counts)
        total = max(int(true.sum()), 1)
        iou = np.where(union > 0, np.diag(self.counts) / np.maximum(union, 1), np.nan)
        present = union > 0
        return Scores(
            iou=iou,
            mean_iou=float(iou[present].mean()) if present.any() else 0.0,
            pixel_accuracy=float(np.diag(self.counts).sum() / total),
            frequency_weighted_iou=float((true[present] * iou[present]).sum() / total),
        )
