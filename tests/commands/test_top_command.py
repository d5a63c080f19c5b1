"""``edgeseg top``: what it makes of messages, and how it begins and ends on a real broker."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from edgeseg.cli import main
from edgeseg.commands.top.output import plain_view
from edgeseg.commands.top.view import NodesOverview
from edgeseg.publish.mqtt.subscriber import ReceivedMessage
from tests.support.broker import Broker, Subscriber
from tests.support.terminal import Terminal

OCCUPANCY = {"state": "ok", "reason": None, "coverage": {"background": 0.6, "person": 0.25, "car": 0.001}}
STATUS = {"state": "live", "reason": None, "fps": 4.96, "age_ms": 130, "degraded": None}
STATS = {"busy": 0.42, "demand": 0.5, "outbox_waiting": 3, "alerts_delivered": 7, "uptime_s": 7260}
ALERT = {"at": "2026-11-22T10:00:00.000Z", "camera": "yard", "zone": "bay", "rule": "full", "event": "new"}
MESSAGES: dict[str, Any] = {
    "edgeseg/gate/status": "online",
    "edgeseg/gate/stats": STATS,
    "edgeseg/gate/yard/status": STATUS,
    "edgeseg/gate/yard/zone/bay/occupancy": OCCUPANCY,
    "edgeseg/gate/yard/zone/bay/rule/full": "ON",
}


def payload(value: Any) -> bytes:
    return (value if isinstance(value, str) else json.dumps(value)).encode()


def view_of(messages: dict[str, Any]) -> NodesOverview:
    view = NodesOverview("edgeseg")
    for topic, value in messages.items():
        view.receive(ReceivedMessage(topic, payload(value), retained=True))
    return view


def test_what_is_shown() -> None:
    view = view_of(MESSAGES)
    view.receive(ReceivedMessage("edgeseg/gate/alert", payload(ALERT), retained=False))
    assert list(plain_view(view, None)) == [
        "gate: online  busy 42%, asked 50% · outbox 3 · alerts delivered 7 · up 2 h 1 min",
        "  yard: live 5.0/s 0.1 s old",
        "  yard/bay: person 25%  on: full",
        "alert: 2026-11-22 10:00:00  gate/yard/bay  full: new",
    ]


def test_unknown_zones_say_why_and_cameras_what_they_get_less_of() -> None:
    unknown = {"state": "unknown", "reason": "stale", "coverage": None}
    less = {**STATUS, "state": "stale", "reason": "timeout", "degraded": {"rate": 2.5, "input": "480x384"}}
    view = view_of({"edgeseg/gate/yard/status": less, "edgeseg/gate/yard/zone/bay/occupancy": unknown})
    lines = list(plain_view(view, "nobody listens"))
    assert lines[0] == "broker: nobody listens"
    assert lines[2] == "  yard: stale (timeout) 5.0/s 0.1 s old degraded to 2.5/s 480x384"
    assert lines[3] == "  yard/bay: stale"
    less["degraded"] = {"rate": None, "input": None, "engine": "litert"}
    lines = list(plain_view(view_of({"edgeseg/gate/yard/status": less}), "nobody listens"))
    assert lines[2].endswith("degraded to engine litert")


@pytest.mark.parametrize(
    ("topic", "raw"),
    [
        ("edgeseg/gate/yard/zone/bay/occupancy", b""),
        ("edgeseg/gate/stats", b"[" * 100_000),
        ("edgeseg/gate/stats", b"[1]"),
        ("edgeseg/gate/yard/status", b"\xff"),
        ("elsewhere/gate/status", b"online"),
        ("edgeseg/gate/yard/set/enabled", b"ON"),
    ],
)
def test_what_does_not_fit_changes_nothing(topic: str, raw: bytes) -> None:
    view = view_of(MESSAGES)
    before = list(plain_view(view, None))
    view.receive(ReceivedMessage(topic, raw, retained=False))
    after = list(plain_view(view, None))
    if topic.endswith("stats"):
        # Nothing is better than what somebody made up.
        before[0] = "gate: online"
    assert after == before


def test_what_others_publish_without_end_is_bounded() -> None:
    view = NodesOverview("edgeseg")
    for number in range(1000):
        view.receive(ReceivedMessage(f"edgeseg/n{number}/status", b"online", retained=True))
        view.receive(
            ReceivedMessage(f"edgeseg/n0/c/zone/z{number}/occupancy", payload(OCCUPANCY), retained=True)
        )
    assert len(view.nodes) == 32
    assert len(view.nodes["n0"].zones) == 512


def test_once_on_a_real_broker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Broker(tmp_path) as broker, Subscriber(broker.port) as publisher:
        for topic, value in MESSAGES.items():
            publisher.publish(topic, payload(value), retain=True)
        assert main(["top", "--once", broker.url]) == 0
    assert "  yard/bay: person 25%  on: full" in capsys.readouterr().out


def test_live_on_a_terminal_until_ctrl_c(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, Subscriber(broker.port) as publisher:
        terminal = Terminal("top", broker.url, folder=tmp_path)
        terminal.wait_for("no messages yet")
        for topic, value in MESSAGES.items():
            publisher.publish(topic, payload(value))
        terminal.wait_for("yard/bay")
        terminal.wait_for("25%")
        os.killpg(terminal.process.pid, signal.SIGINT)
        assert terminal.close() == 0
    assert "Traceback" not in terminal.shown


@pytest.mark.parametrize(
    ("target", "words"),
    [
        # Whatever else listens on this machine, tcpmux does not.
        ("mqtt://127.0.0.1:1", "the broker: Connection refused"),
        ("http://10.0.0.1", "the broker's address expected mqtt://host"),
        ("file.yaml", "names no broker"),
    ],
)
def test_mistakes_are_one_line(
    target: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.yaml").write_text(
        "model: deeplabv3plus-mnv2-camvid\ncameras: {yard: {source: a.mp4}}\n"
    )
    assert main(["top", "--once", target]) == 2
    assert words in capsys.readouterr().err
