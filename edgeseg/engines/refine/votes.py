"""Voting: merges several label maps of a picture; each cell's classes collect confidence.

The networks say which class won and how sure they were, not what the others had. So the average of scores
that the literature takes (Chen et al. 2018, "DeepLabv3+", multi-scale inference with flips) becomes a vote,
each weighted by its confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.frames import U8

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Ballot:
    """One answer. labels: uint8 (h, w). confidence: uint8 of that shape; None counts as certain."""

    labels: U8
    confidence: U8 | None


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """The votes for each class that any label map has. classes: their indices, ascending. support: float32
    (len(classes), h, w), 0-255: the votes of a class, divided by how many voted."""

    classes: tuple[int, ...]
    support: F32

    def winners(self) -> Ballot:
        """The class of most support, of equals the first; its support is the confidence."""
        if len(self.classes) == 1:
            best, index = self.support[0], np.zeros(self.support.shape[1:], np.intp)
        else:
            index = self.support.argmax(axis=0)
            best = self.support.max(axis=0)
        labels: U8 = np.array(self.classes, np.uint8)[index]
        return Ballot(labels, np.clip(best + 0.5, 0, 255).astype(np.uint8))


def count(ballots: Sequence[Ballot], grid: tuple[int, int]) -> Planes:
    """Bring the ballots to one grid (h, w), bilinearly, and add them up. At least one."""
    classes = sorted({int(index) for ballot in ballots for index in np.flatnonzero(_seen(ballot.labels))})
    support = np.zeros((len(classes), *grid), np.float32)
    for ballot in ballots:
        seen = _seen(ballot.labels)
        for plane, index in zip(support, classes, strict=True):
            if seen[index]:
                plane += _on(_votes(ballot, index), grid)
    support /= len(ballots)
    return Planes(tuple(classes), support)


def _seen(labels: U8) -> npt.NDArray[np.intp]:
    return np.bincount(labels.ravel(), minlength=256)


def _votes(ballot: Ballot, index: int) -> U8:
    won = ballot.labels == index
    votes: U8 = won * (np.uint8(255) if ballot.confidence is None else ballot.confidence)
    return votes


def _on(votes: U8, grid: tuple[int, int]) -> F32 | U8:
    if votes.shape == grid:
        return votes
    larger = votes.shape[0] > grid[0]
    size_px, how = (grid[1], grid[0]), cv2.INTER_AREA if larger else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(votes.astype(np.float32), size_px, interpolation=how))
