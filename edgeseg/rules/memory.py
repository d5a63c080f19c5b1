"""What a rule remembers between observations: plain frozen data, apart from its settings, so that it can
be stored and given back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from edgeseg.events import Alert, RuleStateName
from edgeseg.frames import FrameTime
from edgeseg.rules.baseline import Normal
from edgeseg.rules.trace import Trace


class RuleId(NamedTuple):
    """Names a rule of one camera."""

    zone: str
    rule: str


@dataclass(frozen=True, slots=True)
class Scene:
    """What a zone looked like in one known observation."""

    coverage: Mapping[str, float]
    dominant: str | None


@dataclass(frozen=True, slots=True)
class Pending:
    """A condition that holds but has not held long enough. ``before``: the last known scene without it."""

    since: FrameTime
    before: Scene | None

    def shifted(self, by_s: float) -> Pending:
        """See ``RuleMemory.shifted``."""
        return replace(self, since=shifted(self.since, by_s))


@dataclass(frozen=True, slots=True)
class Dwell:
    """A rule whose condition has held since then and has raised no alert yet."""

    zone: str
    rule: str
    since: FrameTime


@dataclass(frozen=True, slots=True)
class Candidate:
    """A dominant class on its way to becoming the learned reference."""

    dominant: str
    since_s: float


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """An alert that is on.

    last: its newest message. sent_at_s: when that was, in camera time. extreme: the worst value that a
    message has told so far; None while none was known.
    """

    last: Alert
    sent_at_s: float
    extreme: float | None


@dataclass(frozen=True, slots=True)
class RuleMemory:
    """Everything one rule knows. All times are camera time.

    reference: classes of ``changed: dominant`` that are as they should be; empty until learned.
    last_s: the newest observation. scene: the newest known one. known: whether the newest one is known.
    beginning, ending: the dwell under way towards a new alert, or towards the end of the one that is on.
    quiet_until_s: the end of the cooldown.
    shown: the rule state last published. normal: what a rule with ``unlike`` has learned.
    """

    reference: tuple[str, ...] = ()
    candidate: Candidate | None = None
    last_s: float | None = None
    scene: Scene | None = None
    known: bool = False
    beginning: Pending | None = None
    ending: Pending | None = None
    alert: OpenAlert | None = None
    quiet_until_s: float | None = None
    trace: Trace = field(default_factory=Trace)
    shown: RuleStateName | None = None
    normal: Normal | None = None

    @property
    def change_key(self) -> tuple[object, ...]:
        """What changes when something happens; the rest changes with each observation."""
        return (
            *(self.reference, self.candidate, self.beginning, self.ending),
            *(self.alert, self.quiet_until_s),
        )

    def shifted(self, by_s: float) -> RuleMemory:
        """The same on another monotonic clock: all camera times ``by_s`` later, UTC as it was."""

        def later(time_s: float | None) -> float | None:
            return None if time_s is None else time_s + by_s

        candidate, alert = self.candidate, self.alert
        return replace(
            self,
            candidate=candidate and replace(candidate, since_s=candidate.since_s + by_s),
            last_s=later(self.last_s),
            beginning=self.beginning and self.beginning.shifted(by_s),
            ending=self.ending and self.ending.shifted(by_s),
            alert=alert and replace(alert, sent_at_s=alert.sent_at_s + by_s),
            quiet_until_s=later(self.quiet_until_s),
        )


@dataclass(frozen=True, slots=True)
class AwayMemory:
    """What is known of a camera's absence. All times are camera time.

    since: a dwell under way, towards the alert or towards its end. last_s: when it was looked at last.
    """

    since: FrameTime | None = None
    last_s: float | None = None
    alert: Alert | None = None

    @property
    def change_key(self) -> tuple[object, ...]:
        """What changes when something happens."""
        return (self.since, self.alert)

    def shifted(self, by_s: float) -> AwayMemory:
        """See ``RuleMemory.shifted``."""
        since = self.since and shifted(self.since, by_s)
        return AwayMemory(since, None if self.last_s is None else self.last_s + by_s, self.alert)


def shifted(time: FrameTime, by_s: float) -> FrameTime:
    """The same instant on another monotonic clock."""
    return replace(time, camera_time_s=time.camera_time_s + by_s)
