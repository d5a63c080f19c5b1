"""A name server that never answers holds up the camera that needs it, and nothing else."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgeseg.tools.soak.alert_audit import audit
from edgeseg.tools.soak.process_resources import ProcessResources
from tests.faults.clips import blinking_clip
from tests.faults.conftest import Note
from tests.faults.ledger import Row
from tests.faults.places import resolver_of
from tests.faults.resolver import Resolver
from tests.faults.scene import Scene, pause
from tests.support.rtsp_fixtures import RtspServer

pytestmark = pytest.mark.timeout(300)
ADDRESS = "127.0.0.77"


def test_a_resolver_that_falls_silent(stack: ExitStack, tmp_path: Path, note: Note) -> None:
    resolver = stack.enter_context(Resolver(ADDRESS))
    clip = blinking_clip(tmp_path / "blink.mp4")
    servers = [stack.enter_context(RtspServer(clip)) for _ in range(2)]
    cameras = {"faulty": f"rtsp://camera.test:{servers[0].port}/stream", "other": servers[1].url}
    scene = stack.enter_context(Scene(tmp_path, cameras, prefix=resolver_of(tmp_path, ADDRESS)))
    before, before_fps = ProcessResources.of(scene.pid), scene.fps("other", 10.0)
    assert resolver.asked
    resolver.answers = False
    servers[0].kill()
    at_s = time.monotonic()
    noticed_s = scene.until_not_live("faulty", at_s)
    stack.enter_context(RtspServer(clip, port=servers[0].port))
    pause(25.0)
    during_fps = scene.fps("other", 10.0)
    told = [one.payload for one in scene.watcher.since(at_s, "/faulty/status")]
    resolver.answers = True
    recovered_s = scene.until_results("faulty", time.monotonic(), within_s=90.0)
    found = audit(scene.watcher.alerts)
    reasons = ", then ".join(dict.fromkeys(one["reason"] for one in told if one["reason"]))
    what = f"offline ({reasons}); the other camera: {before_fps:.2f} results a second, {during_fps:.2f}"
    row = Row(
        "camera",
        "resolver never answers for 35 s",
        noticed_s,
        recovered_s,
        found.lost,
        found.unmarked,
        scene.leaks(before),
        what,
    )
    note(row)
    assert found.clean
    assert row.leaks == 0
    assert during_fps == pytest.approx(before_fps, rel=0.05)


def test_it_stops_while_a_name_is_looked_up(stack: ExitStack, tmp_path: Path, note: Note) -> None:
    resolver = stack.enter_context(Resolver(ADDRESS))
    resolver.answers = False
    server = stack.enter_context(RtspServer(blinking_clip(tmp_path / "blink.mp4")))
    cameras = {"faulty": "rtsp://camera.test/stream", "other": server.url}
    prefix = resolver_of(tmp_path, ADDRESS)
    with Scene(tmp_path, cameras, prefix=prefix, wait_for=["other"]) as scene:
        pause(2.0)
        at_s = time.monotonic()
        assert scene.daemon.stop() == 0
        took_s = time.monotonic() - at_s
    note(Row("camera", "SIGTERM during a look-up", None, took_s, 0, 0, 0, "time until it had stopped"))
    assert took_s < 10.0
