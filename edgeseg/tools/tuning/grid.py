"""Setting grid: all combinations of some values of each key, the present ones among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from edgeseg.settings import RuleSettings

_DURATIONS_S = (0.0, 0.4, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0)
_SHARES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# Of enter where the rule rises, of the way from enter to all of the zone where it falls.
_LEAVES_RISING = (0.25, 0.5, 0.75)
_LEAVES_FALLING = (0.1, 0.25, 0.5)
_MOST_ENTERS = 9
# A duration of which a clip holds fewer than this many cannot be judged by it.
_FIT_INTO_CLIP = 4

Place = tuple[int, int, int, int]
"""Which step of for, clear, enter and leave a setting is at: its neighbours differ by one."""


@dataclass(frozen=True, slots=True)
class Grid:
    """place -> the rule as it would be. today: the place of the rule as it is."""

    rules: dict[Place, RuleSettings]
    today: Place

    def neighbours(self, place: Place) -> list[Place]:
        """One step away in one key."""
        found = []
        for axis in range(len(place)):
            for by in (-1, 1):
                near = list(place)
                near[axis] += by
                found.append((near[0], near[1], near[2], near[3]))
        return [near for near in found if near in self.rules]


def grid(rule: RuleSettings, values: Sequence[float], longest_clip_s: float) -> Grid:
    """values: the shares that occurred, since thresholds between two of them act alike."""
    longest_s = longest_clip_s / _FIT_INTO_CLIP
    fors = _with(rule.for_s, [step for step in _DURATIONS_S if step <= longest_s])
    clears = _with(rule.clear_s, [step for step in _DURATIONS_S if step <= longest_s])
    enters = _enters(rule, values)
    rules: dict[Place, RuleSettings] = {}
    today: Place = (0, 0, 0, 0)
    for (i, for_s), (j, clear_s), (k, enter) in product(
        enumerate(fors), enumerate(clears), enumerate(enters)
    ):
        for m, leave in enumerate(_leaves(rule, enter)):
            tried = replace(rule, for_s=for_s, clear_s=clear_s, enter=enter, leave=leave)
            rules[i, j, k, m] = tried
            if tried == rule:
                today = (i, j, k, m)
    return Grid(rules, today)


def changed_keys(rule: RuleSettings, other: RuleSettings) -> tuple[str, ...]:
    """Keys of the pipeline file in which the two differ."""
    pairs = {
        "enter": (rule.enter, other.enter),
        "leave": (rule.leave, other.leave),
        "for": (rule.for_s, other.for_s),
        "clear": (rule.clear_s, other.clear_s),
    }
    return tuple(key for key, (one, two) in pairs.items() if one != two)


def _enters(rule: RuleSettings, values: Sequence[float]) -> list[float | None]:
    if rule.enter is None:
        return [None]
    within = [step for step in _SHARES if values and values[0] < step <= values[-1]]
    # Those nearest to today's by ratio: far ones are another question.
    within.sort(key=lambda step: max(step / rule.enter, rule.enter / step) if rule.enter else step)
    return list(_with(rule.enter, within[: _MOST_ENTERS - 1]))


def _leaves(rule: RuleSettings, enter: float | None) -> list[float | None]:
    if enter is None or rule.enter is None or rule.leave is None:
        return [None]
    if rule.kind == "occupied":
        leaves = [round(enter * ratio, 4) for ratio in _LEAVES_RISING]
        kept = round(rule.leave * enter / rule.enter, 4)
    else:
        leaves = [round(enter + (1 - enter) * ratio, 4) for ratio in _LEAVES_FALLING]
        kept = round(min(rule.leave * enter / rule.enter, (1 + enter) / 2), 4)
    if enter == rule.enter:
        kept = rule.leave
    return list(_with(kept, leaves))


def _with(today: float, steps: Sequence[float]) -> list[float]:
    return sorted({today, *steps})
