"""``edgeseg run`` as a process, on a tiny clip and a tiny network: works without any data folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.conftest import write_clip
from tests.support.broker import free_port, wait_until
from tests.support.daemon import STOPS_WITHIN_S, Daemon
from tests.support.tiny_models import Convention, write_model

PIPELINE = """\
node: test
model: {model}
cameras:
  {camera}:
    source: {clip}
    rate: {rate}
    zones:
      right:
        polygon: [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]
        rules:
          seen: {{occupied: [red], enter: 5 %, leave: 2 %, for: 300 ms, clear: 300 ms}}
"""


def pipeline(folder: Path, clip: Path | str, *, camera: str = "yard", rate: int = 10, more: str = "") -> Path:
    model = folder / "tiny"
    if not model.exists():
        write_model(model, Convention())
    path = folder / "pipeline.yaml"
    path.write_text(PIPELINE.format(model=model, clip=clip, camera=camera, rate=rate) + more)
    return path


@pytest.fixture
def long_clip(tmp_path: Path) -> Path:
    """Two minutes: longer than any test that uses it."""
    return write_clip(tmp_path / "long.mp4", fps=5, frames=600)


def states(daemon: Daemon, camera: str) -> list[str]:
    return [status["state"] for status in daemon.messages(f"test/{camera}/status") if status]


def test_a_clip_is_watched_to_its_end(tmp_path: Path, tiny_clip: Path) -> None:
    with Daemon(pipeline(tmp_path, tiny_clip)) as daemon:
        assert daemon.process.wait(240) == 0
        assert states(daemon, "yard")[0] == "connecting"
        assert "live" in states(daemon, "yard")
        last = daemon.messages("test/yard/status")[-1]
        assert (last["state"], last["reason"]) == ("offline", "ended")
        assert daemon.messages("test/status") == ["online", "offline"]
        # The square enters the right half 1 s after the start and stays until the end.
        (alert,) = daemon.messages("test/alert")
        assert (alert["event"], alert["rule"], alert["zone"]) == ("new", "seen", "right")
        assert daemon.messages("zone/right/rule/seen")[-1] == "unknown"
        assert "every source has ended" in daemon.log


def test_a_camera_that_is_not_there_is_tried_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    file = pipeline(tmp_path, f"rtsp://viewer:hush@127.0.0.1:{port}/x")
    with Daemon(file) as daemon:
        wait_until(lambda: daemon.log.count("trying again") >= 2, "two attempts")
        status = daemon.messages("test/yard/status")[-1]
        assert (status["state"], status["reason"]) == ("offline", "refused")
        assert daemon.stop() == 0
        assert "hush" not in daemon.log + daemon.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(tmp_path: Path, long_clip: Path, number: signal.Signals) -> None:
    with Daemon(pipeline(tmp_path, long_clip)) as daemon:
        wait_until(lambda: "live" in states(daemon, "yard"), "live")
        assert daemon.stop(number) == 0
        assert daemon.messages("test/status")[-1] == "offline"
        assert "Traceback" not in daemon.log


def test_its_camera_processes_die_with_it(tmp_path: Path, long_clip: Path) -> None:
    with Daemon(pipeline(tmp_path, long_clip)) as daemon:
        wait_until(lambda: "live" in states(daemon, "yard"), "live")
        children = children_of(daemon.process.pid)
        assert children
        daemon.process.kill()
        wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), "no process left")


def test_reload_changes_what_changed(tmp_path: Path, long_clip: Path) -> None:
    file = pipeline(tmp_path, long_clip)
    with Daemon(file) as daemon:
        wait_until(lambda: "live" in states(daemon, "yard"), "live")
        before = len(states(daemon, "yard"))
        gate = file.read_text().split("cameras:\n")[1].replace("yard", "gate")
        file.write_text(file.read_text() + gate)
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "live" in states(daemon, "gate"), "the new camera is live")
        assert "connecting" not in states(daemon, "yard")[before:], "the old camera noticed"

        pipeline(tmp_path, long_clip, camera="gate")
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: states(daemon, "yard")[-1] == "disabled", "the removed camera says so")
        wait_until(lambda: daemon.messages("test/yard/status")[-1] == "", "its retained state is taken back")
        assert daemon.stop() == 0


def test_an_alert_outlives_a_reload_that_changes_something_else(tmp_path: Path, long_clip: Path) -> None:
    """The square is there from the start: the rule is on, and a new rate is no news to it."""
    file = pipeline(tmp_path, long_clip)
    seen = file.read_text().replace(
        "[[0.5, 0], [1, 0], [1, 1], [0.5, 1]]", "[[0, 0], [1, 0], [1, 1], [0, 1]]"
    )
    seen = seen.replace("[red]", "[red, green, blue]")
    file.write_text(seen)
    with Daemon(file) as daemon:
        wait_until(lambda: daemon.messages("test/alert"), "the alert")
        file.write_text(seen.replace("rate: 10", "rate: 4"))
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: daemon.messages("yard/rate")[-1:] == [4.0], "the new rate")
        wait_until(lambda: daemon.messages("rule/seen")[-1:] == ["ON"], "the rule is on again")
        assert [alert["event"] for alert in daemon.messages("test/alert")] == ["new"]
        file.write_text(seen.replace("enter: 5 %", "enter: 90 %"))
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(daemon.messages("test/alert")) == 2, "the rule changed, and its alert ends")
        assert daemon.messages("test/alert")[-1]["end_reason"] == "config"
        assert daemon.stop() == 0


def test_a_bad_reload_keeps_the_last_good_file(tmp_path: Path, long_clip: Path) -> None:
    file = pipeline(tmp_path, long_clip)
    with Daemon(file) as daemon:
        wait_until(lambda: "live" in states(daemon, "yard"), "live")
        file.write_text(file.read_text().replace("occupied: [red]", "occupied: [rde]"))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for_log("reload refused")
        assert "rde" in daemon.log
        count = len(daemon.messages("zone/right/occupancy"))
        wait_until(lambda: len(daemon.messages("zone/right/occupancy")) > count + 5, "it goes on")
        assert daemon.stop() == 0


def test_systemd_is_told(tmp_path: Path, long_clip: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(STOPS_WITHIN_S)
        environment = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "2000000"}
        with Daemon(pipeline(tmp_path, long_clip), environment) as daemon:
            told = [systemd.recv(4096).decode()]
            # While engines are loaded the start asks for more time.
            while told[-1].startswith("EXTEND_TIMEOUT_USEC="):
                told = [systemd.recv(4096).decode()]
            assert told[0].startswith("READY=1\nSTATUS=")
            while not any("1 of 1 cameras live" in one for one in told):
                told.append(systemd.recv(4096).decode())
            assert any(one.startswith("WATCHDOG=1") for one in told)
            daemon.process.send_signal(signal.SIGTERM)
            while not told[-1].startswith("STOPPING=1"):
                told.append(systemd.recv(4096).decode())
            assert daemon.process.wait(STOPS_WITHIN_S) == 0


def children_of(pid: int) -> list[int]:
    """All descendants."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *children_of(int(child))]
    return found


