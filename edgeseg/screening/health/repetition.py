"""Repetition detector: finds pictures that repeat. A live scene never does, since sensors are noisy.

A camera whose sensor or pipeline hangs goes on encoding one picture, and no two decoded ones need be equal:
rate control changes the quantiser, and keyframes undo what the pictures between refined. But the same states
come back. So a picture is compared with many from 5 to 30 s before: of the pixels of a real scene, coded
however badly, half or more differ from every earlier picture. A third of those since it began must be
like it, for a clip that is played in a loop comes back, too, but once in a period; and while anything moves,
nothing is frozen.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from edgeseg.frames import U8

# Pictures of one group of pictures build on each other; those of another are coded anew.
APART_S = 5.0
_REMEMBERED_S = 30.0
_EVERY_S = 1.0
# Real clips, coded well or badly: 52 to 84 %; a picture that is coded again and again: 0 to 29 % once rate
# control has settled, more only where a rich scene is coded badly.
_SAME = 0.30
_OFTEN = 1 / 3
# By so many levels no quantiser moves more than a pixel or two of a picture that stands still.
_MOVES_LEVELS = 25
_MOVES_SHARE = 0.001
# Every second pixel of every second row will do.
_STEP = 2


class RepetitionDetector:
    """Remembers the last half minute. Single-threaded.

    since_s: from when on every picture was one that had been there before; None while they are new.
    """

    def __init__(self) -> None:
        self.since_s: float | None = None
        self._seen: deque[tuple[float, U8]] = deque()

    def add(self, luma: U8, time_s: float) -> None:
        """Add a picture. luma: uint8 (h, w), small and not smoothed."""
        if self._seen and time_s - self._seen[-1][0] < _EVERY_S - 1e-3:
            return
        few = np.ascontiguousarray(luma[::_STEP, ::_STEP])
        if self._seen and (self._seen[-1][1].shape != few.shape or time_s < self._seen[-1][0]):
            self.reset()
        while self._seen and time_s - self._seen[0][0] > _REMEMBERED_S:
            self._seen.popleft()
        from_s = self._seen[0][0] if self._seen and self.since_s is None else self.since_s
        older = [
            old
            for then_s, old in self._seen
            if from_s is not None and from_s <= then_s <= time_s - APART_S + 1e-3
        ]
        like_it = sum(cv2.countNonZero(cv2.absdiff(few, old)) <= _SAME * few.size for old in older)
        often = 1 if self.since_s is None else _OFTEN * len(older)
        again = like_it > 0 and like_it >= often and not self._moves(few)
        if not again:
            self.since_s = None
        elif self.since_s is None:
            self.since_s = time_s - APART_S
        self._seen.append((time_s, few))

    def _moves(self, few: U8) -> bool:
        """Since the picture before."""
        apart = cv2.absdiff(few, self._seen[-1][1])
        return bool(np.count_nonzero(apart > _MOVES_LEVELS) > _MOVES_SHARE * few.size)

    def reset(self) -> None:
        """Begin anew: what comes is another picture's size, or another clip."""
        self._seen.clear()
        self.since_s = None
