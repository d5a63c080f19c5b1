"""Pacer: picks the pictures to analyse, those nearest to a regular grid in time."""

from __future__ import annotations

import math

# Half a millisecond forgives the rounding of timestamps (MP4: 1/90000 s, Matroska: 1 ms).
_ROUNDING_S = 5e-4


class Pacer:
    """Picks ``rate_fps`` pictures a second of camera time, the same ones every time.

    The grid begins at the first picture. A picture is taken when the next one, expected one interval
    later, would be no nearer to the grid point. After a gap the grid goes on where it was, and two
    picks are never closer than half a period less half a source interval, so a burst after a stall
    gives one picture.

    passed: points of the grid since the picture taken before, 1 without gaps.
    """

    def __init__(self, rate_fps: float) -> None:
        self.passed = 1
        self._period_s = 1 / rate_fps
        self._due_s: float | None = None
        self._taken_s = 0.0
        self._last_s: float | None = None

    @property
    def rate_fps(self) -> float:
        """Pictures taken a second."""
        return 1 / self._period_s

    def set_rate(self, rate_fps: float) -> None:
        """The new grid begins at the picture taken last."""
        self._period_s = 1 / rate_fps
        if self._due_s is not None:
            self._due_s = self._taken_s + self._period_s

    def is_due(self, time_s: float) -> bool:
        """Return whether to analyse the picture of this camera time; call it once for every picture."""
        interval_s = 0.0 if self._last_s is None else time_s - self._last_s
        self._last_s = time_s
        if self._due_s is None:
            self._due_s = time_s
        if time_s + min(interval_s, self._period_s) / 2 + _ROUNDING_S < self._due_s:
            return False
        self._taken_s = time_s
        # The first grid point that is at least half a period away.
        behind = (time_s - self._due_s) / self._period_s
        self.passed = max(1, math.ceil(behind + 0.5))
        self._due_s += self.passed * self._period_s
        return True
