"""The only place that reads a clock. Durations use monotonic time, reports use UTC."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Protocol


class Clock(Protocol):
    """Two readings of now."""

    def monotonic_s(self) -> float:
        """Seconds that never jump; the zero is arbitrary."""

    def utc_s(self) -> float:
        """Seconds since the Unix epoch, UTC; may jump when the system clock is set."""


class SystemClock:
    """The machine's own clocks."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def utc_s(self) -> float:
        return time.time()


class ManualClock:
    """A clock that moves only when told to: for replays, where camera time is the clock, and for tests."""

    def __init__(self, utc_s: float = 0.0, monotonic_s: float = 0.0) -> None:
        self._utc_s = utc_s
        self._monotonic_s = monotonic_s

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def utc_s(self) -> float:
        return self._utc_s

    def set(self, monotonic_s: float, utc_s: float) -> None:
        """Jump to these readings."""
        self._monotonic_s = monotonic_s
        self._utc_s = utc_s

    def advance(self, duration_s: float) -> None:
        """Move both readings forward by ``duration_s`` seconds."""
        self._utc_s += duration_s
        self._monotonic_s += duration_s


def cpu_s() -> float:
    """Seconds of CPU time that this process has used, all its threads together."""
    return time.process_time()


def iso_utc(utc_s: float) -> str:
    """RFC 3339 with milliseconds, e.g. ``2026-11-22T08:15:30.250Z``."""
    moment = datetime.fromtimestamp(round(utc_s, 3), tz=timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
