"""Rate-limited log: logs a repeated warning once a second at most, with a count."""

from __future__ import annotations

import logging
import threading

from edgeseg.clock import Clock

MOST_KINDS = 256


class RateLimitedLog:
    """Warnings of one kind at most every ``every_s`` seconds, with the count of those in between.

    ``kind`` may hold what came from outside, such as a topic: only the newest MOST_KINDS are remembered.
    Thread-safe.
    """

    def __init__(self, log: logging.Logger, clock: Clock, *, every_s: float = 1.0) -> None:
        self._log = log
        self._clock = clock
        self._every_s = every_s
        self._lock = threading.Lock()
        self._said_s: dict[str, float] = {}
        self._swallowed: dict[str, int] = {}

    def warning(self, kind: str, text: str) -> None:
        with self._lock:
            now_s = self._clock.monotonic_s()
            if kind in self._said_s and now_s - self._said_s[kind] < self._every_s:
                self._swallowed[kind] = self._swallowed.get(kind, 0) + 1
                return
            more = self._swallowed.pop(kind, 0)
            # Taken out first, so that the dictionary is in the order of the last time.
            self._said_s.pop(kind, None)
            self._said_s[kind] = now_s
            if len(self._said_s) > MOST_KINDS:
                oldest = next(iter(self._said_s))
                del self._said_s[oldest]
                self._swallowed.pop(oldest, None)
        self._log.warning("%s%s", text, f" (and {more} more like it)" if more else "")

    def forget(self) -> None:
        """The next warning of any kind is said at once: the matter was settled in between."""
        with self._lock:
            self._said_s.clear()
            self._swallowed.clear()
