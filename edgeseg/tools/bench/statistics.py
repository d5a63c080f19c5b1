"""Statistics: figures with their spread, and their limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

# Between the last two doublings caches fill up and allocators change their ways; 15 % is no algorithm.
MOST_EXPONENT = 1.15


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and quartiles of ``count`` samples. One sample has no spread: all three are it."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """Raises ValueError without samples."""
        if not samples:
            raise ValueError("no samples")
        low, median, high = np.percentile(samples, [25, 50, 75]).tolist()
        return cls(median, low, high, len(samples))


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure has to reach: ``at least`` or ``at most`` the limit."""

    kind: Literal["at least", "at most"]
    limit: float

    def cleared(self, value: float) -> bool:
        return value >= self.limit if self.kind == "at least" else value <= self.limit


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report. section: of the report. what: in words, with the model where one is meant."""

    section: str
    what: str
    unit: str
    spread: Spread
    bar: Bar | None = None

    @property
    def verdict(self) -> Literal["pass", "short"] | None:
        """None where there is no bar."""
        if self.bar is None:
            return None
        return "pass" if self.bar.cleared(self.spread.median) else "short"

    def as_json(self) -> dict[str, Any]:
        spread = self.spread
        return {
            "section": self.section,
            "what": self.what,
            "unit": self.unit,
            "median": _short(spread.median),
            "quartiles": [_short(spread.low), _short(spread.high)],
            "samples": spread.count,
            "bar": None if self.bar is None else {"kind": self.bar.kind, "limit": self.bar.limit},
            "verdict": self.verdict,
        }


def ratios(dear: Sequence[float], cheap: Sequence[float]) -> Spread:
    """How many times dearer the one is, round by round: what slows a whole round cancels out.

    Raises ValueError where the rounds differ in number.
    """
    return Spread.of([above / below for above, below in zip(dear, cheap, strict=True)])


def growth_exponent(costs: Mapping[int, float]) -> float:
    """p of cost ~ n^p over the upper half of the sizes, by least squares on logarithms.

    1 is linear; what is fixed pulls it below 1, never above. Raises ValueError for fewer than 4 sizes.
    """
    if len(costs) < 4:
        raise ValueError(f"{len(costs)} sizes, need at least 4")
    upper = sorted(costs.items())[len(costs) // 2 - 1 :]
    x = [math.log(size) for size, _ in upper]
    y = [math.log(cost) for _, cost in upper]
    return float(np.polyfit(x, y, 1)[0])


def _short(value: float) -> float:
    """Four significant digits: more is noise."""
    return float(f"{value:.4g}")