def test_nothing_of_training_is_loaded(tmp_path: Path, long_clip: Path) -> None:
    """What a running daemon has mapped into memory: no torch, whatever it imported."""
    with Daemon(pipeline(tmp_path, long_clip)) as daemon:
        wait_until(lambda: "live" in states(daemon, "yard"), "live")
        maps = Path(f"/proc/{daemon.process.pid}/maps").read_text()
        for library in ("torch", "nncf", "transformers", "tensorflow"):
            assert f"/{library}/" not in maps
        assert daemon.stop() == 0


def test_it_ends_when_nobody_reads_any_more(tmp_path: Path, long_clip: Path) -> None:
    command = [sys.executable, "-m", "edgeseg", "run", str(pipeline(tmp_path, long_clip))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b'{"topic"')
        process.stdout.close()
        assert process.wait(STOPS_WITHIN_S) == 0


def test_a_manager_that_does_not_listen_is_no_obstacle(tmp_path: Path, tiny_clip: Path) -> None:
    with Daemon(pipeline(tmp_path, tiny_clip), {"NOTIFY_SOCKET": str(tmp_path / "nobody")}) as daemon:
        assert daemon.process.wait(240) == 0


def test_a_second_daemon_of_the_same_node_is_refused(tmp_path: Path, long_clip: Path) -> None:
    broker = f"mqtt: {{url: 'mqtt://127.0.0.1:{free_port()}'}}\n"
    file = pipeline(tmp_path, long_clip)
    file.write_text(broker + file.read_text())
    with Daemon(file) as first:
        first.wait_for_log("camera yard: live")
        with Daemon(file) as second:
            assert second.process.wait(240) == 2
            assert "another edgeseg on this machine is edgeseg/test" in second.log
        assert first.stop() == 0


def test_another_node_takes_a_restart(tmp_path: Path, long_clip: Path) -> None:
    file = pipeline(tmp_path, long_clip)
    with Daemon(file) as daemon:
        daemon.wait_for_log("camera yard: live")
        file.write_text(file.read_text().replace("node: test", "node: other"))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for_log("node: changed, which takes a restart")
        assert daemon.stop() == 0
        assert daemon.messages("test/status")[-1] == "offline"


def test_a_stop_leaves_nothing_that_claims_a_picture(tmp_path: Path, long_clip: Path) -> None:
    with Daemon(pipeline(tmp_path, long_clip)) as daemon:
        daemon.wait_for_log("camera yard: live")
        assert daemon.stop() == 0
        assert daemon.messages("test/yard/status")[-1]["state"] == "offline"
        assert daemon.messages("zone/right/occupancy")[-1]["state"] == "unknown"
        assert daemon.messages("zone/right/rule/seen")[-1] == "unknown"
        assert "ERROR" not in daemon.log


def test_a_signal_to_the_whole_group_is_no_crash(tmp_path: Path, long_clip: Path) -> None:
    with Daemon(pipeline(tmp_path, long_clip)) as daemon:
        daemon.wait_for_log("camera yard: live")
        os.killpg(daemon.process.pid, signal.SIGTERM)
        assert daemon.process.wait(STOPS_WITHIN_S) == 0
        assert "crashed" not in daemon.log + daemon.output
        assert "ERROR" not in daemon.log


def test_a_clip_with_a_long_gap_is_no_dead_camera(tmp_path: Path) -> None:
    clip = tmp_path / "gap.mkv"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in (*range(5), *range(125, 130)):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with Daemon(pipeline(tmp_path, clip)) as daemon:
        assert daemon.process.wait(240) == 0
        assert [state for state in states(daemon, "yard") if state in ("stale", "live")][:2] == [
            "live",
            "stale",
        ]
        assert states(daemon, "yard")[-2:] == ["live", "offline"]
