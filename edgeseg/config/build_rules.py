"""One rule of a zone: its kind, its thresholds and times, with the defaults filled in."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from edgeseg.config.build_ground import NO_GROUND, ZoneGround, by_share
from edgeseg.config.classes import Vocabulary
from edgeseg.config.keys.rules import ChangedFrom, RuleFile
from edgeseg.config.units import share_text
from edgeseg.settings import ActiveHours, RuleSettings
from edgeseg.yamlfile import PathPart, quoted, suggestion

FOR_S = 5.0
COOLDOWN_S = 0.0
# Of one hour of the day; a third day is the first on which most hours have it.
LEARN_S = 7200.0
UNLIKE: dict[str, Literal["normal", "before"]] = {"unusual": "normal", "drifted": "before"}
ENTER = {"occupied": 0.10, "absent": 0.01, "changed": 0.50}

Kind = Literal["occupied", "changed", "absent"]
Report = Callable[[Sequence[PathPart], str], None]
"""Takes the steps below the rule to what is wrong, and the message."""


@dataclass(frozen=True, slots=True)
class _Thresholds:
    enter: float
    leave: float


def build_rule(
    name: str,
    rule: RuleFile,
    vocabulary: Vocabulary,
    *,
    whole: bool,
    report: Report,
    ground: ZoneGround = NO_GROUND,
) -> RuleSettings | None:
    """Settings of a rule, or None after everything wrong with it was told to ``report``.

    ground: of its zone.
    whole: False where some of its keys were wrong and left out; then nothing is said about missing ones.
    """
    sound = True

    def wrong(steps: Sequence[PathPart], message: str) -> None:
        nonlocal sound
        sound = False
        report(steps, message)

    rule, ground_m2 = by_share(rule, ground, wrong)
    kind = _kind(rule, whole, wrong)
    if kind is None:
        return None
    word = rule.changed if isinstance(rule.changed, str) else None
    dominant, unlike = word == "dominant", UNLIKE.get(word or "")
    terms = _terms(rule, kind)
    terms_at: list[PathPart] = ["changed", "from"] if kind == "changed" else [kind]
    classes = vocabulary.classes_of_terms(terms, lambda at, said: wrong([*terms_at, *at], said))
    if rule.learn is not None and unlike is None:
        wrong(["learn"], "belongs to 'changed: unusual' and 'changed: drifted' alone; remove it")
    thresholds = None
    if word is not None:
        _refuse_thresholds(word, rule, wrong)
    else:
        thresholds = _thresholds(rule, kind, whole, wrong)
    reference_classes: tuple[str, ...] = ()
    if rule.reference is not None:
        if dominant:
            reference_classes = vocabulary.classes_of_terms(
                [rule.reference], lambda _, said: wrong(["reference"], said)
            )
        else:
            wrong(["reference"], "belongs to 'changed: dominant' alone; remove it")
    hours = _hours(rule, whole, wrong)
    if not sound:
        return None
    for_s = FOR_S if rule.for_ is None else rule.for_
    return RuleSettings(
        name=name,
        kind=kind,
        terms=tuple(terms),
        classes=classes,
        enter=thresholds.enter if thresholds else None,
        leave=thresholds.leave if thresholds else None,
        reference=rule.reference,
        reference_classes=reference_classes,
        for_s=for_s,
        clear_s=for_s if rule.clear is None else rule.clear,
        cooldown_s=COOLDOWN_S if rule.cooldown is None else rule.cooldown,
        hours=hours,
        on_unknown=rule.on_unknown or "hold",
        ground_m2=ground_m2,
        unlike=unlike,
        groups=tuple(sorted(vocabulary.groups)) if unlike else (),
        learn_s=LEARN_S if rule.learn is None else rule.learn,
    )


def _kind(rule: RuleFile, whole: bool, wrong: Report) -> Kind | None:
    said: list[Kind] = []
    if rule.occupied is not None:
        said.append("occupied")
    if rule.changed is not None:
        said.append("changed")
    if rule.absent is not None:
        said.append("absent")
    if len(said) == 1:
        return said[0]
    if said:
        wrong([said[1]], f"a rule watches for one thing, this one for {' and '.join(said)}; make two rules")
    elif whole:
        wrong([], "watches for nothing; add one of occupied, changed, absent, such as 'occupied: [person]'")
    return None


def _terms(rule: RuleFile, kind: Kind) -> list[str]:
    if kind == "changed":
        return rule.changed.from_ if isinstance(rule.changed, ChangedFrom) else []
    return (rule.occupied if kind == "occupied" else rule.absent) or []


def _refuse_thresholds(word: str, rule: RuleFile, wrong: Report) -> None:
    why = "compares no share" if word == "dominant" else "finds its threshold itself"
    for key in ("enter", "leave"):
        if getattr(rule, key) is not None:
            wrong([key], f"'changed: {word}' {why}; remove it, or use 'changed: {{from: ...}}'")


def _thresholds(rule: RuleFile, kind: Kind, whole: bool, wrong: Report) -> _Thresholds | None:
    rising = kind == "occupied"
    if rule.enter is None and rule.leave is not None:
        if whole:
            wrong(["leave"], "needs enter beside it, the share at which the rule begins")
        return None
    enter = ENTER[kind] if rule.enter is None else rule.enter
    leave = _default_leave(enter, rising) if rule.leave is None else rule.leave
    if enter == 0:
        never = "always holds" if rising else "never holds, as it begins below enter"
        wrong(["enter"], f"got 0 %, which {never}; expected more than 0 %")
    elif enter == 1 and not rising and rule.leave is None:
        wrong(["enter"], "got 100 %, so it would never end, as it ends above leave; expected less than 100 %")
    elif rising and leave > enter:
        wrong(
            ["leave"],
            f"got {share_text(leave)}, which contradicts enter: {share_text(enter)}; a rule with "
            "'occupied' ends at or below leave, so leave must be at most enter",
        )
    elif not rising and leave < enter:
        wrong(
            ["leave"],
            f"got {share_text(leave)}, which contradicts enter: {share_text(enter)}; a rule with "
            f"'{kind}' ends above leave, so leave must be at least enter",
        )
    elif not rising and leave == 1:
        wrong(["leave"], "got 100 %, so it would never end, as it ends above leave; expected less than 100 %")
    return _Thresholds(enter, leave)


def _default_leave(enter: float, rising: bool) -> float:
    # For the falling kinds twice enter can reach 100 %, above which no share gets: half-way is the bound.
    return round(enter / 2 if rising else min(2 * enter, (1 + enter) / 2), 12)


def _hours(rule: RuleFile, whole: bool, wrong: Report) -> ActiveHours | None:
    if rule.timezone is not None:
        flaw = _timezone_flaw(rule.timezone)
        if flaw:
            wrong(["timezone"], flaw)
        elif rule.hours is None and whole:
            wrong(["timezone"], "has no hours to apply to; add hours, or remove it")
    if rule.hours is None:
        return None
    return ActiveHours(rule.hours[0], rule.hours[1], rule.timezone)


def _timezone_flaw(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        if not known:
            return f"got {quoted(name)}, but this machine has no time zones; install tzdata (apt, or pip)"
        hint = suggestion(name, known)
        near = hint if "did you mean" in hint else "; names are like Europe/Rome, and UTC"
        return f"got {quoted(name)}, which is no time zone{near}"
    return ""
