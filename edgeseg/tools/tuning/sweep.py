"""Sweep: runs every setting of a grid on every clip, and suggests one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgeseg.settings import RuleSettings
from edgeseg.tools.tuning.grid import Grid, Place, changed_keys, grid
from edgeseg.tools.tuning.rule_run import Track
from edgeseg.tools.tuning.scoring import NOTHING, Occasion, Patience, RuleScore, occasions, score

# How far a label may lie behind what the rule sees: people's reaction time, and then some.
_EARLY_LABELS_S = 2.0
# How much later than today's an alert of a suggested setting may come where nobody says otherwise.
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
        """The best setting, today's where none is better. In this order: what it tells (with labels F1, else
        nothing missed and nothing extra), within the most delay; few flaps; few changed keys; neighbours in
        the grid that are no worse, so that the next day's clip finds it on firm ground; little delay; near to
        today's."""
        return min(self.scores, key=self._badness)

    def per_hour(self, flaps: int) -> float:
        return flaps * 3600 / self.watched_s if self.watched_s else 0.0

    def curve(self) -> list[Place]:
        """Settings that no other one beats in both delay and flaps, from the quickest: of those that tell as
        much as today's."""
        enough = [place for place, one in self.scores.items() if self._tells(one) <= self._tells(self.today)]
        best: list[Place] = []
        for place in sorted(enough, key=lambda at: (self.scores[at].delay_s, *self._badness(at))):
            if not best or self.scores[place].flaps < self.scores[best[-1]].flaps:
                best.append(place)
        return best

    def _tells(self, one: RuleScore) -> float:
        """Less is better."""
        return round(1 - one.f1, 9) if self.labelled else one.missed + one.extra

    def _badness(self, place: Place) -> tuple[float, ...]:
        one = self.scores[place]
        around = [self.scores[near] for near in self.grid.neighbours(place)]
        return (
            self._tells(one),
            float(one.delay_s > self.most_delay_s),
            one.flaps,
            len(changed_keys(self.rule, self.grid.rules[place])),
            max((near.flaps + 10 * self._tells(near) for near in around), default=0.0),
            round(one.delay_s, 3),
            _distance(self.grid.today, place),
        )


def sweep(
    zone: str,
    rule: RuleSettings,
    tracks: Sequence[Track],
    events: Sequence[Sequence[Occasion]] | None,
    patience: Patience,
    most_delay_s: float | None,
    advance: Callable[[float], None],
) -> SweepResult:
    """events: what should be told, for each track; None takes the occasions of the rule as it is.
    advance: is called with the share that is done, 0-1."""
    labelled = events is not None
    if events is None:
        events = [occasions(track.play(rule), patience, track.ends_at_s) for track in tracks]
    early_s = _EARLY_LABELS_S if labelled else patience.gap_s
    values = sorted({value for track in tracks for value in track.values(rule)})
    tried = grid(rule, values, max(track.watched_s for track in tracks))
    scores = {}
    # Settings of equal thresholds one after the other: a track remembers where its readings change.
    order = sorted(tried.rules, key=lambda place: place[2:])
    for done, place in enumerate(order):
        total = NOTHING
        for track, of_track in zip(tracks, events, strict=True):
            total += score(track.skim(tried.rules[place]), of_track, patience, early_s)
        scores[place] = total
        advance(done / len(order))
    now_s = scores[tried.today].delay_s
    if most_delay_s is None:
        most_delay_s = max(_MORE_DELAY_TIMES * now_s, now_s + _MORE_DELAY_S)
    watched_s = math.fsum(track.watched_s for track in tracks)
    return SweepResult(zone, rule, tried, scores, watched_s, labelled, most_delay_s)


def _distance(one: Place, other: Place) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))
