"""The service as people get it: installed for a pipeline file, and run by a real systemd."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeseg.cli import main
from edgeseg.models.runtimes import ENGINES
from tests.conftest import missing
from tests.support.booted import Booted, seen_by_services
from tests.support.broker import Broker, Subscriber, wait_until
from tests.support.rtsp_fixtures import RtspServer

NAME = "edgeseg@gate"
CAMERA_PASSWORD = "cam-pass/word"
BROKER_PASSWORD = "broker-pass%word"

PIPELINE = """\
node: gatehouse
mqtt: {{url: "mqtt://127.0.0.1:{port}", username: edgeseg, password_file: mqtt_password}}
model: deeplabv3plus-mnv2-camvid
cameras:
  yard:
    source: {source}
    rate: {rate}
    # A square on an empty ground: where it was, all edges are gone.
    health: off
    zones: {{table: {{polygon: [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]}}}}
"""
# 60 s are long to wait for a watchdog.
FOR_THE_TEST = """\
[Service]
WatchdogSec=10
TimeoutAbortSec=2
RestartSec=1
StandardError=file:/run/edgeseg.log
StandardOutput=null
"""


@pytest.fixture
def system(tiny_clip: Path, tmp_path: Path) -> Iterator[tuple[Booted, Subscriber, Path]]:
    users = {"edgeseg": BROKER_PASSWORD, "watcher": "w"}
    with (
        RtspServer(tiny_clip, user="viewer", password=CAMERA_PASSWORD) as camera,
        Broker(tmp_path, users=users) as broker,
        Subscriber(broker.port, "edgeseg/#", username="watcher", password="w") as subscriber,
    ):
        source = "rtsp://viewer:${YARD_PASSWORD}@" + camera.url_with(None, None).removeprefix("rtsp://")
        pipeline = tmp_path / "gate.yaml"
        # Measuring all engines, as `auto` does, is not what this is about.
        text = PIPELINE.format(port=broker.port, source=source, rate=5)
        pipeline.write_text(f"{text}engine: onnxruntime\n")
        root = tmp_path / "root"
        assert main(["install-service", str(pipeline), "--root", str(root)]) == 0
        (root / "etc/edgeseg/gate.env").write_text(f"YARD_PASSWORD={CAMERA_PASSWORD}\n")
        password = root / "etc/edgeseg/mqtt_password"
        password.write_text(BROKER_PASSWORD + "\n")
        password.chmod(0o600)
        drop_in = root / f"etc/systemd/system/{NAME}.service.d/test.conf"
        drop_in.write_text(FOR_THE_TEST + seen_by_services())
        with Booted(root) as booted:
            yield booted, subscriber, pipeline


def test_start_ready_watchdog_reload_stop(system: tuple[Booted, Subscriber, Path]) -> None:
    booted, subscriber, pipeline = system
    started = booted.ctl("start", NAME)
    log = booted.run("cat", "/run/edgeseg.log")
    assert started == "", f"{started}\n{booted.ctl('status', NAME)}\n{log}"
    assert booted.property(NAME, "ActiveState") == "active"
    subscriber.wait_for_payload("gatehouse/status", "online")
    subscriber.wait_for(lambda all_: [one for one in all_ if b'"live"' in one.payload], "a live camera")
    wait_until(lambda: booted.property(NAME, "StatusText") == "1 of 1 cameras live", "the status line")

    # No root, no rights, a state folder of its own; the password came as a credential.
    pid = booted.main_pid(NAME)
    about = booted.run("cat", f"/proc/{pid}/status")
    assert "CapEff:\t0000000000000000" in about
    assert "NoNewPrivs:\t1" in about
    assert "Uid:\t0\t" not in about
    assert booted.run("ls", "/var/lib/private/edgeseg") == "gate"
    assert "confined only in part" not in booted.run("cat", "/run/edgeseg.log")

    changed = pipeline.read_text().replace("rate: 5", "rate: 2")
    booted.run("sh", "-c", f"cat > /etc/edgeseg/gate.yaml <<'END'\n{changed}\nEND")
    assert booted.ctl("reload", NAME) == ""
    subscriber.wait_for_payload("yard/rate", "2")
    assert booted.main_pid(NAME) == pid

    # A daemon that is stuck is killed and started again.
    subscriber.forget()
    booted.signal(NAME, signal.SIGSTOP)
    wait_until(lambda: booted.main_pid(NAME) not in (0, pid), "a restart by the watchdog", deadline_s=180)
    assert booted.property(NAME, "NRestarts") == "1"
    subscriber.wait_for_payload("gatehouse/status", "online")
    wait_until(lambda: booted.property(NAME, "ActiveState") == "active", "a service that is ready again")

    subscriber.forget()
    assert booted.ctl("stop", NAME) == ""
    assert booted.property(NAME, "Result") == "success"
    subscriber.wait_for_payload("gatehouse/status", "offline")
    # The fork server ends by itself, a moment after the daemon.
    wait_until(
        lambda: booted.run("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").count("edgeseg") <= 1,
        "no process is left",
    )
    log = booted.run("cat", "/run/edgeseg.log") + booted.log
    assert CAMERA_PASSWORD not in log
    assert BROKER_PASSWORD not in log


def test_what_a_person_must_mend_is_not_tried_again(system: tuple[Booted, Subscriber, Path]) -> None:
    booted, _, _ = system
    booted.run("sh", "-c", "echo 'cameras: {}' > /etc/edgeseg/gate.yaml")
    assert "failed" in booted.ctl("start", NAME)
    assert booted.property(NAME, "ExecMainStatus") == "2"
    assert booted.property(NAME, "ActiveState") == "failed"
    assert booted.property(NAME, "NRestarts") == "0"


def install(*arguments: str | Path) -> int:
    return main(["install-service", *map(str, arguments)])


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    file = tmp_path / "gate.yaml"
    source = '"rtsp://viewer:${YARD_PASSWORD}@10.0.0.5/"'
    file.write_text(PIPELINE.format(port=1883, source=source, rate=5))
    return file


def tree(folder: Path) -> dict[str, tuple[str, int, int]]:
    return {
        str(path.relative_to(folder)): (path.read_text(), path.stat().st_mode & 0o777, path.stat().st_ino)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_installing_twice_changes_nothing(
    pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "root"
    assert install(pipeline, "--root", root) == 0
    first = tree(root)
    assert set(first) == {
        "etc/edgeseg/gate.env",
        "etc/edgeseg/gate.yaml",
        "etc/systemd/system/edgeseg@.service",
        "etc/systemd/system/edgeseg@gate.service.d/pipeline.conf",
        "etc/tmpfiles.d/edgeseg.conf",
    }
    assert first["etc/edgeseg/gate.env"][1] == 0o600
    assert (
        "LoadCredential=mqtt_password:/etc/edgeseg/mqtt_password\n"
        in first["etc/systemd/system/edgeseg@gate.service.d/pipeline.conf"][0]
    )
    (root / "etc/edgeseg/gate.env").write_text("YARD_PASSWORD=a-s3cret\n")
    edited = tree(root)
    capsys.readouterr()
    assert install(pipeline, "--root", root) == 0
    assert tree(root) == edited
    said = capsys.readouterr().out
    assert said.count("unchanged ") == 5
    assert "s3cret" not in said
    assert said.endswith("  systemctl enable --now edgeseg@gate\n")


def test_printing_writes_nothing(pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(pipeline.parent)
    assert install(pipeline, "--print", "--user", "cams") == 0
    assert tree(pipeline.parent) == before
    printed = capsys.readouterr().out
    for wanted in ("# /etc/systemd/system/edgeseg@.service\n", "User=cams\n", "#YARD_PASSWORD=\n"):
        assert wanted in printed


def test_a_file_of_the_same_name_is_not_overwritten(
    pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "root/etc/edgeseg/gate.yaml"
    place.parent.mkdir(parents=True)
    place.write_text("# mine\n")
    assert install(pipeline, "--root", tmp_path / "root") == 2
    assert place.read_text() == "# mine\n"
    assert list(tree(tmp_path / "root")) == ["etc/edgeseg/gate.yaml"]
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "another file already" in said


@pytest.mark.parametrize(
    ("before", "after", "arguments", "words"),
    [
        ("", "", ["--name", "../../x"], "cannot be a service's name"),
        ("", "", ["--name", "a b\n"], "cannot be a service's name"),
        ("", "", ["--user", "root\nExecStartPre=/bin/sh"], "expected a user's name"),
        ("password_file: mqtt_password", 'password_file: "a\\nExecStartPre=x"', [], "cannot be a credential"),
        ("password_file: mqtt_password", 'password_file: ".."', [], "cannot be a credential"),
        ('"rtsp://viewer:${YARD_PASSWORD}@10.0.0.5/"', "clips/a.mp4", [], "is a relative path"),
    ],
)
def test_nothing_slips_into_a_unit(
    pipeline: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    before: str,
    after: str,
    arguments: list[str],
    words: str,
) -> None:
    pipeline.write_text(pipeline.read_text().replace(before, after))
    assert install(pipeline, "--root", tmp_path / "root", *arguments) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        ("source: v4l2:///dev/video0", ["DeviceAllow=char-video4linux rw", "SupplementaryGroups=video"]),
        ("source: rtsp://a/, decode: vaapi", ["DeviceAllow=char-drm rw"]),
        ("source: rtsp://a/, engine: coral", ["DeviceAllow=char-apex rw", "SupplementaryGroups=plugdev"]),
        ("source: rtsp://a/, engine: cuda", ["DeviceAllow=char-nvidia-uvm rw", "MemoryDenyWriteExecute=no"]),
    ],
)
def test_devices_that_a_file_names_are_opened(keys: str, lines: list[str], tmp_path: Path) -> None:
    file = tmp_path / "desk.yaml"
    model = "deeplabv3plus-mnv2-camvid"
    file.write_text(f"model: {model}\ncameras: {{desk: {{{keys}, zones: {{}}}}}}\n")
    assert install(file, "--root", tmp_path / "root") == 0
    drop_in = (tmp_path / "root/etc/systemd/system/edgeseg@desk.service.d/pipeline.conf").read_text()
    for line in (*lines, "PrivateDevices=no"):
        assert f"{line}\n" in drop_in
    assert 'SUBSYSTEM=="apex"' in (tmp_path / "root/etc/udev/rules.d/70-edgeseg.rules").read_text()
    assert verified(tmp_path / "root", "desk") == ""


@pytest.mark.parametrize(
    ("engine", "allowed"),
    [
        ("openvino", True),
        ("openvino-half", True),
        ("auto", ENGINES["openvino"].installed),
        ("onnxruntime", False),
        ("litert", False),
    ],
)
def test_openvino_may_write_its_kernels(
    engine: str, allowed: bool, pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.write_text(f"{pipeline.read_text()}engine: {engine}\n")
    assert install(pipeline, "--root", tmp_path / "root") == 0
    folder = tmp_path / f"root/etc/systemd/system/edgeseg@{pipeline.stem}.service.d"
    lines = (folder / "pipeline.conf").read_text().splitlines()
    assert ("MemoryDenyWriteExecute=no" in lines) == allowed
    assert ("its kernels while it runs" in capsys.readouterr().out) == allowed


def verified(root: Path, name: str) -> str:
    """What systemd-analyze has against the unit and its drop-in, as installed."""
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze (package systemd)")
    answer = subprocess.run(
        ["systemd-analyze", "verify", str(root / f"etc/systemd/system/edgeseg@{name}.service")],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    return answer.stdout + answer.stderr


def test_only_root_installs_into_etc(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert install(pipeline) == 2
    said = capsys.readouterr().err
    assert said == "edgeseg: install-service writes into /etc: run it as root (sudo), or with --print\n"
