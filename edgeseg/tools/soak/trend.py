"""Trend: fits a line to a series of correlated samples, after its warm-up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Averages over blocks take out what a garbage collector or a reconnect does within seconds.
BLOCKS = 24
# Times in which a process may settle: minutes, as was seen of the daemon's.
SETTLES_S = (100.0, 150.0, 200.0, 300.0, 450.0)
# One standard error of the best fit's own noise, with about 20 points.
_AS_WELL = 0.2
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
        """Whether it differs from a constant series."""
        return self.low > 0.0


def trend(times_s: Sequence[float], values: Sequence[float]) -> Trend:
    """Least squares over block means. times_s: since the process began, for it settles for a while: caches
    and pools fill, ever more slowly. That is fitted beside the slope, as a part that dies away, so that
    neither is taken for the other.

    The interval is widened for the residuals' correlation with their neighbours by counting fewer
    independent points, n (1 - r) / (1 + r) (Santer et al. 2000, J. Geophys. Res. 105, 7337), and reaches
    over all ways of settling that fit about as well. Needs a point for each block at least; raises ValueError
    for fewer.
    """
    if len(times_s) < BLOCKS:
        raise ValueError(f"{len(times_s)} points, need at least {BLOCKS}")
    at_s = np.array([block.mean() for block in np.array_split(np.asarray(times_s, float), BLOCKS)])
    y = np.array([block.mean() for block in np.array_split(np.asarray(values, float), BLOCKS)])
    fits = [_fit(at_s - at_s[0], y, settles_s) for settles_s in SETTLES_S]
    best = min(fits, key=lambda one: one.noise)
    good = [one for one in fits if one.noise <= best.noise * (1 + _AS_WELL)]
    return Trend(best.per_hour, min(one.low for one in good), max(one.high for one in good))


@dataclass(frozen=True, slots=True)
class _Fit:
    """noise: sum of squared residuals."""

    per_hour: float
    low: float
    high: float
    noise: float


def _fit(at_s: npt.NDArray[np.float64], y: npt.NDArray[np.float64], settles_s: float) -> _Fit:
    parts = np.stack([np.ones(BLOCKS), at_s / 3600, np.exp(-at_s / settles_s)], axis=1)
    fitted = np.linalg.lstsq(parts, y, rcond=None)[0]
    slope = float(fitted[1])
    residuals = y - parts @ fitted
    noise = float((residuals**2).sum())
    if noise <= 1e-12:
        return _Fit(slope, slope, slope, 1e-12)
    alike = float((residuals[1:] * residuals[:-1]).sum()) / noise
    alike = min(max(alike, 0.0), 0.9)
    # The fourth is the time in which it settles.
    free = max(BLOCKS * (1 - alike) / (1 + alike) - 4, 2.0)
    error = _t(free) * math.sqrt(noise / free * np.linalg.inv(parts.T @ parts)[1, 1])
    return _Fit(slope, slope - error, slope + error, noise)


def _t(free: float) -> float:
    """97.5 % quantile of Student's t (Abramowitz and Stegun, 26.7.5), good from 3 degrees of freedom on."""
    z = _Z
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / free + second / free**2 + third / free**3
