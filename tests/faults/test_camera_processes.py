"""Whatever the process does that reads a camera, it is ended and started anew."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgeseg.clock import parse_utc
from edgeseg.tools.soak.alert_audit import audit
from edgeseg.tools.soak.process_resources import connected_to, parent
from tests.faults.conftest import Note
from tests.faults.pair import BACK_WITHIN_S, GOP_S, NOTICED_WITHIN_S, Pair
from tests.faults.scene import pause
from tests.support.broker import wait_until
from tests.support.rtsp_fixtures import RtspServer

pytestmark = pytest.mark.timeout(300)


def capture_process(pair: Pair, port: int) -> Callable[[], int]:
    return lambda: wait_until(lambda: connected_to(pair.scene.pid, port), "a camera process")


def test_its_process_is_frozen(stack: ExitStack, tmp_path: Path, blink: Path, note: Note) -> None:
    server = stack.enter_context(RtspServer(blink))
    pair = Pair(stack, tmp_path, server.url, blink)
    os.kill(capture_process(pair, server.port)(), signal.SIGSTOP)
    at_s = time.monotonic()
    noticed_s = pair.scene.until_not_live("faulty", at_s)
    recovered_s = pair.scene.until_results("faulty", at_s + noticed_s)
    row = pair.row("its process hangs (SIGSTOP)", noticed_s, recovered_s, pair.reason())
    note(row)
    pair.check(row)
    assert noticed_s < NOTICED_WITHIN_S
    # It is killed 10 s after its last sign of life.
    assert recovered_s < 12.0


def test_crash_loop(stack: ExitStack, tmp_path: Path, blink: Path, note: Note) -> None:
    """Its process dies again and again; the other camera keeps its rate."""
    server = stack.enter_context(RtspServer(blink))
    pair = Pair(stack, tmp_path, server.url, blink)
    seconds = 40.0
    before_fps = pair.scene.fps("other", seconds)
    began_s = pair.began_s = time.monotonic()
    crashes = 0
    numbers = random.Random(3)
    while time.monotonic() < began_s + seconds:
        victim = connected_to(pair.scene.pid, server.port)
        if victim is not None:
            os.kill(victim, numbers.choice((signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT)))
            crashes += 1
        pause(0.3)
    ended_s = time.monotonic()
    taken = [
        one.payload["captured_at"] for one in pair.scene.watcher.since(began_s, "/other/zone/right/occupancy")
    ]
    during_fps = rate_of(taken)
    noticed_s = pair.scene.until_not_live("faulty", began_s)
    recovered_s = pair.scene.until_results("faulty", ended_s)
    what = f"{crashes} crashes; the other camera: {before_fps:.2f} results a second before, {during_fps:.2f}"
    row = pair.row(f"crash loop for {seconds:g} s", noticed_s, recovered_s, what)
    note(row)
    pair.check(row)
    assert crashes >= 2
    assert during_fps == pytest.approx(before_fps, rel=0.05)


def test_the_fork_server_is_killed(stack: ExitStack, tmp_path: Path, blink: Path, note: Note) -> None:
    """All camera processes come from it, and their ends are told by it: all are started anew."""
    server = stack.enter_context(RtspServer(blink))
    pair = Pair(stack, tmp_path, server.url, blink)
    at_s = time.monotonic()
    os.kill(parent(capture_process(pair, server.port)()), signal.SIGKILL)
    noticed_s = max(pair.scene.until_not_live(name, at_s) for name in ("faulty", "other"))
    recovered_s = max(pair.scene.until_results(name, at_s + noticed_s) for name in ("faulty", "other"))
    row = pair.row("the fork server of all cameras killed", noticed_s, recovered_s, pair.reason())
    note(row)
    assert audit(pair.scene.watcher.alerts).clean
    assert row.leaks == 0
    assert noticed_s < NOTICED_WITHIN_S
    # Until a new one has loaded its libraries, and a pause of about 1 s before.
    assert recovered_s < BACK_WITHIN_S + GOP_S + 2.0


def rate_of(times: list[str]) -> float:
    return (len(times) - 1) / (parse_utc(times[-1]) - parse_utc(times[0]))
