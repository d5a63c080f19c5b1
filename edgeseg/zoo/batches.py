"""Batches of crops, drawn ahead by threads. The order and the crops depend on the seed and the step alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from edgeseg.frames import U8
from edgeseg.zoo.augment import Crops
from edgeseg.zoo.data import to_input


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """pictures: float (n, 3, h, w) in [-1, 1]. labels: int64 (n, h, w) with VOID."""

    pictures: torch.Tensor
    labels: torch.Tensor


class Batches:
    """Draws the batch of any step; a resumed run sees what an uninterrupted one would have seen.

    samples: how many there are. Every epoch is a fresh permutation, and batches run across epochs.
    """

    def __init__(self, crops: Crops, samples: int, size: int, seed: int) -> None:
        self._crops = crops
        self._samples = samples
        self._size = size
        self._seed = seed

    def draw(self, step: int) -> Batch:
        """The batch of one step."""
        random = np.random.default_rng((self._seed, 1, step))
        drawn = [self._crops.draw(sample, random) for sample in self._chosen(step)]
        labels = np.stack([labels for _, labels in drawn]).astype(np.int64)
        return Batch(as_input([picture for picture, _ in drawn]), torch.from_numpy(labels))

    def following(self, step: int, workers: int) -> Generator[Batch, None, None]:
        """The batches from ``step`` on, without end: close it. ``workers`` 0 draws each when asked for."""
        if workers == 0:
            while True:
                yield self.draw(step)
                step += 1
        # Threads and not processes: decoding and warping release the GIL.
        with ThreadPoolExecutor(workers) as pool:
            waiting: deque[Future[Batch]] = deque()
            try:
                while True:
                    while len(waiting) < 2 * workers:
                        waiting.append(pool.submit(self.draw, step))
                        step += 1
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def measured(self, count: int) -> torch.Tensor:
        """``count`` pictures for the statistics of BatchNorm."""
        random = np.random.default_rng((self._seed, 0))
        drawn = random.integers(self._samples, size=count)
        return as_input([self._crops.draw(int(sample), random)[0] for sample in drawn])

    def _chosen(self, step: int) -> list[int]:
        chosen = []
        for position in range(step * self._size, (step + 1) * self._size):
            epoch, place = divmod(position, self._samples)
            order = np.random.default_rng((self._seed, 2, epoch)).permutation(self._samples)
            chosen.append(int(order[place]))
        return chosen


def as_input(pictures: list[U8]) -> torch.Tensor:
    """uint8 (h, w, 3) RGB pictures of one size -> float (n, 3, h, w) in [-1, 1]."""
    return torch.from_numpy(to_input(np.stack(pictures))).permute(0, 3, 1, 2)
