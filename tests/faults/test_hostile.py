"""Files that crash decoders: their camera process may die, and nobody else notices."""

from __future__ import annotations

import signal
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgeseg.tools.soak.alert_audit import audit
from edgeseg.tools.soak.process_resources import ProcessResources, cameras, peak_memory_mib
from tests.conftest import test_data
from tests.faults.clips import blinking_clip
from tests.faults.conftest import Note
from tests.faults.hostile import Hostile, hostile_files
from tests.faults.ledger import Row
from tests.faults.scene import Scene, pause
from tests.support.broker import wait_until
from tests.support.rtsp_fixtures import RtspServer

SEED = 5
AT_ONCE = 10
# A clip of a second and a start on a busy machine; a decoder that hangs is killed after 20 s.
OVER_WITHIN_S = 60.0
# The daemon itself decodes nothing.
DAEMON_MOST_MIB = 700.0


@pytest.mark.parametrize("count", [300])
@pytest.mark.timeout(1800)
def test_hostile_files(tmp_path: Path, note: Note, count: int) -> None:
    files = hostile_files(tmp_path, count, SEED)
    known = test_data() / "hostile" / "heap_corrupting.avi"
    if known.exists():
        files.insert(0, Hostile(known.name, known.read_bytes()))
    for file in files:
        (tmp_path / file.name).write_bytes(file.content)
    with ExitStack() as stack:
        server = stack.enter_context(RtspServer(blinking_clip(tmp_path / "blink.mp4")))
        scene = stack.enter_context(Scene(tmp_path, {"other": server.url}))
        pause(2.0)
        before, before_fps = ProcessResources.of(scene.pid), scene.fps("other", 10.0)
        began_s = time.monotonic()
        ends: Counter[str] = Counter()
        largest_mib = 0.0
        for start in range(0, len(files), AT_ONCE):
            batch = {f"c{start + i}": file.name for i, file in enumerate(files[start : start + AT_ONCE])}
            reasons, mib = watch(scene, {"other": server.url} | batch, list(batch))
            ends.update(reasons)
            largest_mib = max(largest_mib, mib)
        took_s = time.monotonic() - began_s
        unwell = [
            one.payload
            for one in scene.watcher.since(began_s, "/other/status")
            if one.payload["state"] != "live"
        ]
        scene.write_pipeline()
        scene.daemon.process.send_signal(signal.SIGHUP)
        after_fps = scene.fps("other", 10.0)
        found = audit(scene.watcher.alerts)
        leaks = scene.leaks(before)
        daemon_mib = peak_memory_mib(scene.pid)
        told = ", ".join(f"{reason} {number}" for reason, number in ends.most_common())
        sizes = f"largest camera process {largest_mib:.0f} MiB, daemon {daemon_mib:.0f} MiB"
        what = f"{told}; {sizes}; {took_s:.0f} s"
        fault = f"{len(files)} clips and pictures"
        note(Row("hostile", fault, None, None, found.lost, found.unmarked, leaks, what))
        assert scene.daemon.process.poll() is None
        assert "Traceback" not in scene.daemon.log
        assert not unwell
        assert found.clean
        assert leaks == 0
        assert daemon_mib < DAEMON_MOST_MIB
        assert after_fps == pytest.approx(before_fps, rel=0.05)


def watch(scene: Scene, everyone: dict[str, str], batch: list[str]) -> tuple[list[str], float]:
    """Let the daemon watch these until each has ended. Returns their reasons, and the largest resident
    memory of a camera process."""
    scene.write_pipeline(everyone)
    at_s = time.monotonic()
    scene.daemon.process.send_signal(signal.SIGHUP)
    largest_mib = 0.0

    def over() -> list[str]:
        nonlocal largest_mib
        assert scene.daemon.process.poll() is None, scene.daemon.log
        largest_mib = max([largest_mib, *map(peak_memory_mib, cameras(scene.pid))])
        reasons = []
        for name in batch:
            told = [one.payload for one in scene.watcher.since(at_s, f"/{name}/status")]
            reasons += [status["reason"] for status in told[-1:] if status["state"] == "offline"]
        return reasons if len(reasons) == len(batch) else []

    return wait_until(over, f"{batch} have ended", deadline_s=OVER_WITHIN_S), largest_mib
