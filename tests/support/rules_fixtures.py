"""A zone that is played observation by observation, for the tests of the rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from edgeseg.events import Alert, RuleState, ZoneOccupancy
from edgeseg.frames import FrameTime
from edgeseg.rules import ZoneRules
from edgeseg.settings import RuleSettings, ZoneSettings

# 2027-01-15 08:00:00 UTC
EPOCH = 1_800_000_000.0

OCCUPIED = RuleSettings(
    name="blocked",
    kind="occupied",
    terms=("vehicle",),
    classes=("car", "bus"),
    enter=0.5,
    leave=0.25,
    reference=None,
    reference_classes=(),
    for_s=2.0,
    clear_s=3.0,
    cooldown_s=0.0,
    hours=None,
    on_unknown="hold",
)
ABSENT = replace(OCCUPIED, name="unguarded", kind="absent", classes=("car",), enter=0.25, leave=0.5)
CHANGED = replace(ABSENT, name="flooded", kind="changed")
DOMINANT = replace(OCCUPIED, name="ground", kind="changed", terms=(), classes=(), enter=None, leave=None)

Sample = tuple[float, float | Mapping[str, float] | None]


def time_at(t: float, offset_s: float = 0.0) -> FrameTime:
    """Camera time ``t``, captured ``offset_s`` later than usual."""
    return FrameTime(camera_time_s=t, captured_at_s=EPOCH + t + offset_s)


def seen(t: float, value: float | Mapping[str, float] | None, offset_s: float = 0.0) -> ZoneOccupancy:
    """value: the share of car (the rest is road), or a whole coverage, or None for unknown."""
    coverage = {"car": value, "road": 1 - value} if isinstance(value, (int, float)) else value
    return ZoneOccupancy(
        camera="yard",
        zone="bay",
        seq=0,
        time=time_at(t, offset_s),
        state="unknown" if coverage is None else "ok",
        reason="stale" if coverage is None else None,
        coverage=coverage,
        uncertain=None if coverage is None else 0.0,
        dominant=max(coverage, key=lambda name: coverage[name]) if coverage else None,
        confidence=None,
        model="m",
    )


def zone_of(*rules: RuleSettings) -> ZoneSettings:
    return ZoneSettings("bay", "Bay", (((0, 0), (1, 0), (1, 1)),), (), 0.0, rules)


class Played:
    """What a rule said to a series of observations."""

    def __init__(self, rule: RuleSettings, samples: Iterable[Sample], offset_s: float = 0.0) -> None:
        self.rules = ZoneRules("gate", "yard", zone_of(rule))
        self.events: list[Alert | RuleState] = []
        self.feed(samples, offset_s)

    def feed(self, samples: Iterable[Sample], offset_s: float = 0.0) -> Played:
        for t, value in samples:
            self.events += self.rules.observe(seen(t, value, offset_s))
        return self

    @property
    def alerts(self) -> list[Alert]:
        return [event for event in self.events if isinstance(event, Alert)]

    @property
    def told(self) -> list[tuple[str, float]]:
        """(event, camera time of the message), updates left out."""
        return [
            (alert.event, round(alert.at_s - EPOCH, 6)) for alert in self.alerts if alert.event != "update"
        ]

    @property
    def states(self) -> list[str]:
        return [event.state for event in self.events if isinstance(event, RuleState)]
