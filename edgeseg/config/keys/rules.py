"""The key ``rules`` of a zone: what raises an alert."""

from __future__ import annotations

from typing import Annotated, Literal, Union, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag

from edgeseg.config.fields import Duration, Hours, Keys, Terms, Threshold, duration_between
from edgeseg.settings import LONGEST_LEARN_S, SHORTEST_LEARN_S
from edgeseg.yamlfile import quoted


class ChangedFrom(Keys, title="changed from"):
    from_: Terms = Field(
        alias="from", description="Classes or groups that should be there; the rule watches their share."
    )


ChangedWord = Literal["dominant", "unusual", "drifted"]
CHANGED_WORDS: tuple[ChangedWord, ...] = get_args(ChangedWord)


def _word(value: object) -> object:
    if value not in CHANGED_WORDS:
        words = ", ".join(CHANGED_WORDS)
        raise ValueError(f"got {quoted(value)}, expected {words}, or {{from: ...}} with classes or groups")
    return value


# Told apart by hand, so that a mistake in one form is not also one in the other.
Changed = Annotated[
    Union[
        Annotated[ChangedWord, BeforeValidator(_word), Tag("word")],
        Annotated[ChangedFrom, Tag("mapping")],
    ],
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
