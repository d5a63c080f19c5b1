"""Scoring: flaps, delay, missed and extra alerts of a setting. Definitions: the package's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeseg.tools.tuning.rule_run import AlertSpan


@dataclass(frozen=True, slots=True)
class FlapLimits:
    """The limits of a flap; see the package."""

    gap_s: float = 10.0
    short_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Occasion:
    """An event that should raise an alert, in seconds UTC."""

    began_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class RuleScore:
    """The result of one setting on all clips.

    delays_s: of the detected events. lingers_s: by how much the last alert of each event outlasted it, where
    it ended.
    """

    alerts: int
    flaps: int
    events: int
    missed: int
    extra: int
    delays_s: tuple[float, ...]
    lingers_s: tuple[float, ...]

    @property
    def delay_s(self) -> float:
        """The mean; 0 where no event was detected."""
        return sum(self.delays_s) / len(self.delays_s) if self.delays_s else 0.0

    @property
    def linger_s(self) -> float:
        """The mean; 0 where nothing ended."""
        return sum(self.lingers_s) / len(self.lingers_s) if self.lingers_s else 0.0

    @property
    def recall(self) -> float:
        return 1.0 if not self.events else 1 - self.missed / self.events

    @property
    def precision(self) -> float:
        return 1.0 if not self.alerts else 1 - self.extra / self.alerts

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall (van Rijsbergen's F at beta 1)."""
        both = self.precision + self.recall
        return 0.0 if both == 0 else 2 * self.precision * self.recall / both

    def __add__(self, other: RuleScore) -> RuleScore:
        return RuleScore(
            self.alerts + other.alerts,
            self.flaps + other.flaps,
            self.events + other.events,
            self.missed + other.missed,
            self.extra + other.extra,
            self.delays_s + other.delays_s,
            self.lingers_s + other.lingers_s,
        )


NOTHING = RuleScore(0, 0, 0, 0, 0, (), ())


def flaps(spans: Sequence[AlertSpan], limits: FlapLimits) -> int:
    """Count the alerts of one clip that were over too soon or came again too soon."""
    count, over_s = 0, None
    for span in spans:
        again = over_s is not None and span.raised_s - over_s < limits.gap_s
        short = span.over_s is not None and span.over_s - span.raised_s < limits.short_s
        count += again or short
        over_s = span.over_s
    return count


def occasions(spans: Sequence[AlertSpan], limits: FlapLimits, ends_at_s: float) -> list[Occasion]:
    """Return the events behind one clip's alerts: those that came again too soon are one event.

    Events that were over too soon even so are left out. ends_at_s: of the clip.
    """
    found: list[Occasion] = []
    over_s: float | None = None
    raised_s = 0.0
    lasted_s: list[float] = []
    for span in spans:
        ended_s = ends_at_s if span.ended_s is None else span.ended_s
        if over_s is not None and span.raised_s - over_s < limits.gap_s:
            found[-1] = Occasion(found[-1].began_s, ended_s)
        else:
            found.append(Occasion(span.began_s, ended_s))
            raised_s = span.raised_s
            lasted_s.append(0.0)
        over_s = span.over_s
        lasted_s[-1] = float("inf") if over_s is None else over_s - raised_s
    return [one for one, lasted in zip(found, lasted_s, strict=True) if lasted >= limits.short_s]


def score(
    spans: Sequence[AlertSpan], events: Sequence[Occasion], limits: FlapLimits, early_s: float
) -> RuleScore:
    """Score one clip's alerts against its events.

    early_s: how long before an event its alert may begin.
    """
    delays_s, lingers_s, right = [], [], 0
    for event in events:
        of_it = [span for span in spans if event.began_s - early_s <= span.began_s <= event.ended_s]
        right += len(of_it)
        if of_it:
            delays_s.append(max(0.0, of_it[0].raised_s - event.began_s))
            over_s = of_it[-1].over_s
            lingers_s += [] if over_s is None else [max(0.0, over_s - event.ended_s)]
    return RuleScore(
        alerts=len(spans),
        flaps=flaps(spans, limits),
        events=len(events),
        missed=len(events) - len(delays_s),
        extra=max(0, len(spans) - right),
        delays_s=tuple(delays_s),
        lingers_s=tuple(lingers_s),
    )
