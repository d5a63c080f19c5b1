"""``edgeseg fleet roll-out``: two real daemons, a real broker, devices as folders."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeseg.cli import main
from edgeseg.commands.fleet.rollout import stages_of
from edgeseg.errors import EdgesegError
from edgeseg.tools.fleet.devices import DeviceLayout, FolderDevice
from tests.support.broker import Broker, Subscriber, free_port
from tests.support.daemon import Daemon
from tests.support.tiny_models import Convention, write_model

PIPELINE = """\
node: {node}
mqtt: {{url: "mqtt://127.0.0.1:{port}"}}
model: {model}
cameras:
  yard:
    source: {source}
    {repeat}
    rate: 5
    zones:
      all:
        polygon: [[0, 0], [1, 0], [1, 1], [0, 1]]
        rules:
          seen: {{occupied: [red], enter: {enter} %, leave: 1 %}}
"""


class Devices:
    """Two devices as folders, their daemons, and the broker."""

    def __init__(self, folder: Path, broker: Broker, clip: Path) -> None:
        self.folder = folder
        self.broker = broker
        self.clip = clip
        self.model = write_model(folder / "tiny", Convention())
        self.old = {name: self.pipeline(name) for name in ("gate", "dock")}

    def pipeline(self, node: str, source: str | None = None, enter: int = 5) -> str:
        return PIPELINE.format(
            node=node,
            port=self.broker.port,
            model=self.model,
            source=source or self.clip,
            repeat="" if source else "repeat: on",
            enter=enter,
        )

    def file(self, node: str) -> Path:
        return self.folder / node / "main.yaml"

    def roll_out(self, *arguments: str) -> int:
        to = [f"{self.folder / name}/" for name in self.old]
        program = f"{sys.executable} -m edgeseg"
        return main(
            [
                *("fleet", "roll-out", str(self.folder / "{node}.yaml"), self.broker.url, "--to", *to),
                *("--place", "/main.yaml", "--program", program, "--reload", "kill -HUP $(cat pid)"),
                *("--settle", "1", *arguments),
            ]
        )


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory, tiny_clip: Path) -> Iterator[Devices]:
    folder = tmp_path_factory.mktemp("devices")
    with contextlib.ExitStack() as running:
        broker = running.enter_context(Broker(folder))
        devices = Devices(folder, broker, tiny_clip)
        watching = running.enter_context(Subscriber(broker.port))
        for name, text in devices.old.items():
            (folder / name).mkdir()
            devices.file(name).write_text(text)
            daemon = running.enter_context(Daemon(devices.file(name)))
            (folder / name / "pid").write_text(str(daemon.process.pid))
        for name in devices.old:
            watching.wait_for(
                lambda all_, name=name: (
                    any(one.topic == f"edgeseg/{name}/stats" for one in all_)
                    and any(b'"live"' in one.payload for one in all_ if f"/{name}/yard/status" in one.topic)
                ),
                f"a live camera at {name}",
            )
        yield devices


def test_a_camera_that_cannot_be_reached_takes_the_file_back(
    devices: Devices, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in devices.old:
        (devices.folder / f"{name}.yaml").write_text(
            devices.pipeline(name, f"rtsp://127.0.0.1:{free_port()}/stream")
        )
    assert devices.roll_out("--within", "4") == 2
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        *("gate: file checked", "dock: file checked", "gate: changed"),
        "gate: back to the old file",
    ]
    assert "not healthy within 4 s: gate: camera yard is " in said.err
    assert "rolled back, the old file is in force again: gate" in said.err
    for name, text in devices.old.items():
        assert devices.file(name).read_text() == text
        assert not (devices.folder / name / "main.next.yaml").exists()


def test_a_good_file_arrives_everywhere_and_the_old_one_is_kept(
    devices: Devices, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in devices.old:
        (devices.folder / f"{name}.yaml").write_text(devices.pipeline(name, enter=7))
    assert devices.roll_out() == 0
    assert capsys.readouterr().out.splitlines() == [
        *("gate: file checked", "dock: file checked"),
        *("gate: changed", "1 of 2: healthy", "dock: changed", "2 of 2: healthy"),
    ]
    for name, text in devices.old.items():
        assert "enter: 7 %" in devices.file(name).read_text()
        assert (devices.folder / name / "main.yaml.previous").read_text() == text


def test_a_wrong_file_changes_nothing(devices: Devices, capsys: pytest.CaptureFixture[str]) -> None:
    before = {name: devices.file(name).read_text() for name in devices.old}
    for name in devices.old:
        zone = "gat" if name == "dock" else "all"
        text = devices.pipeline(name, enter=9).replace("occupied: [red]", f"occupied: [{zone}]")
        (devices.folder / f"{name}.yaml").write_text(text.replace("[all]", "[red]"))
    assert devices.roll_out() == 2
    said = capsys.readouterr()
    assert "nothing was changed" in said.err
    assert "gat" in said.err
    assert "changed" not in said.out
    assert {name: devices.file(name).read_text() for name in devices.old} == before


def test_a_node_that_is_not_there_is_told_before_anything_is_touched(
    devices: Devices, capsys: pytest.CaptureFixture[str]
) -> None:
    (devices.folder / "attic").mkdir()
    (devices.folder / "attic.yaml").write_text(devices.pipeline("attic"))
    arguments = [str(devices.folder / "attic.yaml"), devices.broker.url, "--to", f"{devices.folder}/attic/"]
    assert main(["fleet", "roll-out", *arguments]) == 2
    assert "node attic: the broker does not know it; nothing was changed" in capsys.readouterr().err


def test_a_model_comes_along_but_replaces_none(tmp_path: Path) -> None:
    (tmp_path / "device").mkdir()
    (tmp_path / "device" / "main.yaml").write_text("old")
    device, layout = FolderDevice(tmp_path / "device"), DeviceLayout("/main.yaml", "true", "true")
    model = write_model(tmp_path / "tiny", Convention()).parent
    model = model if model.is_dir() and (model / "model.yaml").exists() else tmp_path / "tiny"
    for _ in range(2):
        layout.upload(device, b"new", (model,))
    assert (tmp_path / "device" / "models" / "tiny" / "model.yaml").read_bytes() == (
        model / "model.yaml"
    ).read_bytes()
    (model / "model.yaml").write_text("another")
    with pytest.raises(EdgesegError, match="give a changed model another name"):
        layout.upload(device, b"new", (model,))
    assert (tmp_path / "device" / "main.yaml").read_text() == "old"


def test_a_swap_that_did_not_happen_brings_no_older_file_back(tmp_path: Path) -> None:
    for name, text in (("main.yaml", "old"), ("main.yaml.previous", "older")):
        (tmp_path / name).write_text(text)
    device, layout = FolderDevice(tmp_path), DeviceLayout("/main.yaml", "true", "true")
    digest = hashlib.sha256(b"new").hexdigest()
    layout.upload(device, b"new")
    layout.restore(device, digest)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "main.yaml": "old",
        "main.yaml.previous": "older",
    }
    layout.upload(device, b"new")
    layout.activate(device)
    assert (tmp_path / "main.yaml").read_text() == "new"
    layout.restore(device, digest)
    assert (tmp_path / "main.yaml").read_text() == "old"


def test_stages() -> None:
    assert stages_of("1,3,all", 10) == [1, 3, 10]
    assert stages_of("1,3,all", 2) == [1, 2]
    assert stages_of("2", 5) == [2, 5]
    for wrong in ("", "3,1", "0", "one"):
        with pytest.raises(EdgesegError, match="expected growing numbers"):
            stages_of(wrong, 5)
