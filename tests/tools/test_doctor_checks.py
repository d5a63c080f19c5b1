"""Findings about the machine, on made-up machines; and that no check can hang the doctor."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeseg.errors import EngineError
from edgeseg.settings import WebSettings
from edgeseg.tools.doctor import host, machine
from edgeseg.tools.doctor.finding import Finding, bounded, bounded_all
from tests.support.broker import free_port

STOP = threading.Event()


def test_a_check_that_hangs_is_left_behind() -> None:
    released, told = threading.Event(), threading.Event()

    def hangs(stop: threading.Event) -> Iterator[Finding]:
        yield Finding("first", "ok", "seen")
        released.wait(120)
        if stop.is_set():
            told.set()

    found = bounded("camera", hangs, 0.2)
    assert [finding.state for finding in found] == ["ok", "problem"]
    assert "no answer within 0.2 s" in found[1].text
    released.set()
    assert told.wait(120)


def test_checks_side_by_side_keep_their_order() -> None:
    together = threading.Barrier(3)

    def meets(stop: threading.Event) -> Iterator[Finding]:
        together.wait(120)
        yield Finding("met", "ok", "all three ran at once")

    def fails(stop: threading.Event) -> Iterator[Finding]:
        together.wait(120)
        raise EngineError("one line")
        yield

    found = bounded_all([("a", meets), ("b", fails), ("c", meets)], 20, 3)
    assert [(finding.subject, finding.state) for finding in found] == [
        ("met", "ok"),
        ("b", "problem"),
        ("met", "ok"),
    ]
    assert found[1].text == "one line"
    assert bounded_all([], 20, 3) == []


def files(root: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_small_board_in_trouble(tmp_path: Path) -> None:
    root = files(
        tmp_path,
        {
            "proc/cpuinfo": "Features\t: fp asimd\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n",
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "proc/meminfo": "MemTotal:        2048000 kB\nMemAvailable:     102400 kB\n",
            "sys/class/thermal/thermal_zone0/temp": "84500\n",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "0x50005\n",
        },
    )
    found = {finding.subject: finding for finding in machine.device(STOP, root)}
    assert found["board"].text.startswith("Raspberry Pi 5 Model B Rev 1.0; ")
    assert (found["memory"].state, found["memory"].text) == ("problem", "2.0 GB, 0.1 GB of it available")
    assert "84 degrees" in found["heat"].text or "85 degrees" in found["heat"].text
    assert found["power"].state == "problem"


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    found = {finding.subject: finding for finding in machine.device(STOP, tmp_path)}
    assert found["board"].state == "ok"
    assert found["memory"].state == "skipped"


def test_accelerators(tmp_path: Path) -> None:
    root = files(
        tmp_path,
        {
            "dev/apex_0": "",
            "dev/dri/renderD128": "",
            "dev/video0": "",
            "sys/class/video4linux/video0/name": "HD Webcam\n",
            "proc/driver/nvidia/gpus/0/information": "Model: \t\t NVIDIA T4\n",
        },
    )
    found = {finding.subject: finding for finding in machine.accelerators(STOP, ["auto", "cuda"], root)}
    assert found["renderD128"].state == "ok"
    assert found["video0"].text.startswith("HD Webcam, ")
    assert found["NVIDIA"].text == "NVIDIA T4"
    assert "apex_0" in found["Edge TPU"].text


def test_an_engine_without_its_device(tmp_path: Path) -> None:
    (finding,) = [one for one in machine.accelerators(STOP, ["tensorrt"], tmp_path) if one.state == "problem"]
    assert finding.subject == "tensorrt"
    assert "no NVIDIA GPU here" in finding.text


def test_a_decoder_that_the_file_names_and_nothing_has() -> None:
    found = {finding.subject: finding for finding in machine.decoding(STOP, ["v4l2m2m"])}
    if Path("/dev/video0").exists():
        pytest.skip("there is a video device here")
    assert found["v4l2m2m"].state == "problem"
    assert "software decodes" in found["v4l2m2m"].text


def test_a_disk_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody can make files there, root neither.
    monkeypatch.setenv("STATE_DIRECTORY", "/proc/edgeseg")
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "not" / "yet"))
    state, cache = host.disk(STOP)
    assert (state.subject, state.state) == ("state", "problem")
    assert "alerts that wait for the broker would be lost" in state.text
    assert cache.state in ("ok", "note")
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize(
    ("load", "active", "enabled", "state", "words"),
    [
        ("loaded", "active", "enabled", "ok", "runs (running)"),
        ("loaded", "active", "disabled", "note", "enable edgeseg@yard"),
        ("loaded", "failed", "enabled", "problem", "journalctl -u edgeseg@yard"),
        ("loaded", "inactive", "disabled", "problem", "enable --now edgeseg@yard"),
        ("loaded", "inactive", "enabled", "problem", "start edgeseg@yard"),
        ("not-found", "inactive", "", "note", "install-service yard.yaml"),
    ],
)
def test_the_service(
    load: str,
    active: str,
    enabled: str,
    state: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = f"Id=edgeseg@yard.service LoadState={load} ActiveState={active} SubState=running"
    script = f"#!/bin/sh\nprintf '%s\\n' {said} UnitFileState={enabled}\n"
    files(tmp_path, {"systemctl": script})
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (finding,) = host.service(STOP, Path("yard.yaml"), tmp_path)
    assert finding.state == state
    assert words in f"{finding.text} {finding.mend}"


def test_no_systemd_here(tmp_path: Path) -> None:
    (finding,) = host.service(STOP, None, tmp_path / "none")
    assert finding.state == "skipped"


def test_a_port_that_is_free() -> None:
    (finding,) = host.web(STOP, WebSettings("127.0.0.1", free_port(), None))
    assert finding.state == "ok"
