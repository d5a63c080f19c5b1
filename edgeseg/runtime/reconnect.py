"""Reconnect policy: exponential backoff with jitter, cut short when the camera answers again."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator

from edgeseg.capture.reachability import answers
from edgeseg.clock import Clock
from edgeseg.errors import SourceError

# A connection that worked this long was good: after it the pauses begin anew.
GOOD_AFTER_S = 30.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
# Keeps cameras that lost one switch apart.
_JITTER_S = 2.0
# Many cameras lock an account after some wrong passwords; only a person can correct it.
_AFTER_REFUSED_LOGIN_S = 60.0
# How often a camera that was off is probed within a pause: it should be seen within 3 s of its return.
_PROBE_EVERY_S = 1.0


def backoff() -> Iterator[float]:
    """Yield the pauses between attempts in seconds, without end: 1, 2, 4 ... 30, each up to 2 s longer."""
    pause_s = _FIRST_PAUSE_S
    while True:
        yield pause_s + random.uniform(0.0, _JITTER_S)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def reconnect(
    connect: Callable[[], bool],
    url: str,
    stop: threading.Event,
    clock: Clock,
    *,
    on_wait: Callable[[], None] = lambda: None,
    pauses: Callable[[], Iterator[float]] = backoff,
) -> None:
    """Call ``connect`` again and again until ``stop`` is set or it returns False.

    The pauses begin anew after a good connection, and when a camera that was off answers again: it may still
    be starting.

    Args:
        connect: runs one connection from opening to its end. It returns True after a good one, which is tried
            again at once, and raises SourceError where a pause should follow.
        url: the source; a network camera that was off is probed during a pause.
        on_wait: called about once a second during a pause.
        pauses: makes the series of pauses, in seconds.
    """
    while not stop.is_set():
        for pause_s in pauses():
            try:
                if not connect():
                    return
                break
            except SourceError as error:
                refused_login = error.reason == "auth"
            if stop.is_set():
                return
            at_least_s = _AFTER_REFUSED_LOGIN_S if refused_login else 0.0
            if _pause(max(pause_s, at_least_s), url, stop, clock, on_wait) or stop.is_set():
                break


def _pause(
    pause_s: float, url: str, stop: threading.Event, clock: Clock, on_wait: Callable[[], None]
) -> bool:
    """Wait. Returns whether the pause was cut short because the camera answers again."""
    until_s = clock.monotonic_s() + pause_s
    was_off = answers(url) is False
    while (left_s := until_s - clock.monotonic_s()) > 0:
        on_wait()
        if stop.wait(min(left_s, _PROBE_EVERY_S)):
            return False
        if was_off and answers(url):
            return True
    return False
