"""What one observation says about a rule's condition, without any memory of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeseg.events import ZoneOccupancy
from edgeseg.rules.baseline import LEAVE
from edgeseg.settings import RuleSettings


@dataclass(frozen=True, slots=True)
class Reading:
    """One known observation against a rule.

    value: the share compared, 0-1; None where there is nothing to compare with yet.
    begins: the condition that starts an alert holds. ends: the one that ends it holds. Never both;
    neither inside the hysteresis band.
    """

    value: float | None
    begins: bool
    ends: bool


def shares(rule: RuleSettings, occupancy: ZoneOccupancy) -> Mapping[str, float] | None:
    """What the rule compares, class by class: shares of the picture's area, or of the ground's. None while
    that is unknown."""
    if rule.ground_m2 is None or occupancy.coverage is None:
        return occupancy.coverage
    if occupancy.ground is None:
        return None
    return {name: one.m2 / rule.ground_m2 for name, one in occupancy.ground.classes.items()}


def read(
    rule: RuleSettings, reference: tuple[str, ...], coverage: Mapping[str, float], dominant: str | None
) -> Reading:
    """reference: for ``changed: dominant`` the classes that are as it should be; empty while unlearned."""
    classes = compared(rule, reference)
    if not classes:
        return Reading(None, begins=False, ends=False)
    # Rounded like the shares themselves: 0.1 + 0.2 must reach a threshold of 0.3.
    value = round(sum(coverage.get(name, 0.0) for name in classes), 4)
    if rule.enter is None or rule.leave is None:
        # A zone that is wholly uncertain has no dominant class: it neither differs nor is back.
        back = dominant in reference
        return Reading(value, begins=dominant is not None and not back, ends=back)
    if rule.kind == "occupied":
        begins = value >= rule.enter
        # With equal thresholds a value on them would begin and end for ever: beginning wins.
        return Reading(value, begins, ends=value <= rule.leave and not begins)
    return Reading(value, begins=value < rule.enter, ends=value > rule.leave)


def unlike(value: float | None, threshold: float | None) -> Reading:
    """value: the distance from what is normal; None, as the threshold, while that is being learned."""
    if value is None or threshold is None:
        return Reading(None, begins=False, ends=False)
    return Reading(value, begins=value >= threshold, ends=value < LEAVE * threshold)


def compared(rule: RuleSettings, reference: tuple[str, ...]) -> tuple[str, ...]:
    """The classes whose summed share is the rule's value; none where that is a distance."""
    if rule.unlike is not None:
        return ()
    return reference if rule.enter is None else rule.classes


def is_worse(rule: RuleSettings, value: float, than: float, by: float) -> bool:
    """Whether ``value`` lies further inside the condition than another, by at least that share."""
    rising = rule.kind == "occupied" or rule.unlike is not None
    further = value - than if rising else than - value
    return further >= by - 1e-9
