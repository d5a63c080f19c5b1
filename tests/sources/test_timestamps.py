"""Clocks that jump, stop, run away or wrap: durations stay right, reports stay UTC."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgeseg.clock import ManualClock, SystemClock, boot_id, is_synchronised, iso_utc, parse_utc
from edgeseg.rules.state_machine import TOLERANCE_S
from edgeseg.sources.timestamps import ArrivalTimes, ClipTimes
from tests.support.rules_fixtures import OCCUPIED, Played

NOON_S = 1_795_000_000.0
HOUR_S = 3600.0
MPEG_WRAP_S = 2**33 / 90_000


def test_the_clock_counts_suspended_time_and_says_which_start_of_the_machine_it_counts_from() -> None:
    now_s = SystemClock().monotonic_s()
    assert abs(now_s - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5
    assert len(boot_id()) in (0, 36)
    assert is_synchronised() in (True, False, None)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T08:15:30.250Z",
        "2026-11-22t08:15:30.25z",
        "2026-11-22T09:15:30.250+01:00",
        "2026-11-22 08:15:30.250",
    ],
)
def test_a_time_is_utc_where_it_has_no_offset(text: str) -> None:
    assert iso_utc(parse_utc(text)) == "2026-11-22T08:15:30.250Z"


@pytest.mark.parametrize("text", ["", "noon", "2026-11-22T25:00Z"])
def test_text_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_utc(text)


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S, 10 * 365 * 86_400.0])
def test_utc_that_is_set_moves_reports_and_no_duration(jump_s: float) -> None:
    """NTP sets the clock while a condition holds, and again while it clears."""
    played = Played(OCCUPIED, [])
    for number in range(100):
        t = number * 0.1
        # Held from 1 s to 6 s; for 2 s, clear 3 s.
        offset_s = 0.0 if t < 2.0 else jump_s if t < 7.0 else 2 * jump_s
        played.feed([(t, 0.9 if 1.0 <= t < 6.0 else 0.0)], offset_s)
    told = [(alert.event, round(alert.at_s - 1_800_000_000.0, 6)) for alert in played.alerts]
    assert told == [("new", 3.0 + jump_s), ("end", 9.0 + 2 * jump_s)]


anything = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False, width=32))


@given(st.lists(st.tuples(anything, anything, st.floats(0.0, 60.0)), max_size=50))
def test_what_a_camera_says_of_the_time_is_never_believed(
    pictures: list[tuple[float | None, float | None, float]],
) -> None:
    """A clock that runs away, stands still, wraps or goes back: camera time is when pictures arrive."""
    clock = ManualClock(utc_s=NOON_S, monotonic_s=100.0)
    times = ArrivalTimes(clock)
    before_s = None
    for pts_s, sender_utc_s, later_s in pictures:
        clock.advance(later_s)
        time_ = times.stamp(pts_s, sender_utc_s)
        assert time_.camera_time_s == pytest.approx(clock.monotonic_s(), abs=1e-3)
        assert time_.captured_at_s == clock.utc_s()
        assert before_s is None or time_.camera_time_s > before_s
        before_s = time_.camera_time_s


def wrap(at: int) -> Callable[[int, float], float | None]:
    return lambda number, pts_s: pts_s if number < at else pts_s - MPEG_WRAP_S


def leap(at: int, by_s: float) -> Callable[[int, float], float | None]:
    return lambda number, pts_s: pts_s if number < at else pts_s + by_s


def repeat(at: int, times: int) -> Callable[[int, float], float | None]:
    return lambda number, pts_s: pts_s - (number - at) * 0.2 if at <= number < at + times else pts_s


def lose(at: int, times: int) -> Callable[[int, float], float | None]:
    return lambda number, pts_s: None if at <= number < at + times else pts_s


number = st.integers(0, 99)
leaps = st.one_of(st.floats(-1e6, -10.0), st.floats(2 * HOUR_S, 1e6))
spoilt = st.lists(
    st.one_of(
        st.builds(wrap, number),
        st.builds(leap, number, leaps),
        st.builds(repeat, number, st.integers(1, 5)),
        st.builds(lose, number, st.integers(1, 5)),
    ),
    max_size=3,
)


@given(spoilt, st.floats(0.0, MPEG_WRAP_S))
def test_timestamps_that_wrap_leap_repeat_or_are_missing_do_not_change_durations(
    faults: list[Callable[[int, float], float | None]], zero_s: float
) -> None:
    """A clip of 5 pictures a second that declares 25: what is guessed differs from what is true."""
    times = ClipTimes(25.0, epoch_s=NOON_S)
    given_s: list[float | None] = []
    for index in range(100):
        pts_s: float | None = zero_s + index * 0.2
        for fault in faults:
            pts_s = None if pts_s is None else fault(index, pts_s)
        given_s.append(pts_s)
    # Two leaps at one picture are one leap. Where that one is small it is a gap, as the next test has it.
    known_s = [pts_s for pts_s in given_s if pts_s is not None]
    assume(not any(10.0 < two_s - one_s < HOUR_S for one_s, two_s in pairwise(known_s)))
    stamps = [times.stamp(pts_s, None) for pts_s in given_s]
    assert all(one.camera_time_s < two.camera_time_s for one, two in pairwise(stamps))
    assert all(stamp.captured_at_s == NOON_S + stamp.camera_time_s for stamp in stamps)
    # Each fault costs at most the interval it falls into; what is missing at the ends is not known at all.
    lasted_s = stamps[-1].camera_time_s - stamps[0].camera_time_s
    assert abs(lasted_s - 99 * 0.2) <= 0.2 * sum(6 for _ in faults) + TOLERANCE_S


@given(number, st.floats(0.0, 0.99 * HOUR_S))
def test_a_gap_of_a_recording_lasts_as_long_as_it_says(at: int, gap_s: float) -> None:
    """A recorder that keeps only what moves leaves out minutes; up to an hour they are believed."""
    times = ClipTimes(5.0, epoch_s=NOON_S)
    stamps = [times.stamp(leap(at, gap_s)(index, index * 0.2), None) for index in range(100)]
    lasted_s = stamps[-1].camera_time_s - stamps[0].camera_time_s
    assert lasted_s == pytest.approx(99 * 0.2 + (gap_s if at else 0.0), abs=1e-3)
