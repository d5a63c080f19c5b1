"""Batches of crops, drawn ahead by threads. The order and the crops depend on the seed and the step alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from edgeseg.frames import U8
from edgeseg.zoo.augment import Crops
from edgeseg.zoo.data import to_input


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """pictures: float (n, 3, h, w) in [-1, 1]. labels: int64 (n, h, w) with VOID.

    soft: uint8 (n, h/4, w/4, classes + 1), probabilities as bytes and how much they count, or None.
    """

    pictures: torch.Tensor
    labels: torch.Tensor
    soft: torch.Tensor | None = None


class Batches:
    """Draws the batch of any step; a resumed run sees what an uninterrupted one would have seen.

    samples: how many there are. Every epoch is a fresh permutation, and batches run across epochs. shares:
    how often each is drawn instead, as probabilities; there are no epochs then.
    """

    def __init__(
        self,
        crops: Crops,
        samples: int,
        size: int,
        seed: int,
        shares: npt.NDArray[np.float64] | None = None,
    ) -> None:
        self._crops = crops
        self._samples = samples
        self._size = size
        self._seed = seed
        self._shares = shares

    def draw(self, step: int) -> Batch:
        """The batch of one step."""
        random = np.random.default_rng((self._seed, 1, step))
        drawn = [self._crops.draw(sample, random) for sample in self._chosen(step)]
        labels = np.stack([crop.labels for crop in drawn]).astype(np.int64)
        soft = [crop.soft for crop in drawn if crop.soft is not None]
        return Batch(
            as_input([crop.picture for crop in drawn]),
            torch.from_numpy(labels),
            torch.from_numpy(np.stack(soft)) if soft else None,
        )

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
        return as_input([self._crops.draw(int(sample), random).picture for sample in drawn])

    def _chosen(self, step: int) -> list[int]:
        if self._shares is not None:
            random = np.random.default_rng((self._seed, 2, step))
            return [int(sample) for sample in random.choice(self._samples, self._size, p=self._shares)]
        chosen = []
        for position in range(step * self._size, (step + 1) * self._size):
            epoch, place = divmod(position, self._samples)
            order = np.random.default_rng((self._seed, 2, epoch)).permutation(self._samples)
            chosen.append(int(order[place]))
        return chosen


def as_input(pictures: list[U8]) -> torch.Tensor:
    """uint8 (h, w, 3) RGB pictures of one size -> float (n, 3, h, w) in [-1, 1]."""
    return torch.from_numpy(to_input(np.stack(pictures))).permute(0, 3, 1, 2)
