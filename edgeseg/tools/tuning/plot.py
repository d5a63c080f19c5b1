"""Tuning plot: draws the results of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeseg.tools import plotting
from edgeseg.tools.tuning.scoring import RuleScore
from edgeseg.tools.tuning.sweep import SweepResult

_MUTED = "0.8"
_TODAY, _SUGGESTED, _CURVE = "tab:red", "tab:green", "tab:blue"


def draw(results: Sequence[SweepResult], path: Path) -> None:
    """Draw flaps an hour against delay for each rule, and recall against precision where events are labelled.

    results: at least one. Raises EdgesegError without matplotlib.
    """
    labelled = results[0].labelled
    columns = 2 if labelled else 1
    figure = plotting.figure(5.5 * columns, 3.6 * len(results))
    rows = figure.subplots(len(results), columns, squeeze=False)
    for row, swept in zip(rows, results, strict=True):
        _trade_off(row[0], swept)
        if labelled:
            _rightness(row[1], swept)
    plotting.save(figure, path)


def _trade_off(axis: Any, swept: SweepResult) -> None:
    def point(score: RuleScore) -> tuple[float, float]:
        return score.delay_s, swept.per_hour(score.flaps)

    enough = [score for score in swept.scores.values() if score.missed <= swept.today.missed]
    axis.plot(*zip(*map(point, enough), strict=True), ".", color=_MUTED, ms=4, label="settings tried")
    curve = [point(swept.scores[place]) for place in swept.curve()]
    axis.plot(*zip(*curve, strict=True), "-o", color=_CURVE, ms=3, lw=1, label="no other is better in both")
    _mark(axis, swept, point)
    axis.set(xlabel="mean delay, s", ylabel="flaps an hour", xlim=(0, 2 * swept.most_delay_s))
    axis.set_title(f"{swept.zone}: {swept.rule.name}", fontsize=10)
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=8)


def _rightness(axis: Any, swept: SweepResult) -> None:
    def point(score: RuleScore) -> tuple[float, float]:
        return score.recall, score.precision

    axis.plot(*zip(*map(point, swept.scores.values()), strict=True), ".", color=_MUTED, ms=4)
    _mark(axis, swept, point)
    axis.set(xlabel="recall", ylabel="precision", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    axis.set_title(f"of {swept.today.events} labelled events", fontsize=10)


def _mark(axis: Any, swept: SweepResult, point: Any) -> None:
    suggested = swept.scores[swept.suggested]
    axis.plot(*point(swept.today), "X", color=_TODAY, ms=9, label="as it is")
    if swept.suggested != swept.grid.today:
        axis.plot(*point(suggested), "o", mfc="none", mew=2, color=_SUGGESTED, ms=11, label="suggested")
