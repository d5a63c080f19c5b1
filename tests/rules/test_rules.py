"""What the rules promise, sentence by sentence. The general form of it is in test_rules_properties.py."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Literal

import pytest

from edgeseg.events import Alert, CameraState, CameraStatus, RuleState
from edgeseg.rules import CameraAlert, ZoneRules
from edgeseg.rules.hours import is_open
from edgeseg.rules.trace import MOST_POINTS
from edgeseg.settings import ActiveHours, RuleSettings
from tests.support.rules_fixtures import (
    ABSENT,
    CHANGED,
    DOMINANT,
    EPOCH,
    OCCUPIED,
    Played,
    Sample,
    seen,
    time_at,
    zone_of,
)


def each_second(*values: float | Mapping[str, float] | None, start: float = 0.0) -> Iterator[Sample]:
    return ((start + second, value) for second, value in enumerate(values))


def test_occupied_begins_at_enter_held_for_for_and_ends_at_leave_held_for_clear() -> None:
    played = Played(OCCUPIED, each_second(0.1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25))
    assert played.told == [("new", 3.0), ("end", 8.0)]
    new, end = played.alerts
    assert (new.began_at_s, new.at_s, new.ended_at_s) == (EPOCH + 1, EPOCH + 3, None)
    assert (end.began_at_s, end.at_s, end.ended_at_s) == (EPOCH + 1, EPOCH + 8, EPOCH + 5)
    assert (new.kind, new.rule, new.camera, new.zone) == ("occupied", "blocked", "yard", "bay")
    assert (new.end_reason, end.end_reason) == (None, "cleared")
    assert played.states == ["OFF", "ON", "OFF"]


@pytest.mark.parametrize("rule", [ABSENT, CHANGED], ids=["absent", "changed from"])
def test_absent_and_changed_begin_below_enter_and_end_above_leave(rule: RuleSettings) -> None:
    at_enter = Played(rule, each_second(*[0.25] * 10))
    assert at_enter.told == []
    played = Played(rule, each_second(0.6, 0.24, 0.24, 0.24, 0.5, 0.5, 0.5, 0.5, 0.51, 0.51, 0.51, 0.51))
    assert played.told == [("new", 3.0), ("end", 11.0)]
    assert played.alerts[0].kind == rule.kind


def test_the_shares_of_the_classes_are_added_up() -> None:
    coverage = {"car": 0.3, "bus": 0.2, "road": 0.5}
    assert Played(OCCUPIED, each_second(*[coverage] * 4)).alerts[0].evidence.value == 0.5  # type: ignore[union-attr]
    # 0.1 + 0.7 is 0.7999999999999999 in floats.
    assert Played(replace(OCCUPIED, enter=0.8), each_second(*[{"car": 0.1, "bus": 0.7}] * 4)).told


def test_with_equal_thresholds_a_value_on_them_stays_on() -> None:
    rule = replace(OCCUPIED, enter=0.5, leave=0.5)
    assert Played(rule, each_second(*[0.5] * 30)).told == [("new", 2.0)]


def test_between_the_thresholds_nothing_begins_and_nothing_ends() -> None:
    assert Played(OCCUPIED, each_second(*[0.4] * 20)).told == []
    played = Played(OCCUPIED, each_second(0.5, 0.5, 0.5, *[0.26, 0.49] * 20))
    assert played.told == [("new", 2.0)]


def test_a_dwell_starts_again_after_a_break() -> None:
    assert Played(OCCUPIED, each_second(0.5, 0.5, 0.49, 0.5, 0.5, 0.49)).told == []
    played = Played(OCCUPIED, each_second(0.5, 0.5, 0.5, 0.2, 0.2, 0.2, 0.26, 0.2, 0.2, 0.2, 0.2))
    assert played.told == [("new", 2.0), ("end", 10.0)]


def test_without_for_it_begins_with_the_first_observation() -> None:
    rule = replace(OCCUPIED, for_s=0.0, clear_s=0.0)
    played = Played(rule, each_second(0.5, 0.2, 0.5))
    assert played.told == [("new", 0.0), ("end", 1.0), ("new", 2.0)]
    assert played.alerts[0].before is None
    assert played.alerts[2].before == {"car": 0.2, "road": 0.8}


def test_thirty_thirtieths_are_a_second() -> None:
    t, samples = 0.0, []
    for _ in range(70):
        samples.append((t, 0.9))
        t += 1 / 30
    assert Played(OCCUPIED, samples).told == [("new", 2.0)]


def test_an_alert_shows_before_after_and_what_led_to_it() -> None:
    played = Played(OCCUPIED, each_second(0.0, 0.1, 0.2, 0.6, 0.7, 0.8))
    (new,) = played.alerts
    assert (new.before, new.after) == ({"car": 0.2, "road": 0.8}, {"car": 0.8, "road": pytest.approx(0.2)})
    assert (new.dominant_before, new.dominant_after) == ("road", "car")
    evidence = new.evidence
    assert evidence is not None
    assert (evidence.classes, evidence.value, evidence.threshold) == (("car", "bus"), 0.8, 0.5)
    assert (evidence.for_s, evidence.model) == (2.0, "m")
    assert [point.value for point in evidence.trace] == [0.0, 0.1, 0.2, 0.6, 0.7, 0.8]
    assert [point.captured_at_s - EPOCH for point in evidence.trace] == [0, 1, 2, 3, 4, 5]


def test_the_trace_begins_shortly_before_the_condition_did() -> None:
    (new,) = Played(OCCUPIED, each_second(*[0.1] * 50, 0.6, 0.6, 0.6)).alerts
    assert new.evidence is not None
    assert [point.captured_at_s - EPOCH for point in new.evidence.trace] == [46, 47, 48, 49, 50, 51, 52]


def test_the_trace_stays_small_however_long_the_alert() -> None:
    busy = ((0.1 * n, 0.9) for n in range(20_000))
    played = Played(OCCUPIED, [(-1.0, 0.0), *busy]).feed([(2000.0 + n, 0.0) for n in range(5)])
    end = played.alerts[-1]
    assert end.event == "end"
    assert end.evidence is not None
    points = end.evidence.trace
    assert len(points) <= MOST_POINTS
    times = [point.captured_at_s for point in points]
    assert times == sorted(set(times))
    assert (times[0], times[-1]) == (EPOCH - 1, end.at_s)
    gaps = [later - earlier for earlier, later in pairwise(times[1:])]
    assert max(gaps) <= 2 * 2000 / (MOST_POINTS / 2)


def test_dominant_against_a_named_reference() -> None:
    rule = replace(DOMINANT, reference="road", reference_classes=("road",))
    played = Played(rule, each_second(0.1, 0.6, 0.6, 0.6, 0.1, 0.1, 0.1, 0.1))
    assert played.told == [("new", 3.0), ("end", 7.0)]
    evidence = played.alerts[0].evidence
    assert evidence is not None
    assert (evidence.classes, evidence.value, evidence.threshold) == (("road",), 0.4, None)
    assert (played.alerts[0].kind, played.alerts[0].dominant_after) == ("changed", "car")


def test_dominant_against_a_group() -> None:
    rule = replace(DOMINANT, reference="ground", reference_classes=("road", "pavement"))
    assert Played(rule, each_second(*[{"pavement": 0.9, "car": 0.1}] * 9)).told == []


def test_dominant_may_change_again_while_it_differs() -> None:
    rule = replace(DOMINANT, reference="road", reference_classes=("road",))
    scenes: list[dict[str, float]] = [{"road": 1.0}, {"snow": 1.0}, {"water": 1.0}, {"snow": 1.0}]
    assert Played(rule, each_second(*scenes)).told == [("new", 3.0)]


def test_dominant_learns_the_first_class_that_holds() -> None:
    snow = {"snow": 0.9, "road": 0.1}
    # car for 1 s, snow for 1 s, car for 1 s: none held for 2 s. Then road does.
    played = Played(DOMINANT, each_second(0.9, 0.9, snow, snow, 0.9, 0.9, 0.1, 0.1, 0.1, snow, snow))
    assert played.told == []
    assert played.rules.memory["ground"].reference == ("road",)
    played.feed(each_second(snow, 0.1, 0.1, 0.1, 0.1, start=11))
    assert played.told == [("new", 11.0), ("end", 15.0)]


def test_learning_does_not_count_unknown_time() -> None:
    played = Played(DOMINANT, each_second(0.1, 0.1, None, 0.1, 0.1))
    assert played.rules.memory["ground"].reference == ()
    assert played.states == ["OFF", "unknown", "OFF"]


def test_a_wholly_uncertain_zone_neither_differs_nor_is_back() -> None:
    rule = replace(DOMINANT, reference="road", reference_classes=("road",))
    assert Played(rule, each_second(0.1, {}, {}, {}, {}, {})).told == []
    assert Played(rule, each_second(0.9, 0.9, 0.9, *[{}] * 9)).told == [("new", 2.0)]


def test_unknown_time_proves_nothing() -> None:
    assert Played(OCCUPIED, each_second(0.5, 0.5, None, 0.5, 0.5, None, 0.5)).told == []
    played = Played(OCCUPIED, each_second(0.5, 0.5, 0.5, 0.2, 0.2, 0.2, None, 0.2, 0.2, 0.2, 0.2))
    assert played.told == [("new", 2.0), ("end", 10.0)]


def test_hold_keeps_the_alert_and_says_unknown() -> None:
    played = Played(OCCUPIED, each_second(None, 0.5, 0.5, 0.5, None, None, 0.5, 0.1, 0.1, 0.1, 0.1))
    assert played.told == [("new", 3.0), ("end", 10.0)]
    assert played.states == ["unknown", "OFF", "ON", "unknown", "ON", "OFF"]


def test_end_ends_the_alert() -> None:
    rule = replace(OCCUPIED, on_unknown="end")
    played = Played(rule, each_second(0.5, 0.5, 0.5, None, 0.5, 0.5, 0.5))
    assert played.told == [("new", 2.0), ("end", 3.0), ("new", 6.0)]
    end = played.alerts[1]
    assert (end.end_reason, end.after, end.ended_at_s) == ("unknown", None, EPOCH + 3)
    assert played.states == ["OFF", "ON", "unknown", "OFF", "ON"]


def test_raise_begins_when_the_zone_was_unknown_for_for() -> None:
    rule = replace(OCCUPIED, on_unknown="raise")
    played = Played(rule, each_second(0.1, None, None, None, None))
    assert played.told == [("new", 3.0)]
    (new,) = played.alerts
    assert new.evidence is not None
    assert (new.evidence.value, new.began_at_s, new.after) == (None, EPOCH + 1, None)
    assert new.before == {"car": 0.1, "road": 0.9}
    assert played.states == ["OFF", "unknown", "ON"]
    played.feed(each_second(0.1, 0.1, 0.1, 0.1, start=5))
    assert played.told == [("new", 3.0), ("end", 8.0)]
    assert Played(replace(rule, for_s=0.0), each_second(None)).told == [("new", 0.0)]


def test_raise_does_not_add_known_and_unknown_time() -> None:
    rule = replace(OCCUPIED, on_unknown="raise")
    assert Played(rule, each_second(0.5, 0.5, None, None, 0.5, 0.5, None)).told == []


def test_raise_keeps_an_alert_that_is_on() -> None:
    rule = replace(OCCUPIED, on_unknown="raise")
    played = Played(rule, each_second(0.5, 0.5, 0.5, None, None, None))
    assert (played.told, played.states) == ([("new", 2.0)], ["OFF", "ON"])


def test_the_state_is_unknown_until_something_is_known() -> None:
    assert Played(OCCUPIED, each_second(None, None, 0.1)).states == ["unknown", "OFF"]


def test_a_state_comes_before_its_alert() -> None:
    events = Played(OCCUPIED, each_second(0.5, 0.5, 0.5)).events
    assert [type(event) for event in events] == [RuleState, RuleState, Alert]


def test_nothing_begins_in_the_cooldown_but_the_dwell_goes_on() -> None:
    rule = replace(OCCUPIED, clear_s=0.0, cooldown_s=10.0)
    played = Played(rule, each_second(0.5, 0.5, 0.5, 0.1, *[0.5] * 12))
    assert played.told == [("new", 2.0), ("end", 3.0), ("new", 13.0)]
    assert played.alerts[-1].began_at_s == EPOCH + 4


def hours(start: str, end: str, zone: str | None = None) -> ActiveHours:
    def minutes(text: str) -> int:
        return int(text[:2]) * 60 + int(text[3:])

    return ActiveHours(minutes(start), minutes(end), zone)


# The clock starts at 08:00 UTC.
def test_outside_its_hours_a_rule_begins_nothing_and_its_dwell_does_not_count() -> None:
    rule = replace(OCCUPIED, hours=hours("08:01", "08:02"))
    played = Played(rule, ((float(t), 0.9) for t in range(55, 70)))
    assert played.told == [("new", 62.0)]
    assert played.alerts[0].began_at_s == EPOCH + 60


def test_an_alert_that_is_on_ends_with_the_hours() -> None:
    rule = replace(OCCUPIED, hours=hours("07:00", "08:01"))
    played = Played(rule, ((float(t), 0.9 if t < 58 else None) for t in range(50, 70)))
    assert played.told == [("new", 52.0), ("end", 60.0)]
    assert played.alerts[1].end_reason == "hours"
    assert played.states == ["OFF", "ON", "unknown"]


@pytest.mark.parametrize(
    ("window", "utc", "open_then"),
    [
        (hours("22:00", "06:00"), "2027-01-15T21:59:59", False),
        (hours("22:00", "06:00"), "2027-01-15T22:00:00", True),
        (hours("22:00", "06:00"), "2027-01-16T05:59:59", True),
        (hours("22:00", "06:00"), "2027-01-16T06:00:00", False),
        (hours("08:00", "08:00"), "2027-01-16T06:00:00", True),
        # Rome is UTC+1 in winter, UTC+2 in summer.
        (hours("22:00", "06:00", "Europe/Rome"), "2027-01-15T21:00:00", True),
        (hours("22:00", "06:00", "Europe/Rome"), "2027-07-15T20:00:00", True),
        (hours("22:00", "06:00", "Europe/Rome"), "2027-07-15T04:00:00", False),
        # The clocks go forward at 01:00 UTC on 2027-03-28: 06:00 comes an hour sooner.
        (hours("22:00", "06:00", "Europe/Rome"), "2027-03-28T03:59:59", True),
        (hours("22:00", "06:00", "Europe/Rome"), "2027-03-28T04:00:00", False),
        # And back at 01:00 UTC on 2027-10-31: it comes an hour later.
        (hours("22:00", "06:00", "Europe/Rome"), "2027-10-31T04:59:59", True),
        (hours("22:00", "06:00", "Europe/Rome"), "2027-10-31T05:00:00", False),
    ],
)
def test_windows_follow_the_wall_clock_of_their_zone(window: ActiveHours, utc: str, open_then: bool) -> None:
    moment = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert is_open(window, moment.timestamp()) is open_then


def test_an_update_comes_when_it_is_ten_points_worse_at_most_every_ten_seconds() -> None:
    values = [0.5] * 3 + [0.59] * 12 + [0.6] + [0.9] * 12
    played = Played(OCCUPIED, each_second(*values))
    updates = [alert for alert in played.alerts if alert.event == "update"]
    # 0.59 is 9 points more: no news. 0.6 at second 15 is; 0.9 a second later waits for its 10 s.
    assert [(update.at_s - EPOCH, update.evidence.value) for update in updates if update.evidence] == [
        (15.0, 0.6),
        (25.0, 0.9),
    ]
    assert [update.seq for update in updates] == [1, 2]
    assert {alert.id for alert in played.alerts} == {played.alerts[0].id}


def test_falling_below_what_was_told_is_no_news() -> None:
    values = [0.9] * 3 + [0.7] * 60 + [0.99] * 20
    assert [alert.event for alert in Played(OCCUPIED, each_second(*values)).alerts] == ["new"]


def test_for_a_rule_that_watches_for_less_worse_is_less() -> None:
    rule = replace(ABSENT, leave=0.9)
    played = Played(rule, each_second(*[0.2] * 20, *[0.1] * 2, *[0.3] * 20))
    assert [(alert.event, alert.at_s - EPOCH) for alert in played.alerts] == [("new", 2.0), ("update", 20.0)]


def test_unknown_and_known_again_are_news() -> None:
    played = Played(OCCUPIED, each_second(*[0.9] * 15, *[None] * 15, *[0.9] * 15))
    updates = [
        (alert.at_s - EPOCH, alert.after is None) for alert in played.alerts if alert.event == "update"
    ]
    assert updates == [(15.0, True), (30.0, False)]


def test_camera_time_that_goes_back_starts_dwells_again_and_keeps_the_alert() -> None:
    again = Played(OCCUPIED, [(100.0, 0.5), (101.0, 0.5), (0.0, 0.5), (1.0, 0.5)])
    assert again.told == []
    assert again.feed([(2.0, 0.5)]).told == [("new", 2.0)]
    played = Played(OCCUPIED, [(100.0, 0.5), (102.0, 0.5), (103.0, 0.1), (104.0, 0.1)])
    played.feed([(0.0, 0.1), (1.0, 0.1), (2.0, 0.1)], offset_s=105)
    assert played.told == [("new", 102.0)]
    played.feed([(3.0, 0.1)], offset_s=105)
    assert played.told == [("new", 102.0), ("end", 108.0)]
    assert played.alerts[0].id == played.alerts[1].id


def test_camera_time_that_goes_back_leaves_the_rest_of_the_cooldown() -> None:
    rule = replace(OCCUPIED, for_s=0.0, clear_s=0.0, cooldown_s=10.0)
    played = Played(rule, [(100.0, 0.5), (101.0, 0.1), (105.0, 0.1)])
    played.feed([(0.0, 0.5), (5.9, 0.5), (6.0, 0.5)], offset_s=106)
    assert played.told == [("new", 100.0), ("end", 101.0), ("new", 112.0)]


def test_a_retired_rule_ends_its_alert() -> None:
    played = Played(OCCUPIED, each_second(0.5, 0.5, 0.5))
    (end,) = played.rules.retire(time_at(4.0))
    assert isinstance(end, Alert)
    assert (end.event, end.end_reason, end.id, end.seq) == ("end", "config", played.alerts[0].id, 1)
    assert (end.at_s, end.ended_at_s, end.after) == (EPOCH + 4, EPOCH + 4, {"car": 0.5, "road": 0.5})
    assert played.rules.retire(time_at(5.0)) == []


def test_rules_of_a_zone_do_not_disturb_each_other() -> None:
    rules = ZoneRules("gate", "yard", zone_of(OCCUPIED, ABSENT))
    events = [event for t in range(4) for event in rules.observe(seen(float(t), 0.9))]
    assert [event.rule for event in events if isinstance(event, Alert)] == ["blocked"]
    assert [(e.rule, e.state) for e in events if isinstance(e, RuleState)] == [
        *(("blocked", "OFF"), ("unguarded", "OFF"), ("blocked", "ON"))
    ]


def test_ids_differ_by_node_and_beginning_and_are_the_same_again() -> None:
    first = Played(OCCUPIED, each_second(0.5, 0.5, 0.5)).alerts[0].id
    assert Played(OCCUPIED, each_second(0.5, 0.5, 0.5)).alerts[0].id == first
    assert Played(OCCUPIED, each_second(0.5, 0.5, 0.5, start=1e-6)).alerts[0].id != first
    assert Played(replace(OCCUPIED, name="b"), each_second(0.5, 0.5, 0.5)).alerts[0].id != first
    elsewhere = ZoneRules("another", "yard", zone_of(OCCUPIED))
    events = [event for t in range(3) for event in elsewhere.observe(seen(float(t), 0.5))]
    assert first not in {event.id for event in events if isinstance(event, Alert)}
    assert len(first) == 16


def test_a_memory_is_plain_data() -> None:
    played = Played(OCCUPIED, each_second(0.1, 0.5, 0.5, 0.5))
    assert json.loads(json.dumps(asdict(played.rules.memory["blocked"])))["alert"]["last"]["event"] == "new"


def status(state: CameraState) -> CameraStatus:
    return CameraStatus("yard", state, None, EPOCH, None, None)


def told_of_camera(*states: tuple[CameraState, int], each_s: float = 1.0) -> list[Alert]:
    watch, messages, t = CameraAlert("gate", "yard"), [], 0.0
    for state, count in states:
        for _ in range(count):
            messages += watch.observe(status(state), time_at(t))
            t += each_s
    return messages


def test_a_camera_that_is_away_raises_one_alert_and_ends_it_when_it_is_back() -> None:
    new, end = told_of_camera(("live", 5), ("stale", 3), ("offline", 40), ("connecting", 5), ("live", 30))
    assert (new.event, new.kind, new.rule, new.zone, new.evidence) == ("new", "camera", "camera", None, None)
    assert (new.began_at_s, new.at_s) == (EPOCH + 5, EPOCH + 35)
    assert (end.event, end.ended_at_s, end.at_s) == ("end", EPOCH + 53, EPOCH + 63)
    assert (end.id, end.seq, end.end_reason) == (new.id, 1, "cleared")


@pytest.mark.parametrize("state", ["frozen", "dark", "blurred", "covered", "moved", "disabled"])
def test_a_camera_that_shows_something_or_is_off_on_purpose_is_not_away(
    state: Literal["frozen", "dark", "blurred", "covered", "moved", "disabled"],
) -> None:
    assert told_of_camera((state, 100)) == []


def test_a_short_absence_is_no_alert_and_a_short_return_no_end() -> None:
    assert told_of_camera(("live", 5), ("offline", 29), ("live", 5), ("offline", 29), ("live", 1)) == []
    assert [m.event for m in told_of_camera(("offline", 40), ("live", 9), ("offline", 40))] == ["new"]


def test_a_camera_dwell_starts_again_where_time_went_back() -> None:
    watch = CameraAlert("gate", "yard")
    times = (100.0, 120.0, 0.0, 29.0, 30.0)
    told = [watch.observe(status("offline"), time_at(t)) for t in times]
    assert [len(messages) for messages in told] == [0, 0, 0, 0, 1]


def test_a_camera_that_never_came_is_away() -> None:
    assert [message.at_s for message in told_of_camera(("connecting", 60))] == [EPOCH + 30]


def test_disabling_a_camera_ends_its_alert_at_once() -> None:
    assert [message.event for message in told_of_camera(("offline", 40), ("disabled", 1))] == ["new", "end"]


def test_a_retired_camera_ends_its_alert() -> None:
    watch = CameraAlert("gate", "yard")
    for t in (0.0, 31.0):
        watch.observe(status("offline"), time_at(t))
    assert [(end.event, end.end_reason) for end in watch.retire(time_at(32.0))] == [("end", "config")]
    assert watch.retire(time_at(33.0)) == []
