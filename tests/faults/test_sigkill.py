"""SIGKILL at random points of a daemon's life: no alert is lost, no id is used twice, every file is whole."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edgeseg.tools.soak.alert_audit import Audit, audit
from edgeseg.tools.soak.process_resources import session
from edgeseg.tools.soak.tcp_relay import TcpRelay
from tests.faults.clips import blinking_clip
from tests.faults.conftest import Note
from tests.faults.ledger import Row
from tests.faults.scene import Watcher, pause, write_pipeline
from tests.support.broker import Broker, wait_until
from tests.support.daemon import Daemon

SEED = 200
# Two daemons at once: most of a life is starting.
LANES = 2
# An alert begins and ends in this time, so that many kills hit one on its way.
BLINK_S = 0.5
FPS = 20


@dataclass
class Lane:
    """One daemon that is killed again and again. waiting: what each kill found in the outbox."""

    folder: Path
    node: str
    file: Path
    relay: TcpRelay
    watcher: Watcher
    numbers: random.Random
    damaged: list[str] = field(default_factory=list)
    waiting: set[tuple[str, int]] = field(default_factory=set)

    def alerts(self) -> list[Any]:
        topic = f"edgeseg/{self.node}/alert"
        return [one.payload for one in list(self.watcher.heard) if one.topic == topic]

    def daemon(self) -> Daemon:
        return Daemon(self.file, {"XDG_STATE_HOME": str(self.folder / "state")})

    def live(self, times: int) -> None:
        for _ in range(times):
            self.live_and_die()

    def live_and_die(self) -> None:
        # A third of the lives knows no broker: their alerts wait on disk for later ones.
        self.relay.allowed = self.numbers.random() > 0.33
        with self.daemon() as daemon:
            if self.numbers.random() < 0.75:
                # Amid alerts.
                wait_until(lambda: "yard: live" in daemon.log, "it is live", deadline_s=60)
                pause(self.numbers.uniform(0.0, 3.0))
            else:
                # While it starts.
                pause(self.numbers.uniform(0.0, 4.0))
            daemon.process.kill()
            daemon.process.wait()
        wait_until(lambda: not session(daemon.process.pid), "its camera processes are gone")
        self.inspect()

    def inspect(self) -> None:
        """Look at copies: whoever opens a database repairs it."""
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        if not (self.folder / "state").exists():
            return
        shutil.copytree(self.folder / "state", copy)
        for file in sorted(copy.rglob("*.sqlite")):
            with closing(sqlite3.connect(file)) as database:
                verdict = database.execute("PRAGMA integrity_check").fetchone()[0]
                if verdict != "ok":
                    self.damaged.append(f"{file.name}: {verdict}")
                    continue
                tables = database.execute("SELECT name FROM sqlite_master").fetchall()
                if ("waiting",) in tables:
                    self.waiting |= set(database.execute("SELECT alert_id, seq FROM waiting"))

    def drain(self) -> None:
        """A last life in peace, until everything that waited was delivered."""
        self.relay.allowed = True
        with self.daemon() as daemon:
            pause(3.0)
            wait_until(lambda: not self.missing(), "what waited is delivered", deadline_s=30)
            daemon.stop()

    def missing(self) -> set[tuple[str, int]]:
        return self.waiting - {(alert["id"], alert["seq"]) for alert in self.alerts()}


@pytest.mark.parametrize(
    "lives",
    [pytest.param(2, marks=pytest.mark.quick), 200],
)
@pytest.mark.timeout(3600)
def test_killed_at_random(tmp_path: Path, note: Note, lives: int) -> None:
    lives = int(os.environ.get("EDGESEG_FAULTS_KILLS", lives)) if lives > 2 else lives
    clip = blinking_clip(
        tmp_path / "blink.mp4", period_s=BLINK_S, on_s=BLINK_S / 2, fps=FPS, periods=int(300 / BLINK_S)
    )
    began_s = time.monotonic()
    with ExitStack() as stack:
        broker = stack.enter_context(Broker(tmp_path))
        watcher = stack.enter_context(Watcher(broker.port))
        lanes = []
        for number in range(LANES):
            folder = tmp_path / f"lane{number}"
            folder.mkdir()
            relay = stack.enter_context(TcpRelay(broker.port))
            node = f"lane{number}"
            file = write_pipeline(folder, {"yard": str(clip)}, relay.port, rate=FPS, for_="50 ms", node=node)
            lanes.append(Lane(folder, node, file, relay, watcher, random.Random(SEED + number)))
        with ThreadPoolExecutor(LANES) as pool:
            list(pool.map(lambda lane: lane.live(lives // LANES), lanes))
        for lane in lanes:
            lane.drain()
        pause(1.0)
        audits = [audit(lane.alerts()) for lane in lanes]
    waited = sum(len(lane.waiting) for lane in lanes)
    total = Audit(*(sum(getattr(one, name) for one in audits) for name in Audit.__dataclass_fields__))
    what = (
        f"{total.received} alert messages, {waited} of them waited on disk at a kill; ids reused "
        f"{total.reused}; damaged databases {sum(len(lane.damaged) for lane in lanes)}; "
        f"{time.monotonic() - began_s:.0f} s"
    )
    row = Row("daemon", f"SIGKILL at {lives} random points", None, None, total.lost, total.unmarked, 0, what)
    note(row)
    assert not [problem for lane in lanes for problem in lane.damaged]
    assert not [missing for lane in lanes for missing in lane.missing()]
    assert total.clean, total
    assert waited or lives < 100
