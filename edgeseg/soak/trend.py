"""Does it grow? A straight line through a series whose neighbours resemble each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Averages over blocks take out what a garbage collector or a reconnect does within seconds.
BLOCKS = 24
# 97.5 % quantile of the normal distribution.
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Trend:
    """per_hour: the slope; low, high: its 95 % confidence interval."""

    per_hour: float
    low: float
    high: float

    @property
    def grows(self) -> bool:
        """Whether it can be told from a series that stays."""
        return self.low > 0.0


def trend(times_s: Sequence[float], values: Sequence[float]) -> Trend:
    """Least squares over block means; the interval is widened for the residuals' correlation with their
    neighbours by counting fewer independent points, n (1 - r) / (1 + r) (Santer et al. 2000, J. Geophys. Res.
    105, 7337). Needs a point for each block at least; raises ValueError for fewer."""
    if len(times_s) < BLOCKS:
        raise ValueError(f"{len(times_s)} points, need at least {BLOCKS}")
    x = np.array([block.mean() for block in np.array_split(np.asarray(times_s, float), BLOCKS)]) / 3600
    y = np.array([block.mean() for block in np.array_split(np.asarray(values, float), BLOCKS)])
    x = x - x.mean()
    spread = float((x**2).sum())
    slope = float((x * y).sum()) / spread
    residuals = y - y.mean() - slope * x
    noise = float((residuals**2).sum())
    if noise <= 1e-12:
        return Trend(slope, slope, slope)
    alike = float((residuals[1:] * residuals[:-1]).sum()) / noise
    alike = min(max(alike, 0.0), 0.9)
    free = max(BLOCKS * (1 - alike) / (1 + alike) - 2, 2.0)
    error = math.sqrt(noise / free / spread)
    return Trend(slope, slope - _t(free) * error, slope + _t(free) * error)


def _t(free: float) -> float:
    """97.5 % quantile of Student's t (Abramowitz and Stegun, 26.7.5), good from 3 degrees of freedom on."""
    z = _Z
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / free + second / free**2 + third / free**3
