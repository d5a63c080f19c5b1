"""What a rule remembers between observations: plain frozen data, apart from its settings, so that it can
be stored and given back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeseg.frames import Alert, FrameTime, RuleStateName
from edgeseg.rules.trace import Trace


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
    shown: the rule state last published.
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
