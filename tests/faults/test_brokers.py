"""Whatever the broker does, every alert arrives afterwards: once, in order, and marked where it is late."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgeseg.tools.soak.alert_audit import audit
from edgeseg.tools.soak.process_resources import ProcessResources
from edgeseg.tools.soak.tcp_relay import TcpRelay
from tests.faults.clips import BLINK_S, blinking_clip
from tests.faults.conftest import Note
from tests.faults.ledger import Row
from tests.faults.places import small_disk
from tests.faults.scene import Scene, pause
from tests.support.broker import Broker, wait_until
from tests.support.rtsp_fixtures import RtspServer

AWAY_S = 600.0
SLOW_BLINK_S = 6.0

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtspServer]:
    with RtspServer(blinking_clip(tmp_path_factory.mktemp("clips") / "blink.mp4")) as server:
        yield server


class Line:
    """A daemon with one camera that blinks, and a relay on its way to the broker: the watcher can be there
    before the daemon is, and misses nothing."""

    def __init__(
        self, stack: ExitStack, folder: Path, camera: RtspServer, broker: Broker, blink_s: float = BLINK_S
    ) -> None:
        self.broker = broker
        self._blink_s = blink_s
        self.relay = stack.enter_context(TcpRelay(broker.port))
        self.scene = stack.enter_context(
            Scene(folder, {"yard": camera.url}, broker=broker, port=self.relay.port)
        )
        self.scene.until_alert(time.monotonic())
        self.before = ProcessResources.of(self.scene.pid)
        self.began_s = time.monotonic()
        self._subscribed = 1

    def noticed(self, words: str, at_s: float, within_s: float = 60.0) -> float:
        wait_until(lambda: words in self.scene.daemon.log, f"{words!r} in the log", deadline_s=within_s)
        return time.monotonic() - at_s

    def watcher_is_back(self) -> None:
        self._subscribed += 1
        self.scene.watcher.wait_until_subscribed(self._subscribed)

    def finish(self, fault: str, noticed_s: float | None, recovered_s: float | None, what: str) -> Row:
        """Let two more alerts pass, then add up. The camera was watched all the time, so each of its blinks
        must have been told."""
        self.scene.until_caught_up()
        found = audit(self.scene.watcher.alerts, self._blink_s)
        late = sum(alert["replayed"] for alert in self.scene.watcher.alerts)
        what = f"{found.received} alert messages, {late} marked as replayed; {what}".removesuffix("; ")
        leaks = self.scene.leaks(self.before)
        return Row("broker", fault, noticed_s, recovered_s, found.lost, found.unmarked, leaks, what)

    def check(self, row: Row, *, late: bool = True) -> None:
        found = audit(self.scene.watcher.alerts, self._blink_s)
        assert found.clean, found
        assert row.leaks == 0
        assert self.scene.daemon.process.poll() is None
        assert "Traceback" not in self.scene.daemon.log
        if late:
            assert any(alert["replayed"] for alert in self.scene.watcher.alerts)


def away(line: Line, seconds: float) -> tuple[float, float]:
    """The broker is killed and comes back after some time, knowing nothing. Returns when it was noticed and
    how long after its return the first alert was there."""
    at_s = time.monotonic()
    line.relay.allowed = False
    line.broker.kill()
    noticed_s = line.noticed("mqtt: lost", at_s)
    pause(seconds)
    line.broker.start()
    line.watcher_is_back()
    line.relay.allowed = True
    at_s = time.monotonic()
    return noticed_s, line.scene.until_alert(at_s)


@pytest.mark.quick
def test_killed(stack: ExitStack, tmp_path: Path, camera: RtspServer, note: Note) -> None:
    line = Line(stack, tmp_path, camera, stack.enter_context(Broker(tmp_path)))
    noticed_s, recovered_s = away(line, 8.0)
    row = line.finish("killed, back without its memory after 8 s", noticed_s, recovered_s, "")
    note(row)
    line.check(row)
    retained_is_there(line)


@pytest.mark.timeout(AWAY_S + 300)
@pytest.mark.xdist_group("waits")
def test_away_for_ten_minutes(stack: ExitStack, tmp_path: Path, note: Note) -> None:
    # So slow that a machine which is busy for a moment does not miss a beat.
    clip = blinking_clip(tmp_path / "slow.mp4", period_s=SLOW_BLINK_S, on_s=SLOW_BLINK_S / 2)
    camera = stack.enter_context(RtspServer(clip))
    line = Line(stack, tmp_path, camera, stack.enter_context(Broker(tmp_path)), SLOW_BLINK_S)
    noticed_s, recovered_s = away(line, AWAY_S)
    row = line.finish("killed, back after 10 min", noticed_s, recovered_s, "")
    note(row)
    line.check(row)
    late = [alert for alert in line.scene.watcher.alerts if alert["replayed"]]
    # A new and an end for each blink.
    assert len(late) >= 0.95 * 2 * AWAY_S / SLOW_BLINK_S


def test_restarted(stack: ExitStack, tmp_path: Path, camera: RtspServer, note: Note) -> None:
    """In good order, at once, without persistence."""
    line = Line(stack, tmp_path, camera, stack.enter_context(Broker(tmp_path)))
    at_s = time.monotonic()
    line.relay.allowed = False
    line.broker.stop()
    noticed_s = line.noticed("mqtt: lost", at_s)
    line.broker.start()
    line.watcher_is_back()
    line.relay.allowed = True
    recovered_s = line.scene.until_alert(time.monotonic())
    row = line.finish("restarted without persistence", noticed_s, recovered_s, "retained state is back")
    note(row)
    line.check(row)
    retained_is_there(line)


def retained_is_there(line: Line) -> None:
    """What a subscriber that comes late is told."""
    from tests.faults.scene import Watcher

    topics = {"status", "yard/status", "yard/zone/right/occupancy", "yard/zone/right/rule/seen"}
    with Watcher(line.broker.port) as late:
        late.wait_for(
            lambda all_: topics <= {one.topic.removeprefix("edgeseg/test/") for one in all_ if one.retain},
            "the retained state",
        )


def test_frozen(stack: ExitStack, tmp_path: Path, camera: RtspServer, note: Note) -> None:
    line = Line(stack, tmp_path, camera, stack.enter_context(Broker(tmp_path)))
    at_s = time.monotonic()
    line.broker.freeze()
    noticed_s = line.noticed("mqtt: lost", at_s)
    pause(5.0)
    line.broker.resume()
    recovered_s = line.scene.until_alert(time.monotonic())
    row = line.finish("frozen (SIGSTOP)", noticed_s, recovered_s, "noticed by keepalive (15 s)")
    note(row)
    line.check(row)


def test_half_open(stack: ExitStack, tmp_path: Path, camera: RtspServer, note: Note) -> None:
    line = Line(stack, tmp_path, camera, stack.enter_context(Broker(tmp_path)))
    line.relay.swallow()
    at_s = time.monotonic()
    noticed_s = line.noticed("mqtt: lost", at_s)
    recovered_s = line.scene.until_alert(at_s + noticed_s)
    row = line.finish("half-open connection", noticed_s, recovered_s, "noticed by keepalive (15 s)")
    note(row)
    line.check(row)


def test_refused_by_acl(stack: ExitStack, tmp_path: Path, camera: RtspServer, note: Note) -> None:
    everything = "topic readwrite #\n"
    broker = stack.enter_context(Broker(tmp_path, acl=everything))
    line = Line(stack, tmp_path, camera, broker)
    # In force at once, for clients that are connected too: nobody may write alerts.
    broker.acl = "topic read #\ntopic write edgeseg/test/yard/#\ntopic write edgeseg/test/status\n"
    broker.reload()
    at_s = time.monotonic()
    noticed_s = line.noticed("refuses edgeseg/test/alert", at_s)
    pause(10.0)
    broker.acl = everything
    broker.reload()
    recovered_s = line.scene.until_alert(time.monotonic())
    row = line.finish("refuses alerts by its ACL for 10 s", noticed_s, recovered_s, "kept and tried again")
    note(row)
    line.check(row)


def test_slow(stack: ExitStack, tmp_path: Path, camera: RtspServer, note: Note) -> None:
    line = Line(stack, tmp_path, camera, stack.enter_context(Broker(tmp_path)))
    line.relay.delay_s, line.relay.bytes_per_s = 0.3, 8_000.0
    pause(20.0)
    line.relay.delay_s, line.relay.bytes_per_s = 0.0, None
    recovered_s = line.scene.until_alert(time.monotonic())
    row = line.finish("slow (8 kB/s, 0.3 s a packet) for 20 s", None, recovered_s, "")
    note(row)
    line.check(row, late=False)


def test_its_disk_is_full(stack: ExitStack, tmp_path: Path, camera: RtspServer, note: Note) -> None:
    disk = stack.enter_context(small_disk(tmp_path / "disk", "256k"))
    disk.chmod(0o777)
    extra = f"persistence true\npersistence_location {disk}/\nautosave_interval 1"
    broker = stack.enter_context(Broker(tmp_path, extra=extra))
    # mosquitto takes the last word on a setting that stands twice.
    line = Line(stack, tmp_path, camera, broker)
    fill(disk)
    pause(10.0)
    noticed_s, recovered_s = away(line, 3.0)
    row = line.finish("its disk is full, then it is killed", noticed_s, recovered_s, "")
    note(row)
    line.check(row)
    retained_is_there(line)


def fill(disk: Path) -> None:
    subprocess.run(
        ["dd", "if=/dev/zero", f"of={disk / 'ballast'}", "bs=4k"], stderr=subprocess.DEVNULL, check=False
    )
    assert os.statvfs(disk).f_bavail == 0
