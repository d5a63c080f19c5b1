"""A disk that is full or read-only under the outbox: alerts wait in memory, and the log says so."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgeseg.tools.soak.alert_audit import audit
from edgeseg.tools.soak.process_resources import ProcessResources
from edgeseg.tools.soak.tcp_relay import TcpRelay
from tests.faults.clips import BLINK_S, blinking_clip
from tests.faults.conftest import Note
from tests.faults.ledger import Row
from tests.faults.places import read_only, small_disk
from tests.faults.scene import Scene, pause
from tests.faults.test_brokers import fill
from tests.support.broker import Broker
from tests.support.rtsp_fixtures import RtspServer

pytestmark = pytest.mark.timeout(300)


def start(stack: ExitStack, folder: Path, state: Path) -> tuple[Scene, TcpRelay]:
    camera = stack.enter_context(RtspServer(blinking_clip(folder / "blink.mp4")))
    broker = stack.enter_context(Broker(folder))
    relay = stack.enter_context(TcpRelay(broker.port))
    scene = stack.enter_context(
        Scene(
            folder,
            {"yard": camera.url},
            broker=broker,
            port=relay.port,
            environment={"XDG_STATE_HOME": str(state)},
        )
    )
    scene.until_alert(time.monotonic())
    return scene, relay


def away(scene: Scene, relay: TcpRelay, seconds: float) -> float:
    """No broker for some time. Returns how long after its return the first alert was there."""
    relay.allowed = False
    relay.cut()
    pause(seconds)
    relay.allowed = True
    return scene.until_alert(time.monotonic())


def row_of(
    scene: Scene, before: ProcessResources, fault: str, noticed_s: float | None, back_s: float, what: str
) -> Row:
    scene.until_caught_up()
    found = audit(scene.watcher.alerts, BLINK_S)
    late = sum(alert["replayed"] for alert in scene.watcher.alerts)
    what = f"{found.received} alert messages, {late} marked as replayed; {what}"
    return Row("disk", fault, noticed_s, back_s, found.lost, found.unmarked, scene.leaks(before), what)


def check(scene: Scene, row: Row) -> None:
    found = audit(scene.watcher.alerts, BLINK_S)
    assert found.clean, found
    assert row.leaks == 0
    assert scene.daemon.process.poll() is None
    assert "Traceback" not in scene.daemon.log


def test_full_while_it_runs(stack: ExitStack, tmp_path: Path, note: Note) -> None:
    disk = stack.enter_context(small_disk(tmp_path / "disk", "256k"))
    scene, relay = start(stack, tmp_path, disk)
    before = ProcessResources.of(scene.pid)
    fill(disk)
    at_s = time.monotonic()
    relay.allowed = False
    relay.cut()
    # The log's room is used up by some more alerts.
    scene.daemon.wait_for_log("alerts wait in memory instead")
    noticed_s = time.monotonic() - at_s
    back_s = away(scene, relay, 8.0)
    row = row_of(scene, before, "full while it runs, broker away", noticed_s, back_s, "in memory, says so")
    note(row)
    check(scene, row)


def test_full_from_the_start(stack: ExitStack, tmp_path: Path, note: Note) -> None:
    disk = stack.enter_context(small_disk(tmp_path / "disk", "64k"))
    fill(disk)
    scene, relay = start(stack, tmp_path, disk)
    before = ProcessResources.of(scene.pid)
    assert "alerts wait in memory instead" in scene.daemon.log
    back_s = away(scene, relay, 8.0)
    row = row_of(scene, before, "full from the start, broker away", None, back_s, "in memory, says so")
    note(row)
    check(scene, row)


def test_read_only(stack: ExitStack, tmp_path: Path, note: Note) -> None:
    (tmp_path / "disk").mkdir()
    disk = stack.enter_context(read_only(tmp_path / "disk"))
    scene, relay = start(stack, tmp_path, disk)
    before = ProcessResources.of(scene.pid)
    assert "alerts wait in memory instead" in scene.daemon.log
    back_s = away(scene, relay, 8.0)
    row = row_of(scene, before, "read-only, broker away", None, back_s, "in memory, says so")
    note(row)
    check(scene, row)
