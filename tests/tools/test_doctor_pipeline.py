"""``edgeseg doctor PIPELINE`` against a real broker and a real RTSP server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgeseg.cli import main
from edgeseg.commands.doctor import JSON_SCHEMA
from tests.conftest import write_clip
from tests.support.broker import Broker, free_port
from tests.support.rtsp_fixtures import RtspServer
from tests.support.tiny_models import Convention, write_model

Findings = dict[tuple[str, str], list[dict[str, Any]]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny", Convention())


def write(folder: Path, model: Path, cameras: dict[str, str], mqtt: str = "") -> Path:
    zone = "zones: {bay: {polygon: [[0, 0], [1, 0], [1, 1]], rules: {full: {occupied: [thing]}}}}"
    lines = [f"node: gate\nmodel: {model}\n{mqtt}\ncameras:"]
    lines += [f"  {name}:\n    source: {url}\n    {zone}" for name, url in cameras.items()]
    path = folder / "gate.yaml"
    path.write_text("\n".join(lines).replace("thing", Convention().classes[-1]) + "\n")
    return path


def doctor(path: Path, capsys: pytest.CaptureFixture[str], *sections: str) -> tuple[int, Findings]:
    code = main(["doctor", str(path), "--json", *(word for one in sections for word in ("--only", one))])
    output = capsys.readouterr().out
    found = json.loads(output)
    jsonschema.validate(found, JSON_SCHEMA)
    findings: Findings = {}
    for one in found["findings"]:
        findings.setdefault((one["section"], one["subject"]), []).append(one)
    return code, findings


def test_cameras_side_by_side(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main_stream = write_clip(tmp_path / "main.mp4", width=1920, height=1080, fps=5, frames=5)
    sub_stream = write_clip(tmp_path / "sub.mp4", width=640, height=360, fps=5, frames=10)
    monkeypatch.setenv("YARD_PASSWORD", "right")
    monkeypatch.setenv("LANE_PASSWORD", "secret-wrong")
    with (
        RtspServer(
            main_stream, sub_stream, user="viewer", password="right", paths={"/videoMain": 0, "/stream2": 1}
        ) as server,
        RtspServer(sub_stream) as frozen,
    ):
        frozen.freeze()
        at = f"127.0.0.1:{server.port}"
        cameras = {
            "yard": f"rtsp://viewer:${{YARD_PASSWORD}}@{at}/videoMain",
            "lane": f"rtsp://viewer:${{LANE_PASSWORD}}@{at}/stream2",
            "gone": f"rtsp://127.0.0.1:{free_port()}/stream2",
            "frozen": frozen.url,
            "unset": f"rtsp://viewer:${{NOBODY_SET_THIS}}@{at}/stream2",
        }
        code, findings = doctor(write(tmp_path, model, cameras), capsys, "cameras")
    assert code == 1
    seen, advice = findings["cameras", "yard"][0], findings["cameras", "yard"][-1]
    assert seen["state"] == "ok"
    assert seen["text"].startswith("1920x1080, H.264, ")
    assert "keyframe every 1.0 s" in seen["text"]
    assert 3.5 < float(re.findall(r"([\d.]+) pictures a second", seen["text"])[0]) < 6.5
    assert "looks like a main stream: 1920x1080" in advice["text"]
    assert advice["mend"] == (
        f"use the camera's substream; rtsp://***@{at}/videoSub does not answer; set it up in the camera "
        "under Video > Sub stream"
    )
    (refused,) = findings["cameras", "lane"]
    assert refused["state"] == "problem"
    assert "$LANE_PASSWORD" in refused["mend"]
    assert "secret" not in json.dumps([*findings.values()])
    (gone,) = findings["cameras", "gone"]
    assert "connection refused" in gone["text"]
    (hung,) = findings["cameras", "frozen"]
    assert "no answer within" in hung["text"]
    assert hung["mend"] == "check its cable, power and address: ping 127.0.0.1"
    (unset,) = findings["cameras", "unset"]
    assert "NOBODY_SET_THIS is not set" in unset["text"]


def test_a_broker_that_takes_it_all(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Broker(tmp_path) as broker:
        path = write(tmp_path, model, {"yard": "clip.mp4"}, f"mqtt: {{url: '{broker.url}'}}")
        code, findings = doctor(path, capsys, "broker")
    assert code == 0
    assert findings["broker", "login"][0]["text"] == "accepted without a login, MQTT 5"
    assert findings["broker", "publish"][0]["text"].endswith("topics are allowed, edgeseg/gate/status and on")
    assert findings["broker", "commands"][0]["state"] == "ok"


def test_an_access_list_with_a_hole(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acl = "user edge\ntopic write edgeseg/gate/+/zone/#\ntopic write edgeseg/gate/+/status\n"
    (tmp_path / "password").write_text("right\n")
    with Broker(tmp_path, users={"edge": "right"}, acl=acl) as broker:
        mqtt = f"mqtt: {{url: '{broker.url}', username: edge, password_file: password}}"
        code, findings = doctor(write(tmp_path, model, {"yard": "clip.mp4"}, mqtt), capsys, "broker")
        broker.acl = f"{acl}topic write edgeseg/gate/#\n"
        broker.reload()
        at_home = write(tmp_path, model, {"yard": "clip.mp4"}, f"{mqtt}\nhomeassistant: on")
        _, discovery = doctor(at_home, capsys, "broker")
        (tmp_path / "password").write_text("wrong\n")
        wrong_code, wrong = doctor(tmp_path / "gate.yaml", capsys, "broker")
    assert code == wrong_code == 1
    publish = findings["broker", "publish"][0]
    assert "topics are refused" in publish["text"]
    assert "Not authorized" in publish["text"]
    assert publish["mend"] == "let user edge `topic write edgeseg/gate/#` in the broker's access list"
    assert discovery["broker", "publish"][0]["mend"] == (
        "let user edge `topic write homeassistant/device/#` in the broker's access list"
    )
    assert wrong["broker", "login"][0]["state"] == "problem"
    assert "mqtt.password_file" in wrong["broker", "login"][0]["mend"]


def test_nobody_listens(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, model, {"yard": "clip.mp4"}, f"mqtt: {{url: 'mqtt://127.0.0.1:{free_port()}'}}")
    code, findings = doctor(path, capsys, "broker")
    assert code == 1
    assert findings["broker", "reach"][0]["text"].endswith("no broker listens there")


def test_the_port_of_the_dashboard(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, model, {"yard": "clip.mp4"}, f"web: {{listen: '127.0.0.1:{free_port()}'}}")
    free_code, free = doctor(path, capsys, "web")
    assert (free_code, free["web", "dashboard"][0]["state"]) == (0, "ok")
    with Broker(tmp_path) as broker:
        path = write(tmp_path, model, {"yard": "clip.mp4"}, f"web: {{listen: '127.0.0.1:{broker.port}'}}")
        taken_code, taken = doctor(path, capsys, "web")
    assert taken_code == 1
    assert "another program has 127.0.0.1" in taken["web", "dashboard"][0]["text"]


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(tmp_path / "none.yaml")]) == 2
    assert "no such file; `edgeseg init` makes one" in capsys.readouterr().err
