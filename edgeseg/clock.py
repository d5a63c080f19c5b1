"""Clock: the only place that reads the time. Durations use monotonic time, reports use UTC."""

from __future__ import annotations

import ctypes
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# systemd-timesyncd(8) makes this file once it has set the clock since the machine's start.
_SYNCHRONISED = Path("/run/systemd/timesync/synchronized")
# adjtimex(2): the clock is not synchronised.
_TIME_ERROR = 5


class Clock(Protocol):
    """Two readings of now."""

    def monotonic_s(self) -> float:
        """Seconds that never jump; the zero is arbitrary."""

    def utc_s(self) -> float:
        """Seconds since the Unix epoch, UTC; may jump when the system clock is set."""


class SystemClock:
    """The machine's own clocks. The time for which it was suspended counts."""

    def monotonic_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def utc_s(self) -> float:
        return time.time()


class ManualClock:
    """A clock that is moved by hand: for replays, where camera time is the clock, and for tests."""

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


def awake_s() -> float:
    """Return seconds without those of suspension, from an arbitrary zero: systemd's CLOCK_MONOTONIC."""
    return time.monotonic()


def boot_id() -> str:
    """Return the name of this start of the machine, empty where the kernel has none (random(4)).

    The monotonic clocks of two processes compare only where it is the same.
    """
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def is_synchronised() -> bool | None:
    """Return whether the machine's UTC was set by a time service; None where that cannot be known."""
    if _SYNCHRONISED.exists():
        return True
    # struct timex is 208 bytes; all zero only asks.
    answer = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(256))
    # A service with ProtectClock=yes may not ask.
    return None if answer < 0 else answer != _TIME_ERROR


def cpu_s() -> float:
    """Return the seconds of CPU time that this process has used, all its threads together."""
    return time.process_time()


def iso_utc(utc_s: float) -> str:
    """Return a time in RFC 3339 with milliseconds, such as ``2026-11-22T08:15:30.250Z``."""
    moment = datetime.fromtimestamp(round(utc_s, 3), tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_utc(text: str) -> float:
    """Return the Unix seconds of an RFC 3339 or ISO 8601 time, which is UTC where it has no offset.

    Raises ValueError.
    """
    moment = datetime.fromisoformat(text.replace("z", "Z"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
