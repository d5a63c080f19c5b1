"""Engines that are slow for five minutes: the daemon is never restarted, publishes numbers and says what is
wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.cgroup import cpu_quota
from tests.faults.clips import blinking_clip
from tests.faults.conftest import Note
from tests.faults.ledger import Row
from tests.faults.scene import ReceivedMessage, Watcher, write_pipeline
from tests.support.broker import Broker, wait_until
from tests.support.daemon import Daemon
from tests.support.slow_runtime import environment, write_slow_model

MINUTES = float(os.environ.get("EDGESEG_SLOW_MINUTES", "5"))
pytestmark = pytest.mark.timeout(60 * MINUTES + 900)


class Slow:
    """A daemon without anything that would start it again; it would take its own place."""

    def __init__(
        self, stack: ExitStack, folder: Path, model: Path, cameras: int = 1, prefix: Sequence[str] = ()
    ) -> None:
        # Long enough, and at a rate of its own that the network cannot keep up with.
        clip = blinking_clip(folder / "blink.mp4", periods=round(30 * MINUTES) + 200)
        broker = stack.enter_context(Broker(folder))
        self.watcher = stack.enter_context(Watcher(broker.port))
        sources = {f"c{number}": str(clip) for number in range(cameras)}
        file = write_pipeline(folder, sources, broker.port, model=model)
        self.daemon = stack.enter_context(Daemon(file, environment(folder / "runtime"), prefix))
        self.cameras = list(sources)

    def watch(self, note: Note, fault: str) -> None:
        """From the first number on. Fails where the daemon begins anew or a camera gives no numbers."""
        wait_until(self.numbers, "a number", deadline_s=600)
        began_s, before = time.monotonic(), self.numbers()
        over_s = began_s + 60 * MINUTES
        wait_until(
            lambda: time.monotonic() > over_s or self.restarts or self.daemon.process.poll() is not None,
            "it goes on",
            deadline_s=60 * MINUTES + 60,
        )
        counts = {camera: self.numbers(camera) for camera in self.cameras}
        said = self.daemon.log.count("for a picture of")
        minutes = (time.monotonic() - began_s) / 60
        what = f"{sum(counts.values()) - before} numbers in {minutes:.1f} min, {said} times called slow"
        note(Row("engine", fault, None, None, 0, 0, self.restarts, what))
        print(f"{fault}: {self.restarts} restarts, {what}, by camera {counts}")
        assert self.daemon.process.poll() is None
        assert self.restarts == 0
        assert "stuck" not in self.daemon.log
        assert min(counts.values()) > 0

    @property
    def restarts(self) -> int:
        return max((heard.payload["restarts"] for heard in self.heard("/stats")), default=0)

    def numbers(self, camera: str = "") -> int:
        end = f"{camera}/zone/right/occupancy"
        return sum(heard.payload["state"] == "ok" for heard in self.heard(end))

    def degraded(self) -> list[Any]:
        found = [heard.payload["degraded"] for heard in self.heard("/c0/status")]
        return [one for one in found if one is not None]

    def heard(self, end: str) -> list[ReceivedMessage]:
        return [heard for heard in list(self.watcher.heard) if heard.topic.endswith(end) and heard.payload]


def test_computes_12_s_a_picture(stack: ExitStack, tmp_path: Path, note: Note) -> None:
    slow = Slow(stack, tmp_path, write_slow_model(tmp_path / "slow", computes_s=12.0))
    slow.watch(note, "12 s of computing a picture")
    # The camera's status and the log give the reason and the next step.
    assert slow.degraded()[-1]["rate"] <= 1 / 12
    assert "take a smaller `input`, another `engine`" in slow.daemon.log


def test_sleeps_12_s_a_picture(stack: ExitStack, tmp_path: Path, note: Note) -> None:
    Slow(stack, tmp_path, write_slow_model(tmp_path / "slow", sleeps_s=12.0)).watch(
        note, "12 s asleep a picture"
    )


def test_loads_for_40_s(stack: ExitStack, tmp_path: Path, note: Note) -> None:
    Slow(stack, tmp_path, write_slow_model(tmp_path / "slow", load_s=40.0)).watch(note, "40 s of loading")


def test_eight_cameras_under_a_quota(stack: ExitStack, tmp_path: Path, note: Note) -> None:
    """0.6 cores, however many are visible."""
    prefix = stack.enter_context(cpu_quota(0.6))
    model = write_slow_model(tmp_path / "slow", computes_s=0.4)
    slow = Slow(stack, tmp_path, model, cameras=8, prefix=prefix)
    slow.watch(note, "8 cameras on 0.6 cores")
