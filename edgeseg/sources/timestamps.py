"""Timestamps: camera time of pictures, which only ever increases."""

from __future__ import annotations

from edgeseg.clock import Clock
from edgeseg.frames import FrameTime

# Two pictures of one burst may leave the decoder within the clock's resolution.
_LEAST_STEP_S = 1e-6
# Pictures that come in another order than they are shown in are not further apart. What goes back by more is
# another timeline: a counter that wrapped (MPEG-TS: after 26.5 h), recordings joined together.
_DISORDER_S = 1.0
# So is what goes ahead by more: no recording has such a gap, and a replay would wait for its other side. A
# leap of less cannot be distinguished from a gap that a recorder left, which records only motion.
_LEAP_S = 3600.0


class ArrivalTimes:
    """A live source: when the picture arrived. The camera's own clock is reported, never used."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_s: float | None = None

    def stamp(self, pts_s: float | None, sender_utc_s: float | None, late_s: float = 0.0) -> FrameTime:
        """late_s: how long ago it arrived."""
        now_s = self._clock.monotonic_s() - late_s
        if self._last_s is not None:
            now_s = max(now_s, self._last_s + _LEAST_STEP_S)
        self._last_s = now_s
        return FrameTime(now_s, self._clock.utc_s() - late_s, pts_s, sender_utc_s)


class ClipTimes:
    """A clip: presentation time from 0. Where that is missing, does not advance or leaps, one picture
    interval after the picture before; after a leap it goes on from there."""

    def __init__(self, rate_fps: float, epoch_s: float) -> None:
        self._step_s = 1 / rate_fps
        self._epoch_s = epoch_s
        self._zero_s: float | None = None
        self._last_s: float | None = None

    def stamp(self, pts_s: float | None, sender_utc_s: float | None, late_s: float = 0.0) -> FrameTime:
        """late_s: of no meaning in a clip."""
        expected_s = 0.0 if self._last_s is None else self._last_s + self._step_s
        if pts_s is not None and self._zero_s is None:
            self._zero_s = pts_s - expected_s
        time_s = expected_s if pts_s is None or self._zero_s is None else pts_s - self._zero_s
        if self._last_s is not None and pts_s is not None:
            if not -_DISORDER_S < time_s - self._last_s < _LEAP_S:
                self._zero_s, time_s = pts_s - expected_s, expected_s
            elif time_s <= self._last_s:
                time_s = expected_s
        self._last_s = time_s
        return FrameTime(time_s, self._epoch_s + time_s, pts_s, sender_utc_s)
