"""Occupancy over time: what a minute was like, over restarts, within bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseg.clock import ManualClock
from edgeseg.events import ZoneOccupancy
from edgeseg.frames import FrameTime
from edgeseg.state import history as module
from edgeseg.state.database import Database
from edgeseg.state.history import History, StepKey, ZoneStep
from edgeseg.web.history_recorder import HistoryRecorder

NOON_S = 1_795_348_800


def seen(at_s: float, coverage: dict[str, float] | None, reason: str | None = None) -> ZoneOccupancy:
    return ZoneOccupancy(
        camera="yard",
        zone="bay",
        seq=1,
        time=FrameTime(at_s, NOON_S + at_s),
        state="unknown" if coverage is None else "ok",
        reason=reason,
        coverage=coverage,
        uncertain=None,
        dominant=None if coverage is None else max(coverage, key=lambda name: coverage[name]),
        confidence=None,
        model="m",
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(utc_s=NOON_S)


@pytest.fixture
def chronicle(clock: ManualClock) -> HistoryRecorder:
    database = Database(None, clock)
    database.open()
    return HistoryRecorder(History(database), clock)


def steps(one: HistoryRecorder, resolution: module.Resolution = "1m") -> list[tuple[int, ZoneStep]]:
    found = one.history.steps("yard", "bay", resolution, 0, NOON_S + 1e7)
    return [(at_s - NOON_S, step) for at_s, step in found]


def test_a_value_holds_until_the_next_one(chronicle: HistoryRecorder, clock: ManualClock) -> None:
    chronicle.send(seen(0, {"road": 1.0}))
    chronicle.send(seen(6, {"road": 0.6, "car": 0.4}))
    chronicle.send(seen(9, {"road": 1.0, "car": 0.0}))
    # Nobody watched for longer than a value holds.
    chronicle.send(seen(40, {"road": 1.0, "car": 0.0}))
    clock.advance(60)
    chronicle.store()
    ((at_s, step),) = steps(chronicle)
    assert (at_s, step.known_s, step.unknown_s) == (0, 19.0, 0.0)
    car, road = step.classes["car"], step.classes["road"]
    assert (car.least, car.most, car.occupied_s) == (0.0, 0.4, 3.0)
    assert car.area_s / step.known_s == pytest.approx(0.4 * 3 / 19)
    assert (road.least, road.most, road.occupied_s) == (0.6, 1.0, 19.0)


def test_minutes_and_quarters(chronicle: HistoryRecorder, clock: ManualClock) -> None:
    for second in range(0, 1801, 5):
        clock.set(second, NOON_S + second)
        chronicle.send(seen(second, {"car": 0.5 if second < 900 else 0.0}))
        chronicle.store()
    clock.advance(60)
    chronicle.store()
    minutes, quarters = steps(chronicle), steps(chronicle, "15m")
    assert [at_s for at_s, _ in minutes] == list(range(0, 1800, 60))
    assert [(at_s, step.known_s, step.classes["car"].occupied_s) for at_s, step in quarters] == [
        (0, 900.0, 900.0),
        (900, 900.0, 0.0),
    ]


def test_unknown_time_counts_although_it_is_told_once(chronicle: HistoryRecorder, clock: ManualClock) -> None:
    chronicle.send(seen(0, {"car": 0.5}))
    chronicle.send(seen(5, None, "offline"))
    for _ in range(6):
        clock.advance(10)
        chronicle.store()
    chronicle.send(seen(70, {"car": 0.5}))
    clock.advance(60)
    chronicle.store()
    assert [(at_s, step.known_s, step.unknown_s) for at_s, step in steps(chronicle)] == [
        (0, 5.0, 55.0),
        (60, 0.0, 10.0),
    ]


def test_parts_of_a_minute_from_two_lives_add_up(tmp_path: Path) -> None:
    clock = ManualClock(utc_s=NOON_S)
    for began_s, share in ((0, 0.2), (30, 0.6)):
        database = Database(tmp_path / "state.sqlite", clock)
        database.open()
        with HistoryRecorder(History(database), clock) as one:
            one.send(seen(began_s, {"car": share}))
            one.send(seen(began_s + 10, {"car": share}))
        ((_, step),) = steps(one)
        database.close()
    car = step.classes["car"]
    assert (step.known_s, car.least, car.most) == (20.0, 0.2, 0.6)
    assert car.area_s / step.known_s == pytest.approx(0.4)


def test_it_is_bounded(clock: ManualClock) -> None:
    database = Database(None, clock)
    database.open()
    history = History(database, most_steps=50)
    for minute in range(0, 91):
        history.add({StepKey("yard", "bay", NOON_S + 60 * minute): ZoneStep(known_s=60.0)})
    ((rows,),) = database.read("SELECT count(*) FROM history")
    assert rows <= 51
    assert history.steps("yard", "bay", "1m", NOON_S + 90 * 60, NOON_S + 91 * 60)
    for number in range(module.MOST_ALERTS + 5):
        history.note_alert(f"{number % (module.MOST_ALERTS + 3)}", "yard", f"{number}")
    kept = history.alerts(10_000)
    assert len(kept) == module.MOST_ALERTS
    assert kept[0] == str(module.MOST_ALERTS + 4)


def test_a_damaged_value_is_a_gap(clock: ManualClock) -> None:
    database = Database(None, clock)
    database.open()
    row = ("1m", "yard", "bay", NOON_S, "[1,2")
    database.write(lambda execute: execute("INSERT INTO history VALUES (?, ?, ?, ?, ?)", row) and None)
    assert History(database).steps("yard", "bay", "1m", 0, NOON_S + 60) == []


def test_the_record_is_about_one_observation_a_second_for_an_hour(chronicle: HistoryRecorder) -> None:
    for tick in range(0, 5 * 4000):
        chronicle.send(seen(tick / 5, {"road": 0.75, "car": 0.25}))
    chronicle.send(seen(4000.1, None, "stale"))
    recorded = chronicle.recorded("yard", "bay", "m")
    assert 3599 <= len(recorded) <= 3602
    assert recorded[0].coverage == {"road": 0.75, "car": 0.25}
    assert (recorded[-1].state, recorded[-1].reason, recorded[-1].coverage) == ("unknown", "stale", None)
    chronicle.forget("yard", ["bay"])
    assert chronicle.recorded("yard", "bay", "m") == []
