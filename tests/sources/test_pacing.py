"""Which pictures are analysed, and when they were taken."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseg.clock import ManualClock
from edgeseg.sources.pacer import Pacer
from edgeseg.sources.timestamps import ArrivalTimes, ClipTimes

rates = st.floats(0.1, 60)
gaps = st.lists(st.floats(0.0005, 3.0), min_size=1, max_size=200)


def picked(rate_fps: float, times_s: list[float]) -> list[float]:
    pacer = Pacer(rate_fps)
    return [time_s for time_s in times_s if pacer.is_due(time_s)]


def running(gaps_s: list[float]) -> list[float]:
    times_s = [100.0]
    for gap_s in gaps_s:
        times_s.append(times_s[-1] + gap_s)
    return times_s


@settings(deadline=None)
@given(rates, gaps)
def test_picks_never_bunch_up(rate_fps: float, gaps_s: list[float]) -> None:
    """Two picks are half a period apart or more, less half the source's interval at the second: bursts
    after a stall give one picture."""
    times_s = running(gaps_s)
    interval_before = dict(zip(times_s[1:], gaps_s, strict=True))
    for one_s, two_s in pairwise(picked(rate_fps, times_s)):
        least_s = 0.5 / rate_fps - min(interval_before[two_s], 1 / rate_fps) / 2 - 0.001
        assert two_s - one_s >= least_s


@settings(deadline=None)
@given(st.floats(1, 60), st.floats(0.1, 60), st.integers(10, 300))
def test_a_steady_source_gives_the_rate_and_no_drift(source_fps: float, rate_fps: float, count: int) -> None:
    times_s = [index / source_fps for index in range(count)]
    picks = picked(rate_fps, times_s)
    assert picks[0] == 0.0
    if rate_fps >= source_fps:
        assert picks == times_s
        return
    assert len(picks) == pytest.approx(times_s[-1] * rate_fps + 1, abs=1.5)
    # Every pick is the picture nearest to a point of the grid that began at 0.
    for time_s in picks:
        off_s = abs(time_s - round(time_s * rate_fps) / rate_fps)
        assert off_s <= 0.5 / source_fps + 0.001


def test_ten_of_a_camera_at_thirty_is_every_third() -> None:
    times_s = [round(index / 30, 3) for index in range(30)]
    assert picked(10, times_s) == times_s[::3]


def test_jitter_does_not_cost_pictures() -> None:
    """Arrival times of a 5 fps camera, up to 60 ms late: asked for 5, all are taken."""
    late_s = (0, 0.06, 0.01, 0.05, 0, 0.03, 0.06, 0)
    times_s = [index * 0.2 + late_s[index % len(late_s)] for index in range(40)]
    assert picked(5, times_s) == times_s


def test_a_burst_after_a_stall_gives_one_picture() -> None:
    times_s = [0.0, 0.2, 0.4, 3.31, 3.32, 3.33, 3.34, 3.4, 3.6]
    assert picked(5, times_s) == [0.0, 0.2, 0.4, 3.31, 3.6]


def test_the_rate_can_change_on_the_way() -> None:
    pacer = Pacer(10)
    times_s = [index / 10 for index in range(31)]
    picks = []
    for time_s in times_s:
        if time_s == 1.0:
            pacer.set_rate(1)
        if pacer.is_due(time_s):
            picks.append(time_s)
    assert picks == [*times_s[:10], 1.9, 2.9]


@settings(deadline=None)
@given(st.lists(st.none() | st.floats(-10, 1e4), min_size=1, max_size=100), st.floats(1, 60))
def test_clip_times_increase_whatever_the_timestamps_say(
    timestamps: list[float | None], rate_fps: float
) -> None:
    times = ClipTimes(rate_fps, epoch_s=1e9)
    stamped = [times.stamp(pts_s, None) for pts_s in timestamps]
    assert stamped[0].camera_time_s == 0.0
    assert all(one.camera_time_s < two.camera_time_s for one, two in pairwise(stamped))
    assert [time.pts_s for time in stamped] == timestamps


def test_a_timestamp_that_is_missing_or_goes_back_is_one_interval_later() -> None:
    times = ClipTimes(10, epoch_s=0.0)
    given_s = [None, 7.1, 7.2, None, 7.4, 7.3, 7.6]
    expected_s = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert [times.stamp(pts_s, None).camera_time_s for pts_s in given_s] == pytest.approx(expected_s)


def test_arrival_times_increase_on_a_clock_that_stands_still() -> None:
    clock = ManualClock(utc_s=5.0, monotonic_s=1.0)
    times = ArrivalTimes(clock)
    first, second = times.stamp(9.0, 4.5), times.stamp(None, None)
    assert (first.camera_time_s, first.captured_at_s, first.pts_s, first.sender_utc_s) == (1.0, 5.0, 9.0, 4.5)
    assert 1.0 < second.camera_time_s < 1.001
