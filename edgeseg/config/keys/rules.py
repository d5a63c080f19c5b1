"""The key ``rules`` of a zone: what raises an alert."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag

from edgeseg.config.classes import Vocabulary
from edgeseg.config.fields import Duration, Hours, Keys, Terms, Threshold, duration_between
from edgeseg.config.keys.ground import ZoneGround
from edgeseg.config.keys.hours import hours_settings
from edgeseg.config.keys.thresholds import (
    KINDS,
    Kind,
    Written,
    refuse_thresholds,
    shares,
    threshold_settings,
)
from edgeseg.config.names import check_name
from edgeseg.config.report import Report
from edgeseg.settings import RuleSettings
from edgeseg.yamlfile import quoted

DEFAULT_FOR_S = 5.0
DEFAULT_COOLDOWN_S = 0.0
# Of one hour of the day; a third day is the first on which most hours have it.
DEFAULT_LEARN_S = 7200.0
# How long a rule may take to learn what is normal at one hour of the day.
SHORTEST_LEARN_S, LONGEST_LEARN_S = 5.0, 86_400.0
UNLIKE: dict[str, Literal["normal", "before"]] = {"unusual": "normal", "drifted": "before"}


class ChangedFrom(Keys, title="changed from"):
    from_: Terms = Field(
        alias="from", description="Classes or groups that should be there; the rule watches their share."
    )


ChangedWord = Literal["dominant", "unusual", "drifted"]
CHANGED_WORDS: tuple[ChangedWord, ...] = get_args(ChangedWord)


def _changed_word(value: object) -> object:
    if value not in CHANGED_WORDS:
        choices = ", ".join(CHANGED_WORDS)
        raise ValueError(f"got {quoted(value)}, expected {choices}, or {{from: ...}} with classes or groups")
    return value


# A discriminator, so that a mistake in one form is not also one in the other.
Changed = Annotated[
    Annotated[ChangedWord, BeforeValidator(_changed_word), Tag("word")]
    | Annotated[ChangedFrom, Tag("mapping")],
    Discriminator(lambda value: "mapping" if isinstance(value, (dict, ChangedFrom)) else "word"),
]


class RuleFile(Keys, title="rule"):
    """Exactly one of occupied, changed and absent says what the rule watches for."""

    occupied: Terms | None = Field(
        None,
        description="Begins when these classes or groups together cover at least `enter` of the zone, "
        "ends at or below `leave`.",
    )
    changed: Changed | None = Field(
        None,
        description="`dominant`: begins when another class than `reference` covers most of the zone. "
        "`{from: road}`: begins when the share of road falls below `enter`, ends above `leave`. `unusual`: "
        "begins when the zone looks unlike what it learned to be normal for this hour of the day and this "
        "light. `drifted`: begins when what is normal there has slowly become another thing.",
    )
    absent: Terms | None = Field(
        None,
        description="Begins when these classes or groups together cover less than `enter`, "
        "ends above `leave`.",
    )
    reference: str | None = Field(
        None,
        description="For `changed: dominant`: the class or group that is normal. Default: the first one "
        "that held for `for`.",
    )
    learn: Annotated[Duration, duration_between(SHORTEST_LEARN_S, LONGEST_LEARN_S)] | None = Field(
        None,
        description="For `changed: unusual` and `drifted`: how long each hour of the day has to be watched, "
        "in each light, before the rule can begin anything there. What stays becomes normal within about "
        "three times as long. Default: 2 h, so from the third day on.",
    )
    enter: Threshold = Field(
        None,
        description="Share of the zone at which the rule begins, or an area such as `4 m2` where the camera "
        "has a `ground`. Default: 10 % for occupied, 1 % for "
        "absent, 50 % for changed.",
    )
    leave: Threshold = Field(
        None,
        description="Share of the zone, or area, at which the rule ends. Default: half of `enter` for "
        "occupied; for absent and changed twice `enter`, but at most half-way from `enter` to 100 %.",
    )
    for_: Duration | None = Field(
        None,
        alias="for",
        description="How long the condition must hold before the rule begins. Default: 5 s.",
    )
    clear: Duration | None = Field(
        None, description="How long it must be over before the rule ends. Default: the same as `for`."
    )
    cooldown: Duration | None = Field(
        None, description="Pause after an alert before the same rule may begin again. Default: 0 s."
    )
    hours: Hours | None = Field(
        None, description='Daily window in which the rule is active; it may span midnight: "22:00-06:00".'
    )
    timezone: str | None = Field(None, description="Time zone of `hours`, such as Europe/Rome. Default: UTC.")
    on_unknown: Literal["hold", "end", "raise"] | None = Field(
        None,
        description="What to do while the picture cannot be trusted: `hold` what is (the default), `end` "
        "the alert, or `raise` one.",
    )


def rules_settings(
    file: Mapping[str, RuleFile], vocabulary: Vocabulary, ground: ZoneGround, report: Report
) -> tuple[RuleSettings, ...]:
    """Return the valid rules of a zone, in their order. report: of the key ``rules``."""
    built = []
    for name, rule in file.items():
        here = report.below(name)
        check_name(here)
        built.append(rule_settings(name, rule, vocabulary, ground, here))
    return tuple(rule for rule in built if rule is not None)


def rule_settings(
    name: str, file: RuleFile, vocabulary: Vocabulary, ground: ZoneGround, report: Report
) -> RuleSettings | None:
    """Return one rule, or None after reporting everything that is wrong with it.

    Args:
        name: its key.
        file: its keys.
        vocabulary: terms that it may name.
        ground: of its zone.
        report: of the rule.
    """
    before = report.count
    written = shares(Written(file.enter, file.leave), ground, report)
    kind = _kind(file, report)
    if kind is None:
        return None
    changed = file.changed if isinstance(file.changed, str) else None
    unlike = UNLIKE.get(changed or "")
    terms = _terms(file, kind)
    at = ("changed", "from") if kind == "changed" else (kind,)
    classes = vocabulary.classes_of_terms(terms, report.below(*at))
    if file.learn is not None and unlike is None:
        report.error("belongs to 'changed: unusual' and 'changed: drifted' alone; remove it", ("learn",))
    thresholds = None
    if changed is not None:
        refuse_thresholds(changed, written, report)
    else:
        thresholds = threshold_settings(written, kind, report)
    reference_classes = _reference_classes(file, vocabulary, report.below("reference"))
    hours = hours_settings(file.hours, file.timezone, report)
    if report.count > before:
        return None
    for_s = DEFAULT_FOR_S if file.for_ is None else file.for_
    return RuleSettings(
        name=name,
        kind=kind,
        terms=tuple(terms),
        classes=classes,
        enter=thresholds.enter if thresholds else None,
        leave=thresholds.leave if thresholds else None,
        reference=file.reference,
        reference_classes=reference_classes,
        for_s=for_s,
        clear_s=for_s if file.clear is None else file.clear,
        cooldown_s=DEFAULT_COOLDOWN_S if file.cooldown is None else file.cooldown,
        hours=hours,
        on_unknown=file.on_unknown or "hold",
        ground_m2=written.ground_m2,
        unlike=unlike,
        groups=tuple(sorted(vocabulary.groups)) if unlike else (),
        learn_s=DEFAULT_LEARN_S if file.learn is None else file.learn,
    )


def _kind(file: RuleFile, report: Report) -> Kind | None:
    given = [kind for kind in KINDS if getattr(file, kind) is not None]
    if len(given) == 1:
        return given[0]
    if given:
        all_of_them = " and ".join(given)
        report.error(f"a rule watches for one thing, this one for {all_of_them}; make two rules", (given[1],))
    elif report.complete:
        report.error(
            "watches for nothing; add one of occupied, changed, absent, such as 'occupied: [person]'",
            key=True,
        )
    return None


def _terms(file: RuleFile, kind: Kind) -> list[str]:
    if kind == "changed":
        return file.changed.from_ if isinstance(file.changed, ChangedFrom) else []
    return (file.occupied if kind == "occupied" else file.absent) or []


def _reference_classes(file: RuleFile, vocabulary: Vocabulary, report: Report) -> tuple[str, ...]:
    if file.reference is None:
        return ()
    if file.changed != "dominant":
        report.error("belongs to 'changed: dominant' alone; remove it")
        return ()
    return vocabulary.classes_of_term(file.reference, report)
