"""A pipeline file that is broken while the daemon reads it again: what runs goes on, and says why."""

from __future__ import annotations

import random
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgeseg.tools.soak.alert_audit import audit
from edgeseg.tools.soak.process_resources import ProcessResources
from tests.faults.clips import BLINK_S, blinking_clip
from tests.faults.conftest import Note
from tests.faults.ledger import Row
from tests.faults.scene import Scene
from tests.support.broker import wait_until
from tests.support.rtsp_fixtures import RtspServer


def broken(whole: bytes) -> dict[str, bytes | None]:
    """What an editor, a full disk or a person leaves behind; None: no file."""
    return {
        "cut off": whole[: whole.index(b"[1, 1]")],
        "empty": b"",
        "noise": random.Random(1).randbytes(500),
        "gone": None,
        "a misspelt key": whole.replace(b"zones:", b"zoons:"),
        "another broker": whole.replace(b"mqtt://127.0.0.1", b"mqtt://127.0.0.2"),
        "a model that is not there": whole.replace(b"/tiny\n", b"/none\n"),
    }


@pytest.mark.quick
@pytest.mark.timeout(300)
def test_broken_while_it_is_read_again(tmp_path: Path, note: Note) -> None:
    with ExitStack() as stack:
        camera = stack.enter_context(RtspServer(blinking_clip(tmp_path / "blink.mp4")))
        scene = stack.enter_context(Scene(tmp_path, {"yard": camera.url}))
        before = ProcessResources.of(scene.pid)
        whole = scene.file.read_bytes()
        slowest_s = 0.0
        versions = broken(whole)
        for count, (_, content) in enumerate(versions.items(), 1):
            scene.file.unlink(missing_ok=True)
            if content is not None:
                scene.file.write_bytes(content)
            at_s = time.monotonic()
            scene.daemon.process.send_signal(signal.SIGHUP)
            wait_until(
                lambda count=count: scene.daemon.log.count("reload refused") >= count,  # type: ignore[misc]
                "the refusal",
            )
            slowest_s = max(slowest_s, time.monotonic() - at_s)
        scene.file.write_bytes(whole)
        at_s = time.monotonic()
        scene.daemon.process.send_signal(signal.SIGHUP)
        scene.daemon.wait_for_log("reloaded")
        reloaded_s = time.monotonic() - at_s
        for _ in range(2):
            scene.until_alert(time.monotonic())
        found = audit(scene.watcher.alerts, BLINK_S)
        what = f"{len(versions)} broken files refused ({', '.join(versions)}), then a whole one taken"
        leaks = scene.leaks(before)
        fault = "broken during a reload"
        note(Row("file", fault, slowest_s, reloaded_s, found.lost, found.unmarked, leaks, what))
        assert found.clean, found
        assert leaks == 0
        assert "Traceback" not in scene.daemon.log
