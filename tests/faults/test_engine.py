"""An engine that hangs or fails, and a daemon that dies: it is started again, and no alert is lost.

Networks of the suite's own hang or fail, depending on what the camera shows: one inside the real runtime,
which computes for ever or fails, and one in a stand-in for a runtime, which blocks and cannot be cancelled.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgeseg.tools.soak.alert_audit import audit
from edgeseg.tools.soak.process_resources import session
from tests.faults.clips import blinking_clip, coloured_clip
from tests.faults.conftest import Note
from tests.faults.ledger import Row
from tests.faults.moody_model import write_moody_model
from tests.faults.scene import Watcher, write_pipeline
from tests.faults.service import End, Service, unit_seconds
from tests.support.broker import Broker, wait_until
from tests.support.rtsp_fixtures import RtspServer
from tests.support.slow_runtime import environment, write_slow_model

pytestmark = pytest.mark.timeout(400)
USUAL, HANGS, FAILS = range(3)


class Watched:
    """blocks: the network that hangs computes nothing meanwhile; else it computes for ever."""

    def __init__(self, stack: ExitStack, folder: Path, shows: int = USUAL, *, blocks: bool = False) -> None:
        blue = coloured_clip(folder / "blue.mp4", (0, 0, 255))
        green = coloured_clip(folder / "green.mp4", (0, 255, 0))
        self.camera = stack.enter_context(RtspServer(blinking_clip(folder / "blink.mp4"), blue, green))
        self.camera.switch(shows)
        broker = stack.enter_context(Broker(folder))
        self.watcher = stack.enter_context(Watcher(broker.port))
        if blocks:
            model = write_slow_model(folder / "slow", blocks_on_blue=True)
        else:
            model = write_moody_model(folder / "moody")
        file = write_pipeline(folder, {"yard": self.camera.url}, broker.port, model=model)
        runtime = environment(folder / "runtime") if blocks else {}
        self.service = stack.enter_context(Service(file, folder / "state", runtime))
        if shows == USUAL:
            self.until_alert(time.monotonic())
        else:
            wait_until(lambda: hasattr(self.service, "daemon"), "a daemon")
        self.pid = self.service.daemon.process.pid

    def until_alert(self, at_s: float, within_s: float = 120) -> float:
        return self.watcher.first(at_s, "/alert", lambda alert: alert["event"] == "new", within_s=within_s)

    def until_end(self, within_s: float) -> End:
        wait_until(lambda: self.service.ends, "the daemon ends", deadline_s=within_s)
        self.camera.switch(USUAL)
        return self.service.ends[0]

    def row(self, fault: str, at_s: float, end: End, what: str) -> Row:
        recovered_s = self.until_alert(end.at_s)
        self.until_alert(time.monotonic())
        found = audit(self.watcher.alerts)
        leaks = len(session(self.pid))
        noticed_s = end.at_s - at_s
        return Row("engine", fault, noticed_s, recovered_s, found.lost, found.unmarked, leaks, what)

    def check(self, row: Row) -> None:
        assert audit(self.watcher.alerts).clean
        assert row.leaks == 0
        assert len(self.service.ends) == 1
        assert row.recovered_s is not None
        assert row.recovered_s < unit_seconds("RestartSec") + 20.0


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with ExitStack() as stack:
        yield Watched(stack, tmp_path)


def test_blocks(tmp_path: Path, note: Note) -> None:
    with ExitStack() as stack:
        _blocks(Watched(stack, tmp_path, blocks=True), note)


def _blocks(watched: Watched, note: Note) -> None:
    at_s = time.monotonic()
    watched.camera.switch(HANGS)
    end = watched.until_end(within_s=unit_seconds("WatchdogSec") + 60)
    silent_s = max((ping for ping in watched.service.pings if ping < end.at_s), default=at_s) - at_s
    how = "killed by the watchdog" if end.watchdog else f"ended by itself with exit code {end.code}"
    what = f"last sign of life after {silent_s:.1f} s, {how}"
    row = watched.row("blocks for ever", at_s, end, what)
    note(row)
    watched.check(row)
    assert silent_s < 10.0
    assert row.noticed_s is not None
    assert row.noticed_s < 10.0


def test_computes_for_ever(watched: Watched, note: Note) -> None:
    """It may be slow, for two minutes; then it is cancelled, and the daemon goes on."""
    at_s = time.monotonic()
    watched.camera.switch(HANGS)
    daemon = watched.service.daemon
    wait_until(lambda: "cancelled, its frame is lost" in daemon.log, "it is cancelled", deadline_s=200)
    noticed_s = time.monotonic() - at_s
    watched.camera.switch(USUAL)
    # At most one more blue picture is analysed before the camera shows something else.
    recovered_s = watched.until_alert(time.monotonic(), within_s=180)
    found, ends = audit(watched.watcher.alerts), len(watched.service.ends)
    lost = found.lost, found.unmarked, ends
    row = Row("engine", "computes for ever", noticed_s, recovered_s, *lost, "cancelled, no restart")
    note(row)
    assert not watched.service.ends
    assert noticed_s >= 119.0
    assert "has taken 120 s" in daemon.log


def test_blocks_at_once(tmp_path: Path, note: Note) -> None:
    """On the first picture that it ever gets: how long it takes is known from its warming up."""
    with ExitStack() as stack:
        watched = Watched(stack, tmp_path, HANGS, blocks=True)
        watched.service.daemon.wait_for_log("pictures")
        at_s = time.monotonic()
        end = watched.until_end(within_s=60)
        row = watched.row(
            "blocks on its first picture", at_s, end, f"ended by itself with exit code {end.code}"
        )
        note(row)
        watched.check(row)
        assert row.noticed_s is not None
        assert row.noticed_s < 10.0


def test_fails(watched: Watched, note: Note) -> None:
    at_s = time.monotonic()
    watched.camera.switch(FAILS)
    end = watched.until_end(within_s=60)
    row = watched.row("fails while running", at_s, end, f"exit code {end.code}, started again")
    note(row)
    watched.check(row)
    assert end.code == 1
    assert "EngineError" in end.log


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL], ids=["segfault", "oom"])
def test_crashes(watched: Watched, note: Note, number: signal.Signals) -> None:
    """Native code takes the whole daemon with it, or the kernel does for want of memory."""
    at_s = time.monotonic()
    os.kill(watched.pid, number)
    end = watched.until_end(within_s=60)
    row = watched.row(f"takes the daemon with it ({number.name})", at_s, end, "started again")
    note(row)
    watched.check(row)
    assert end.code == -number
