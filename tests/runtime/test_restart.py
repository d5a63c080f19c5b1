"""``edgeseg run`` killed and started again, and one in which something stands still."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edgeseg.state.schema import SCHEMA_VERSION
from tests.support.broker import Broker, Subscriber, wait_until
from tests.support.daemon import Daemon
from tests.support.slow_runtime import environment, write_slow_model
from tests.support.tiny_models import Convention, write_model

PIPELINE = """\
node: test
{broker}
model: {model}
cameras:
  yard:
    source: {clip}
    rate: 10
    zones:
      all:
        polygon: [[0, 0], [1, 0], [1, 1], [0, 1]]
        rules:
          {rule}: {{occupied: [red], enter: 5 %, leave: 2 %, for: 300 ms, clear: 300 ms}}
"""
RED, DARK, BLUE = (224, 0, 0), (32, 32, 32), (0, 0, 255)


def write_clip(path: Path, *scenes: tuple[tuple[int, int, int], int]) -> Path:
    """(colour, seconds) one after the other, at 10 fps."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=10, options={"g": "10", "bf": "0", "preset": "ultrafast"}
        )
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for colour, seconds in scenes:
            picture = np.full((48, 64, 3), colour, np.uint8)
            for _ in range(seconds * 10):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


class Place:
    """A folder with a pipeline file, whose daemons follow each other in one state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = write_model(folder / "tiny", Convention())
        self.red = write_clip(folder / "red.mp4", (RED, 300))
        self.dark = write_clip(folder / "dark.mp4", (DARK, 300))
        self.broker = ""

    def daemon(
        self,
        clip: Path,
        rule: str = "seen",
        model: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Daemon:
        file = self.folder / "pipeline.yaml"
        file.write_text(PIPELINE.format(broker=self.broker, model=model or self.model, clip=clip, rule=rule))
        return Daemon(file, {**(environment or {}), "XDG_STATE_HOME": str(self.folder / "state")})

    @property
    def state(self) -> Path:
        return self.folder / "state" / "edgeseg" / "test" / "state.sqlite"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def alerts(daemon: Daemon) -> list[Any]:
    return daemon.messages("test/alert")


def log_lines(daemon: Daemon) -> list[tuple[float, str]]:
    """Each line of the log, and when it was written, in seconds of that clock."""
    found = []
    for line in daemon.log.splitlines():
        with contextlib.suppress(ValueError):
            at = datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").replace(tzinfo=UTC)
            found.append((at.timestamp(), line))
    return found


def until_alert_is_kept(daemon: Daemon, event: str = "new") -> Any:
    """JSON lines have no outbox: an alert is printed, then kept with what its rule knows. The next picture
    comes after both."""
    (alert,) = wait_until(lambda: [one for one in alerts(daemon) if one["event"] == event], "the alert")
    before = len(daemon.messages("/occupancy"))
    wait_until(lambda: len(daemon.messages("/occupancy")) > before + 1, "another picture")
    return alert


def until_stats(daemon: Daemon) -> Any:
    return wait_until(lambda: daemon.messages("test/stats"), "stats")[0]


def test_an_alert_that_was_on_is_neither_raised_again_nor_forgotten(place: Place) -> None:
    with place.daemon(place.red) as first:
        new = until_alert_is_kept(first)
        assert until_stats(first)["previous"] is None
        first.process.kill()
    with place.daemon(place.red) as second:
        wait_until(lambda: second.messages("rule/seen")[-1:] == ["ON"], "the rule is on")
        stats = until_stats(second)
        assert (stats["restarts"], stats["previous"]["ended"]) == (1, "killed")
        assert stats["previous"]["down_trusted"]
        assert second.stop() == 0
        assert alerts(second) == []
    with place.daemon(place.dark) as third:
        end = until_alert_is_kept(third, "end")
        assert until_stats(third)["previous"]["ended"] == "stopped"
        third.process.kill()
    # Ten seconds after its beginning, on a slow machine, what changed is told before the end.
    updates = [one for one in alerts(third) if one["event"] == "update"]
    assert (end["id"], end["seq"], end["end_reason"]) == (new["id"], 1 + len(updates), "cleared")
    assert end["began_at"] == new["began_at"]


def test_an_alert_whose_rule_is_gone_ends_with_its_reason(place: Place) -> None:
    with place.daemon(place.red) as first:
        new = until_alert_is_kept(first)
        first.process.kill()
    with place.daemon(place.dark, rule="another") as second:
        (end,) = wait_until(lambda: alerts(second), "the end")
        assert second.stop() == 0
    assert (end["id"], end["seq"], end["event"], end["end_reason"]) == (new["id"], 1, "end", "config")
    with place.daemon(place.dark, rule="another") as third:
        until_stats(third)
        assert third.stop() == 0
        assert alerts(third) == []


def test_a_state_of_a_newer_edgeseg_is_refused(place: Place) -> None:
    place.state.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(place.state)) as database:
        database.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    before = place.state.read_bytes()
    with place.daemon(place.dark) as daemon:
        assert daemon.process.wait(60) == 2
        assert "state.sqlite: schema version" in daemon.log
        assert "Traceback" not in daemon.log
        assert daemon.output == ""
    assert place.state.read_bytes() == before


def test_wishes_survive(place: Place, tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        place.broker = f'mqtt: {{url: "mqtt://127.0.0.1:{broker.port}"}}'
        with place.daemon(place.dark) as first:
            subscriber.wait_for_payload("yard/enabled", "ON")
            subscriber.publish("edgeseg/test/yard/set/rate", "2.5")
            subscriber.wait_for_payload("yard/rate", "2.5")
            subscriber.publish("edgeseg/test/yard/set/enabled", "OFF")
            subscriber.wait_for_payload("yard/enabled", "OFF")
            first.process.kill()
        subscriber.forget()
        with place.daemon(place.dark) as second:
            subscriber.wait_for_payload("yard/enabled", "OFF")
            subscriber.publish("edgeseg/test/yard/set/enabled", "ON")
            subscriber.wait_for_payload("yard/rate", "2.5")
            subscriber.wait_for(
                lambda all_: any(b'"live"' in one.payload for one in all_ if "status" in one.topic), "live"
            )
            assert second.stop() == 0


@pytest.mark.timeout(180)
def test_an_engine_that_hangs_is_noticed_and_the_process_takes_its_own_place(place: Place) -> None:
    """No service manager restarts it here. The network blocks at the first blue picture in a runtime that
    cannot cancel; the clip then begins anew, with what was on still on."""
    clip = write_clip(place.folder / "moods.mp4", (RED, 4), (BLUE, 60))
    model = write_slow_model(place.folder / "slow", blocks_on_blue=True)
    with place.daemon(clip, model=model, environment=environment(place.folder / "runtime")) as daemon:
        (new,) = wait_until(lambda: alerts(daemon), "the alert", deadline_s=60)
        pid = daemon.process.pid
        wait_until(
            lambda: "stuck: the analysis of a picture of camera yard" in daemon.log, "a word", deadline_s=40
        )
        wait_until(lambda: len(daemon.messages("test/stats")) == 2, "the start", deadline_s=60)
        stats = daemon.messages("test/stats")[1]
        assert (daemon.process.pid, daemon.process.poll()) == (pid, None)
        assert stats["previous"]["ended"].startswith("stuck: the analysis of a picture of camera yard")
        assert stats["restarts"] == 1
        # The last sign of what it knew is from before the engine hung; the start takes what it takes.
        starts_s = [at_s for at_s, line in log_lines(daemon) if " edgeseg " in line]
        stuck_s = next(at_s for at_s, line in log_lines(daemon) if " stuck: " in line)
        assert stats["previous"]["down_s"] - (starts_s[-1] - stuck_s) < 10
        wait_until(lambda: daemon.messages("rule/seen")[-1:] == ["ON"], "the rule is on again", deadline_s=60)
        assert [one["id"] for one in alerts(daemon)] == [new["id"]]
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        states = [Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] for child in children]
        assert "Z" not in states
        daemon.process.kill()
