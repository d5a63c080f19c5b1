"""The main job with real parts: an RTSP camera with a password, a real network, a broker with a login."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from edgeseg.publish.jsonl import payload_value
from edgeseg.publish.schema import mqtt_schema
from tests.support.broker import Broker, Received, Subscriber
from tests.support.daemon import Daemon
from tests.support.rtsp_fixtures import RtspServer

# With characters that URLs and YAML dislike, so that a badly encoded one would fail or show.
CAMERA_PASSWORD = "cam/pass@word#1"
BROKER_PASSWORD = "broker-pass%word"

SCHEMA = Draft202012Validator(mqtt_schema())

PIPELINE = """\
node: gatehouse
mqtt: {{url: "mqtt://127.0.0.1:{port}", username: edgeseg, password_file: mqtt_password}}
model: deeplabv3-mnv2-pascal
cameras:
  room:
    source: {source}
    rate: 5
    zones:
      table:
        polygon: [[0.45, 0.05], [0.72, 0.05], [0.72, 0.98], [0.45, 0.98]]
        rules:
          standing: {{occupied: [person], enter: 10 %, leave: 4 %, for: 1 s, clear: 1 s}}
"""


@pytest.fixture
def camera(data_dir: Path) -> Iterator[RtspServer]:
    clip = data_dir / "video" / "one-by-one-person-detection.mp4"
    # Four times its own rate: the first person stands at the table after 2.5 s instead of 10.
    with RtspServer(clip, user="viewer", password=CAMERA_PASSWORD, digest=True, fps=40) as server:
        yield server


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path, users={"edgeseg": BROKER_PASSWORD, "watcher": "w"}) as broker:
        yield broker


@pytest.fixture
def daemon(
    camera: RtspServer, broker: Broker, tmp_path: Path, data_dir: Path, pulled_models: Path
) -> Iterator[Daemon]:
    place = camera.url_with(None, None).removeprefix("rtsp://")
    source = "rtsp://viewer:${CAMERA_PASSWORD}@" + place
    pipeline = tmp_path / "gatehouse.yaml"
    pipeline.write_text(PIPELINE.format(port=broker.port, source=source))
    (tmp_path / "mqtt_password").write_text(BROKER_PASSWORD + "\n")
    environment = {"CAMERA_PASSWORD": CAMERA_PASSWORD, "EDGESEG_CACHE": str(pulled_models)}
    with Daemon(pipeline, environment) as daemon:
        yield daemon


def watcher(broker: Broker) -> Subscriber:
    return Subscriber(broker.port, "edgeseg/#", username="watcher", password="w")


def payloads(messages: list[Received], topic: str) -> list[Any]:
    return [json.loads(one.payload) for one in messages if one.topic == f"edgeseg/gatehouse/{topic}"]


def alert_that(messages: list[Received], event: str) -> Any:
    return next((one for one in payloads(messages, "alert") if one["event"] == event), None)


@pytest.mark.alone
def test_from_camera_to_subscriber(daemon: Daemon, broker: Broker) -> None:
    with watcher(broker) as subscriber:
        subscriber.wait_for_payload("gatehouse/status", "online")
        new = subscriber.wait_for(lambda all_: alert_that(all_, "new"), "a new alert")
        end = subscriber.wait_for(lambda all_: alert_that(all_, "end"), "its end")
        assert (new["kind"], new["zone"], new["rule"]) == ("occupied", "table", "standing")
        assert new["evidence"]["value"] >= 0.10
        assert new["after"]["coverage"]["person"] >= 0.10 > new["before"]["coverage"].get("person", 0.0)
        assert end["id"] == new["id"]
        assert end["seq"] > new["seq"]
        seen = subscriber.messages

    occupancy = payloads(seen, "room/zone/table/occupancy")
    assert {"ok", "unknown"} == {one["state"] for one in occupancy}
    known = [one for one in occupancy if one["state"] == "ok"]
    assert all(abs(sum(one["coverage"].values()) + one["uncertain"] - 1) < 0.01 for one in known)
    # Published while fresh: capture to publication, on a loaded machine.
    assert sorted(one["age_ms"] for one in known)[len(known) // 2] < 2000
    for message in seen:
        validate(message)

    expected = {"status", "room/status", "room/zone/table/occupancy", "room/zone/table/rule/standing"}
    with watcher(broker) as late:
        late.wait_for(lambda all_: expected <= retained(all_), "the retained state")
        assert "alert" not in retained(late.messages)
    credentials_are_nowhere(daemon, seen)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_offline_is_said_however_it_ends(daemon: Daemon, broker: Broker, number: signal.Signals) -> None:
    with watcher(broker) as subscriber:
        subscriber.wait_for_payload("room/zone/table/rule/standing", "OFF")
        code = daemon.stop(number)
        assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL)
        subscriber.wait_for_payload("gatehouse/status", "offline")
    with watcher(broker) as late:
        assert late.wait_for_payload("gatehouse/status", "offline").retain


def test_the_camera_goes_and_comes_back(daemon: Daemon, broker: Broker, camera: RtspServer) -> None:
    with watcher(broker) as subscriber:
        subscriber.wait_for_payload("room/zone/table/rule/standing", "OFF")
        subscriber.forget()
        camera.freeze()
        subscriber.wait_for_payload("room/zone/table/rule/standing", "unknown")
        # Stale first, or offline at once where the read timeout is the quicker.
        gone = subscriber.wait_for(
            lambda all_: [
                one for one in payloads(all_, "room/status") if one["state"] in ("stale", "offline")
            ],
            "the camera is said to be away",
        )
        assert gone[0]["reason"]
        occupancy = payloads(subscriber.messages, "room/zone/table/occupancy")[-1]
        assert (occupancy["state"], occupancy["coverage"]) == ("unknown", None)
        assert subscriber.wait_for_payload("class/person", "None")
        subscriber.forget()
        camera.resume()
        subscriber.wait_for(
            lambda all_: [one for one in payloads(all_, "room/status") if one["state"] == "live"],
            "live again",
        )


def test_commands_are_obeyed_and_answered(daemon: Daemon, broker: Broker) -> None:
    with watcher(broker) as subscriber:
        subscriber.wait_for_payload("room/zone/table/rule/standing", "OFF")
        subscriber.publish("edgeseg/gatehouse/room/set/snapshot", "now")
        (picture,) = subscriber.wait_for(
            lambda all_: [one.payload for one in all_ if one.topic.endswith("room/snapshot")], "a snapshot"
        )
        assert picture.startswith(b"\xff\xd8\xff"), "a JPEG"
        subscriber.publish("edgeseg/gatehouse/room/set/rate", "2")
        subscriber.wait_for_payload("room/rate", "2")
        subscriber.publish("edgeseg/gatehouse/room/set/enabled", "OFF")
        subscriber.wait_for_payload("room/enabled", "OFF")
        subscriber.wait_for(
            lambda all_: [one for one in payloads(all_, "room/status") if one["state"] == "disabled"],
            "disabled",
        )
        subscriber.forget()
        subscriber.publish("edgeseg/gatehouse/room/set/enabled", "ON")
        subscriber.wait_for(
            lambda all_: [one for one in payloads(all_, "room/status") if one["state"] == "live"],
            "live again",
        )


def retained(messages: list[Received]) -> set[str]:
    return {one.topic.removeprefix("edgeseg/gatehouse/") for one in messages if one.retain}


def validate(message: Received) -> None:
    """Against what ``edgeseg schema mqtt`` prints, which describes a message as a JSON line."""
    retain = not message.topic.endswith("/alert")
    line = {
        "topic": message.topic,
        "qos": message.qos,
        "retain": retain,
        "payload": payload_value(message.payload),
    }
    SCHEMA.validate(line)


def credentials_are_nowhere(daemon: Daemon, seen: list[Received]) -> None:
    everything = daemon.log + daemon.output + "".join(one.payload.decode(errors="replace") for one in seen)
    command_line = Path(f"/proc/{daemon.process.pid}/cmdline").read_text()
    for secret in (CAMERA_PASSWORD, BROKER_PASSWORD, "cam%2Fpass%40word%231", "broker-pass%25word"):
        assert secret not in everything
        assert secret not in command_line
