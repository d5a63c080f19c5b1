"""The daemon's clock jumps (libfaketime): no duration changes, nobody is taken for stale, nothing expires.

Camera processes inherit no LD_PRELOAD, so their clocks stay: the two disagree from then on, which is worse
than what a machine does whose clock is set.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgeseg.clock import parse_utc
from edgeseg.tools.soak.alert_audit import audit
from edgeseg.tools.soak.process_resources import ProcessResources
from tests.conftest import missing
from tests.faults.clips import BLINK_S, blinking_clip
from tests.faults.conftest import Note
from tests.faults.ledger import Row
from tests.faults.scene import Scene, pause
from tests.support.rtsp_fixtures import RtspServer

pytestmark = pytest.mark.timeout(300)


def libfaketime() -> Path:
    folders = [Path("/usr/lib"), *Path("/usr/lib").glob("*-linux-gnu*")]
    for folder in folders:
        if (library := folder / "faketime" / "libfaketimeMT.so.1").exists():
            return library
    missing("libfaketime (Debian: faketime)")
    raise AssertionError("unreachable")


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, 10 * 365 * 86_400.0], ids=["hour", "back", "decade"])
def test_jumps(stack: ExitStack, tmp_path: Path, note: Note, jump_s: float) -> None:
    offset = tmp_path / "offset"
    offset.write_text("+0\n")
    environment = {
        "LD_PRELOAD": str(libfaketime()),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",
        # As on a real machine: only the wall clock jumps.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    camera = stack.enter_context(RtspServer(blinking_clip(tmp_path / "blink.mp4")))
    scene = stack.enter_context(Scene(tmp_path, {"yard": camera.url}, environment=environment))
    scene.until_alert(time.monotonic())
    before = ProcessResources.of(scene.pid)
    pause(4.0)
    at_s = time.monotonic()
    offset.write_text(f"{jump_s:+.0f}\n")
    pause(10.0)
    ended = [one for one in scene.watcher.since(at_s + 3.0, "/alert") if one.payload["event"] == "end"]
    began = [one for one in scene.watcher.since(at_s, "/alert") if one.payload["event"] == "new"]
    # Counted by the watcher's clock: each blink once, as if nothing had happened.
    expected = 10.0 / BLINK_S
    found = audit(scene.watcher.alerts)
    leaks = scene.leaks(before)
    what = f"{len(began)} alerts in 10 s, expected {expected:g}"
    years = abs(jump_s) / (365 * 86_400)
    length = f"{years:.0f} years" if years >= 1 else f"{abs(jump_s) / 3600:g} h"
    fault = f"jumps {'forward' if jump_s > 0 else 'back'} by {length}"
    note(Row("clock", fault, None, None, found.lost, found.unmarked, leaks, what))
    assert found.clean
    assert abs(len(began) - expected) <= 2
    lasted = [parse_utc(one.payload["ended_at"]) - parse_utc(one.payload["began_at"]) for one in ended]
    assert ended
    assert all(abs(length_s - BLINK_S / 2) < 0.9 for length_s in lasted)
    unwell = [one for one in scene.watcher.since(at_s, "/yard/status") if one.payload["state"] != "live"]
    assert not unwell
    # Ages are told by both clocks: the daemon's did jump.
    ages_s = [one.payload["age_ms"] / 1000 for one in scene.watcher.since(at_s + 3.0, "/occupancy")]
    assert all(abs(age_s - max(0.0, jump_s)) < 3.0 for age_s in ages_s)
    assert leaks == 0
