"""Reconnect policy: pauses grow, begin anew after a good connection, and end when stopped."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from edgeseg.clock import SystemClock
from edgeseg.errors import SourceError, SourceReason
from edgeseg.runtime.reconnect import backoff, reconnect

URL = "rtsp://camera.invalid/stream"


def no_pauses(asked: list[int]) -> Callable[[], Iterator[float]]:
    """Make series of pauses that take no time; ``asked`` holds how many each series was asked for."""

    def pauses() -> Iterator[float]:
        asked.append(0)
        while True:
            asked[-1] += 1
            yield 0.0

    return pauses


def test_pauses_double_up_to_half_a_minute_and_have_jitter() -> None:
    for _ in range(20):
        for pause_s, least_s in zip(islice(backoff(), 8), (1, 2, 4, 8, 16, 30, 30, 30), strict=True):
            assert least_s <= pause_s <= least_s + 2
    assert len({next(backoff()) for _ in range(20)}) > 1


def test_a_failure_is_followed_by_the_next_pause_a_good_connection_by_the_first() -> None:
    asked: list[int] = []
    outcomes: list[bool | SourceReason] = ["refused", "timeout", True, "ended", False]

    def connect() -> bool:
        outcome = outcomes.pop(0)
        if isinstance(outcome, bool):
            return outcome
        raise SourceError(outcome, "no picture")

    reconnect(connect, URL, threading.Event(), SystemClock(), pauses=no_pauses(asked))
    assert outcomes == []
    assert asked == [3, 2]


@pytest.mark.parametrize("reason", ["refused", "auth"])
def test_a_stop_ends_the_pause(reason: SourceReason) -> None:
    stop, waited = threading.Event(), threading.Event()
    attempts: list[int] = []

    def connect() -> bool:
        attempts.append(1)
        raise SourceError(reason, "no picture")

    def an_hour() -> Iterator[float]:
        while True:
            yield 3600.0

    arguments = (connect, URL, stop, SystemClock())
    options = {"on_wait": waited.set, "pauses": an_hour}
    thread = threading.Thread(target=reconnect, args=arguments, kwargs=options)
    thread.start()
    assert waited.wait(30)
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    assert len(attempts) == 1


def test_a_refused_login_is_not_tried_again_at_once() -> None:
    stop = threading.Event()
    attempts: list[int] = []

    def connect() -> bool:
        attempts.append(1)
        if len(attempts) > 1:
            stop.set()
        raise SourceError("auth", "refused")

    # The pause that was asked for is 0 s; on_wait is only called in a longer one.
    reconnect(connect, URL, stop, SystemClock(), on_wait=stop.set, pauses=no_pauses([]))
    assert len(attempts) == 1


def test_a_stopped_connection_is_not_followed_by_a_pause() -> None:
    stop = threading.Event()
    waits: list[int] = []

    def connect() -> bool:
        stop.set()
        raise SourceError("ended", "stopped")

    reconnect(connect, URL, stop, SystemClock(), on_wait=lambda: waits.append(1))
    assert waits == []


def test_a_camera_that_answers_again_is_tried_at_once() -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    stop = threading.Event()
    attempts: list[int] = []

    def connect() -> bool:
        attempts.append(1)
        if len(attempts) == 2:
            return False
        raise SourceError("refused", "no picture")

    def an_hour() -> Iterator[float]:
        yield 3600.0

    url = f"rtsp://127.0.0.1:{listener.getsockname()[1]}/"
    with listener:
        # A bound socket refuses connections until it listens.
        reconnect(connect, url, stop, SystemClock(), on_wait=listener.listen, pauses=an_hour)
    assert len(attempts) == 2
