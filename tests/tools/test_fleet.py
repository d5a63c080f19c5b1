"""``edgeseg fleet status``: what it makes of the retained topics of many nodes, on a real broker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate

from edgeseg.cli import main
from edgeseg.clock import iso_utc
from edgeseg.publish.mqtt.subscriber import ReceivedMessage
from edgeseg.tools.fleet import format
from edgeseg.tools.fleet.node_status import MOST_CAMERAS, Fleet
from tests.support.broker import Broker, Subscriber, free_port

NOON_S = 1_795_348_800.0


def stats(at_s: float = NOON_S - 20, **told: Any) -> dict[str, Any]:
    return {
        "at": iso_utc(at_s),
        "outbox_waiting": 0,
        "restarts": 0,
        "version": "1.0",
        "pipeline": 64 * "a",
        **told,
    }


NODES: dict[str, Any] = {
    "edgeseg/gate/status": "online",
    "edgeseg/gate/stats": stats(),
    "edgeseg/gate/yard/status": {"state": "live"},
    "edgeseg/gate/road/status": {"state": "live"},
    "edgeseg/dock/status": "online",
    "edgeseg/dock/stats": stats(outbox_waiting=3, restarts=2, version="0.9", pipeline=64 * "b"),
    "edgeseg/dock/ramp/status": {"state": "stale"},
    "edgeseg/dock/door/status": {"state": "live"},
    "edgeseg/hall/status": "offline",
    "edgeseg/hall/stats": stats(NOON_S - 7300, pipeline=64 * "b"),
    "edgeseg/hall/desk/status": {"state": "offline"},
    "edgeseg/attic/status": "online",
    "edgeseg/attic/stats": stats(NOON_S - 600),
}


def payload(value: Any) -> bytes:
    return (value if isinstance(value, str) else json.dumps(value)).encode()


def fleet_of(messages: dict[str, Any], *prefixes: str) -> Fleet:
    fleet = Fleet(prefixes or ("edgeseg",))
    for topic, value in messages.items():
        fleet.receive(ReceivedMessage(topic, payload(value), retained=True))
    return fleet


def test_those_that_need_somebody_come_first() -> None:
    fleet = fleet_of(NODES)
    assert format.rows(fleet, NOON_S) == [
        ("hall", "offline", "1 offline", "0", "0", "2 h ago", "1.0", "bbbbbbbb"),
        ("attic", "silent", "none", "0", "0", "10 min ago", "1.0", "aaaaaaaa"),
        ("dock", "online", "1 live, 1 stale", "3", "2", "20 s ago", "0.9", "bbbbbbbb"),
        ("gate", "online", "2 live", "0", "0", "20 s ago", "1.0", "aaaaaaaa"),
    ]
    assert list(format.sentences(fleet, NOON_S)) == [
        "2 of 4 nodes online, 3 of 5 cameras live",
        "versions differ: 1.0: attic, gate, hall; 0.9: dock",
        "pipeline files differ: aaaaaaaa: attic, gate; bbbbbbbb: dock, hall",
    ]


def test_what_is_taken_back_is_gone() -> None:
    fleet = fleet_of({**NODES, "edgeseg/dock/ramp/status": ""})
    assert fleet.nodes["dock"].states == {"live": 1}
    fleet.receive(ReceivedMessage("edgeseg/hall/status", b"", retained=False))
    assert "hall" not in fleet.nodes


def test_sites_are_told_apart_by_their_prefix() -> None:
    fleet = fleet_of({"a/edgeseg/gate/status": "online", "b/gate/status": "offline"}, "a/edgeseg", "b")
    assert {name: node.online for name, node in fleet.nodes.items()} == {
        "a/edgeseg/gate": True,
        "b/gate": False,
    }


@pytest.mark.parametrize(
    ("topic", "value"),
    [
        ("edgeseg/gate/stats", "[" * 100_000),
        ("edgeseg/gate/stats", {"at": 7, "version": "\x1b[2J", "restarts": "many", "pipeline": []}),
        ("edgeseg/gate/\x1b[2J/status", {"state": "live"}),
        ("edgeseg/gate/yard/status", {"state": "\x1b[2J"}),
        ("edgeseg/\x1b[2J/status", "online"),
    ],
)
def test_what_does_not_fit_is_left_out(topic: str, value: Any) -> None:
    fleet = fleet_of({"edgeseg/gate/status": "online", topic: value})
    assert format.rows(fleet, NOON_S) == [("gate", "online", "none", "?", "?", "never", "?", "?")]


def test_a_node_cannot_fill_the_memory() -> None:
    fleet = fleet_of({f"edgeseg/gate/camera{number}/status": {"state": "live"} for number in range(1000)})
    assert fleet.nodes["gate"].live == MOST_CAMERAS


def test_a_real_broker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Broker(tmp_path) as broker, Subscriber(broker.port) as client:
        for topic, value in NODES.items():
            client.publish(topic, payload(value), retain=True)
        client.wait_for(
            lambda all_: len({one.topic for one in all_}) == len(NODES), "all of it at the broker"
        )
        assert main(["fleet", "status", broker.url, "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        validate(said, dict(format.JSON_SCHEMA))
        assert {name: one["state"] for name, one in said["nodes"].items()}["hall"] == "offline"
        assert said["nodes"]["dock"]["cameras"] == {"door": "live", "ramp": "stale"}
        assert said["versions"] == {"1.0": ["attic", "gate", "hall"], "0.9": ["dock"]}
        assert main(["fleet", "status", broker.url]) == 0
        assert "4 nodes" in capsys.readouterr().out


def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for address, words in (
        (f"mqtt://127.0.0.1:{free_port()}", "the broker at 127.0.0.1:"),
        ("mqtt://me:hidden@host", "EDGESEG_MQTT_PASSWORD"),
        ("host", "expected mqtt://host"),
    ):
        assert main(["fleet", "status", address]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert "hidden" not in said
        assert said.count("\n") == 1
