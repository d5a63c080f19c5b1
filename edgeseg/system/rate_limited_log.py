"""Rate-limited log: logs a repeated warning once a second at most, with a count."""

from __future__ import annotations

import logging
import threading

from edgeseg.clock import Clock

MOST_KINDS = 256


class RateLimitedLog:
    """Warnings of one kind at most every ``every_s`` seconds, with the count of those in between.

    ``kind`` may hold what came from outside, such as a topic: only the newest MOST_KINDS are kept.
    Thread-safe.
    """

    def __init__(self, log: logging.Logger, clock: Clock, *, every_s: float = 1.0) -> None:
        self._log = log
        self._clock = clock
        self._every_s = every_s
        self._lock = threading.Lock()
        self._logged_s: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def warning(self, kind: str, text: str) -> None:
        """Log ``text``, or count it where one of this kind was logged just now."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            if kind in self._logged_s and now_s - self._logged_s[kind] < self._every_s:
                self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
                return
            more = self._suppressed.pop(kind, 0)
            # Taken out first, so that the dictionary is in the order of the last time.
            self._logged_s.pop(kind, None)
            self._logged_s[kind] = now_s
            if len(self._logged_s) > MOST_KINDS:
                oldest = next(iter(self._logged_s))
                del self._logged_s[oldest]
                self._suppressed.pop(oldest, None)
        self._log.warning("%s%s", text, f" (and {more} more like it)" if more else "")

    def reset(self) -> None:
        """Log the next warning of any kind at once: the problem was over in between."""
        with self._lock:
            self._logged_s.clear()
            self._suppressed.clear()
