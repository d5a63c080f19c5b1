"""What the rules promise of any series of observations, at any frame rate.

The reference below judges each observation from the whole history before it, written as the sentences of
the specification; the rules themselves remember only a few fields.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseg.events import Alert
from edgeseg.rules import ZoneRules
from edgeseg.rules.hours import is_open
from edgeseg.rules.state_machine import TOLERANCE_S, UPDATE_INTERVAL_S
from edgeseg.settings import ActiveHours, RuleSettings
from tests.support.examples import examples
from tests.support.rules_fixtures import ABSENT, CHANGED, DOMINANT, EPOCH, OCCUPIED, Played, Sample, zone_of

# Camera time in the tests below has this grain, so that dwells are met exactly or missed clearly.
GRAIN_S = 0.125

ground = replace(DOMINANT, reference="road", reference_classes=("road",))
windows = st.one_of(
    st.none(),
    # The clock starts at 08:00 UTC: windows that open or close while a series runs.
    st.builds(ActiveHours, st.integers(475, 482), st.integers(475, 482), st.none()),
)


@st.composite
def rules(draw: st.DrawFn) -> RuleSettings:
    eighths = st.integers(0, 80).map(lambda n: n * GRAIN_S)
    return replace(
        draw(st.sampled_from((OCCUPIED, ABSENT, CHANGED, ground))),
        for_s=draw(eighths),
        clear_s=draw(eighths),
        cooldown_s=draw(eighths),
        on_unknown=draw(st.sampled_from(("hold", "end", "raise"))),
        hours=draw(windows),
    )


@st.composite
def series(draw: st.DrawFn) -> list[Sample]:
    """Runs of one value each, so that dwells have a chance: shares on and off thresholds, or unknown."""
    value = st.one_of(st.none(), st.sampled_from((0.0, 0.1, 0.25, 0.3, 0.49, 0.5, 0.51, 0.8, 1.0)))
    t, samples = 0.0, []
    for _ in range(draw(st.integers(1, 12))):
        share = draw(value)
        for _ in range(draw(st.integers(1, 12))):
            samples.append((t, share))
            t += draw(st.integers(1, 16)) * GRAIN_S
    return samples


def begins(rule: RuleSettings, value: float | None) -> bool:
    if value is None:
        return rule.on_unknown == "raise"
    if rule.enter is None:
        return value > 0.5  # car is dominant; at 0.5 each the first one named is, which is car
    return value >= rule.enter if rule.kind == "occupied" else value < rule.enter


def ends(rule: RuleSettings, value: float | None) -> bool:
    if value is None:
        return False
    if rule.leave is None:
        return value < 0.5
    return value <= rule.leave if rule.kind == "occupied" else value > rule.leave


Mark = tuple[str, float, float, str | None]


def reference(rule: RuleSettings, samples: list[Sample]) -> list[Mark]:
    """(event, began or ended, told, reason) in camera time, judged with all of the past in hand."""
    marks: list[Mark] = []
    may_begin = [begins(rule, value) and is_open(rule.hours, EPOCH + t) for t, value in samples]
    may_end = [ends(rule, value) for _, value in samples]
    is_on, turned, quiet_until_s = False, 0, 0.0
    for now, (t, value) in enumerate(samples):
        # The run of observations up to now, since the last turn, at which the next turn's condition held
        # and of which all were known or all unknown.
        first = now + 1
        while first > turned and (may_end if is_on else may_begin)[first - 1]:
            if (samples[first - 1][1] is None) != (value is None):
                break
            first -= 1
        since_s = samples[first][0] if first <= now else None
        if not is_on:
            if since_s is not None and t - since_s >= rule.for_s and t >= quiet_until_s:
                marks.append(("new", since_s, t, None))
                is_on, turned = True, now + 1
            continue
        end: tuple[float, str] | None = None
        if not is_open(rule.hours, EPOCH + t):
            end = t, "hours"
        elif value is None and rule.on_unknown == "end":
            end = t, "unknown"
        elif since_s is not None and t - since_s >= rule.clear_s:
            end = since_s, "cleared"
        if end is not None:
            marks.append(("end", end[0], t, end[1]))
            is_on, turned, quiet_until_s = False, now + 1, t + rule.cooldown_s
    return marks


def shared_half(samples: list[Sample]) -> list[Sample]:
    """A dominant class needs a winner: move ties a little."""
    return [(t, 0.51 if value == 0.5 else value) for t, value in samples]


def lives(alerts: list[Alert]) -> Iterator[list[Alert]]:
    """Messages grouped by id, in order of the first."""
    for first in (alert for alert in alerts if alert.event == "new"):
        yield [alert for alert in alerts if alert.id == first.id]


@given(rules(), series())
@settings(max_examples=examples(300), deadline=None)
def test_the_rules_say_what_the_whole_history_says(rule: RuleSettings, samples: list[Sample]) -> None:
    samples = shared_half(samples) if rule.enter is None else samples
    told = [
        (
            alert.event,
            (alert.began_at_s if alert.event == "new" else alert.ended_at_s or 0.0) - EPOCH,
            alert.at_s - EPOCH,
            alert.end_reason,
        )
        for alert in Played(rule, samples).alerts
        if alert.event != "update"
    ]
    assert told == reference(rule, samples)


@given(rules(), series())
@settings(deadline=None)
def test_new_and_end_alternate_and_pair_by_id(rule: RuleSettings, samples: list[Sample]) -> None:
    alerts = Played(rule, samples).alerts
    marks = [alert.event for alert in alerts if alert.event != "update"]
    assert marks == ["new", "end"] * (len(marks) // 2) + ["new"] * (len(marks) % 2)
    assert sum(len(life) for life in lives(alerts)) == len(alerts)
    for life in lives(alerts):
        assert [alert.seq for alert in life] == list(range(len(life)))
        assert [alert.event for alert in life[1:-1]] == ["update"] * (len(life) - 2)
        assert len({(alert.began_at_s, alert.rule, alert.kind) for alert in life}) == 1


@given(rules(), series())
@settings(deadline=None)
def test_states_follow_alerts(rule: RuleSettings, samples: list[Sample]) -> None:
    played = Played(rule, samples)
    states = played.states
    assert all(before != after for before, after in pairwise(states))
    is_on = bool(played.alerts) and played.alerts[-1].event != "end"
    known = samples[-1][1] is not None
    if known:
        assert states[-1] == ("ON" if is_on else "OFF")
    else:
        assert states[-1] == ("ON" if is_on and rule.on_unknown == "raise" else "unknown")


@given(
    st.sampled_from((OCCUPIED, ABSENT, CHANGED)),
    st.lists(st.floats(0.26, 0.49), max_size=60),
    st.booleans(),
)
@settings(deadline=None)
def test_nothing_flaps_inside_the_band(rule: RuleSettings, shares: list[float], is_on: bool) -> None:
    rule = replace(rule, for_s=0.0, clear_s=0.0)
    alarming, calm = (0.9, 0.0) if rule.kind == "occupied" else (0.0, 0.9)
    start = alarming if is_on else calm
    played = Played(rule, [(0.0, start), *((1.0 + n, share) for n, share in enumerate(shares))])
    assert played.told == ([("new", 0.0)] if is_on else [])


@given(rules(), series())
@settings(deadline=None)
def test_nothing_is_told_outside_the_hours(rule: RuleSettings, samples: list[Sample]) -> None:
    for alert in Played(rule, samples).alerts:
        assert is_open(rule.hours, alert.began_at_s)
        assert is_open(rule.hours, alert.at_s) or alert.end_reason == "hours"


@given(rules(), series())
@settings(deadline=None)
def test_the_cooldown_holds(rule: RuleSettings, samples: list[Sample]) -> None:
    marks = [alert for alert in Played(rule, samples).alerts if alert.event != "update"]
    for end, new in zip(marks[1::2], marks[2::2], strict=False):
        assert new.at_s - end.at_s >= rule.cooldown_s - TOLERANCE_S


@given(rules(), series())
@settings(deadline=None)
def test_only_raise_begins_on_unknown(rule: RuleSettings, samples: list[Sample]) -> None:
    known_at = {EPOCH + t for t, value in samples if value is not None}
    for alert in Played(rule, samples).alerts:
        if alert.event == "new" and alert.at_s not in known_at:
            assert rule.on_unknown == "raise"


@given(rules(), series())
@settings(deadline=None)
def test_updates_keep_their_distance(rule: RuleSettings, samples: list[Sample]) -> None:
    for life in lives(Played(rule, samples).alerts):
        for before, after in pairwise(life):
            assert after.event == "end" or after.at_s - before.at_s >= UPDATE_INTERVAL_S - TOLERANCE_S


@given(rules(), series(), st.data())
@settings(deadline=None)
def test_a_stored_memory_goes_on_where_it_was(
    rule: RuleSettings, samples: list[Sample], data: st.DataObject
) -> None:
    split = data.draw(st.integers(0, len(samples)))
    whole = Played(rule, samples)
    parts = Played(rule, samples[:split])
    stored = pickle.loads(pickle.dumps(dict(parts.rules.memory)))
    parts.rules = ZoneRules("gate", "yard", zone_of(rule), stored)
    assert parts.feed(samples[split:]).events == whole.events


@dataclass(frozen=True)
class Pulse:
    """A condition that holds from ``start_s`` for ``length_s`` seconds, seen at a steady rate."""

    start_s: float
    length_s: float
    fps: int
    phase: float

    def samples(self, tail_s: float) -> list[Sample]:
        end_s = self.start_s + self.length_s
        count = int((end_s + tail_s) * self.fps) + 3
        # Summed up, as real frame times are: float noise included.
        times = [self.phase / self.fps]
        while len(times) < count:
            times.append(times[-1] + 1 / self.fps)
        return [(t, 0.9 if self.start_s <= t < end_s else 0.0) for t in times]


@st.composite
def pulses(draw: st.DrawFn) -> Pulse:
    return Pulse(
        draw(st.floats(1.0, 3.0)),
        draw(st.floats(0.1, 15.0)),
        draw(st.integers(1, 30)),
        draw(st.floats(0.0, 1.0, exclude_max=True)),
    )


dwells = st.one_of(st.integers(0, 6).map(float), st.floats(0.0, 6.0))


@given(pulses(), dwells, dwells)
@settings(max_examples=examples(300), deadline=None)
def test_the_frame_rate_moves_a_transition_by_at_most_one_interval(
    pulse: Pulse, for_s: float, clear_s: float
) -> None:
    """From 1 to 30 analysed frames a second, at any phase, against the continuous signal.

    - A pulse shorter than ``for`` never begins.
    - One that outlasts ``for`` by an interval always does, and begins and ends at most one interval after
      the signal did.
    - The message follows at the first observation after the dwell: where the dwell is a whole number of
      intervals, at most one interval after the ideal moment; else less than two, the second because
      beginning any sooner could begin for less than ``for``.
    """
    interval_s = 1 / pulse.fps
    rule = replace(OCCUPIED, for_s=for_s, clear_s=clear_s)
    alerts = Played(rule, pulse.samples(clear_s + 2 * interval_s)).alerts
    marks = [alert for alert in alerts if alert.event != "update"]
    slack_s = 1e-5
    if pulse.length_s < for_s - slack_s:
        assert marks == []
        return
    if pulse.length_s <= for_s + 2 * interval_s + slack_s:
        assert [mark.event for mark in marks] in ([], ["new", "end"])
    else:
        assert [mark.event for mark in marks] == ["new", "end"]
    end_s = pulse.start_s + pulse.length_s
    for mark in marks:
        is_new = mark.event == "new"
        true_s, dwell_s = (pulse.start_s, for_s) if is_new else (end_s, clear_s)
        reported_s = (mark.began_at_s if is_new else mark.ended_at_s or 0.0) - EPOCH
        assert -slack_s <= reported_s - true_s <= interval_s + slack_s
        whole = abs(dwell_s * pulse.fps - round(dwell_s * pulse.fps)) < 1e-9
        late_s = (mark.at_s - EPOCH) - (true_s + dwell_s)
        assert -slack_s <= late_s <= (1 if whole else 2) * interval_s + slack_s


@given(pulses(), st.integers(0, 6), st.floats(0.01, 0.99))
@settings(deadline=None)
def test_an_interruption_shorter_than_clear_never_ends_an_alert(
    pulse: Pulse, clear_s: int, part: float
) -> None:
    """The pulse is an interruption here: an alert is on, its condition goes away for less than ``clear``."""
    gap = replace(pulse, length_s=part * clear_s)
    rule = replace(OCCUPIED, for_s=0.0, clear_s=float(clear_s))
    samples = [(t, 0.0 if value else 0.9) for t, value in gap.samples(tail_s=8.0)]
    assert [event for event, _ in Played(rule, samples).told] == ["new"]
