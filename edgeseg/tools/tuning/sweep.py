"""Sweep: runs every setting of a grid on every clip, and suggests one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgeseg.settings import RuleSettings
from edgeseg.tools.tuning.grid import Grid, Place, changed_keys, grid
from edgeseg.tools.tuning.rule_run import Track
from edgeseg.tools.tuning.scoring import NOTHING, FlapLimits, Occasion, RuleScore, occasions, score

# How far a label may lie behind what the rule sees: people's reaction time, and then some.
_EARLY_LABELS_S = 2.0
# By default, how much later than now an alert of a suggested setting may come.
_MORE_DELAY_S = 5.0
_MORE_DELAY_TIMES = 2.0
_SAME_F1 = 1e-9


@dataclass(frozen=True, slots=True)
class SweepResult:
    """One rule's result. scores: of every setting tried. watched_s: of all clips. labelled: whether events
    were given; else they are the occasions of the rule as it is."""

    zone: str
    rule: RuleSettings
    grid: Grid
    scores: Mapping[Place, RuleScore]
    watched_s: float
    labelled: bool
    most_delay_s: float

    @property
    def today(self) -> RuleScore:
        return self.scores[self.grid.today]

    @property
    def suggested(self) -> Place:
        """Return the best setting, today's where none is better.

        In this order: what it detects (with labels F1, else nothing missed and nothing extra), within the
        most delay; few flaps; few changed keys; neighbours in the grid that are no worse, so that it fits the
        next day's clip; little delay; near to today's.
        """
        return min(self.scores, key=self._badness)

    def per_hour(self, flaps: int) -> float:
        return flaps * 3600 / self.watched_s if self.watched_s else 0.0

    def curve(self) -> list[Place]:
        """Return the settings that no other one beats in both delay and flaps, from the quickest.

        Only settings that detect as much as today's.
        """
        enough = [place for place, one in self.scores.items() if self._error(one) <= self._error(self.today)]
        best: list[Place] = []
        for place in sorted(enough, key=lambda at: (self.scores[at].delay_s, *self._badness(at))):
            if not best or self.scores[place].flaps < self.scores[best[-1]].flaps:
                best.append(place)
        return best

    def _error(self, one: RuleScore) -> float:
        """Less is better."""
        return round(1 - one.f1, 9) if self.labelled else one.missed + one.extra

    def _badness(self, place: Place) -> tuple[float, ...]:
        one = self.scores[place]
        around = [self.scores[near] for near in self.grid.neighbours(place)]
        return (
            self._error(one),
            float(one.delay_s > self.most_delay_s),
            one.flaps,
            len(changed_keys(self.rule, self.grid.rules[place])),
            max((near.flaps + 10 * self._error(near) for near in around), default=0.0),
            round(one.delay_s, 3),
            _distance(self.grid.today, place),
        )


def sweep(
    zone: str,
    rule: RuleSettings,
    tracks: Sequence[Track],
    events: Sequence[Sequence[Occasion]] | None,
    limits: FlapLimits,
    most_delay_s: float | None,
    advance: Callable[[float], None],
) -> SweepResult:
    """Score every setting of a grid around ``rule``.

    Args:
        zone: the zone's name.
        rule: as it is set now.
        tracks: the rule's zone in each clip.
        events: what should be detected, for each track; None takes the occasions of the rule as it is.
        limits: of a flap.
        most_delay_s: the longest mean delay to accept; None for twice the present one, or 5 s more.
        advance: called with the share that is done, 0-1.
    """
    labelled = events is not None
    if events is None:
        events = [occasions(track.play(rule), limits, track.ends_at_s) for track in tracks]
    early_s = _EARLY_LABELS_S if labelled else limits.gap_s
    values = sorted({value for track in tracks for value in track.values(rule)})
    tried = grid(rule, values, max(track.watched_s for track in tracks))
    scores = {}
    # Settings of equal thresholds one after the other: a track remembers where its readings change.
    order = sorted(tried.rules, key=lambda place: place[2:])
    for done, place in enumerate(order):
        total = NOTHING
        for track, of_track in zip(tracks, events, strict=True):
            total += score(track.skim(tried.rules[place]), of_track, limits, early_s)
        scores[place] = total
        advance(done / len(order))
    now_s = scores[tried.today].delay_s
    if most_delay_s is None:
        most_delay_s = max(_MORE_DELAY_TIMES * now_s, now_s + _MORE_DELAY_S)
    watched_s = math.fsum(track.watched_s for track in tracks)
    return SweepResult(zone, rule, tried, scores, watched_s, labelled, most_delay_s)


def _distance(one: Place, other: Place) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))
