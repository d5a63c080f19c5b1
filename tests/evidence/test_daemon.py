"""Evidence in the running daemon: a person comes in, pictures and a clip are kept, and who asks gets them."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from tests.conftest import write_clip
from tests.support.broker import Broker, Subscriber, free_port, wait_until
from tests.support.daemon import Daemon
from tests.support.rtsp_fixtures import RtspServer
from tests.support.web_client import WebClient

PIPELINE = """\
node: gatehouse
mqtt: {{url: "mqtt://127.0.0.1:{port}"}}
web: {{listen: "127.0.0.1:{web}"}}
model: deeplabv3-mnv2-pascal
engine: litert
evidence: {{pictures: masked, keep: 10 MB, clip: {{before: 1 s, after: 1 s}}}}
cameras:
  room:
    source: {source}
    evidence: {evidence}
    zones:
      table:
        polygon: [[0.45, 0.05], [0.72, 0.05], [0.72, 0.98], [0.45, 0.98]]
        rules:
          standing: {{occupied: [person], enter: 10 %, leave: 4 %, for: 1 s}}
"""


def raised(messages: Any) -> Any:
    """The first new alert."""
    alerts = [json.loads(one.payload) for one in messages if one.topic.endswith("/alert")]
    return next((alert for alert in alerts if alert["event"] == "new"), None)


def test_pictures_and_a_clip_lie_on_disk_and_pictures_come_on_request(
    tmp_path: Path, data_dir: Path, pulled_models: Path
) -> None:
    clip = data_dir / "video" / "one-by-one-person-detection.mp4"
    environment = {"EDGESEG_CACHE": str(pulled_models), "STATE_DIRECTORY": str(tmp_path / "state")}
    pipeline = tmp_path / "room.yaml"
    client = WebClient(free_port())
    with Broker(tmp_path) as broker, RtspServer(clip, fps=40) as camera:
        pipeline.write_text(
            PIPELINE.format(port=broker.port, web=client.port, source=camera.url, evidence="{}")
        )
        with Daemon(pipeline, environment) as daemon, Subscriber(broker.port, "edgeseg/#") as subscriber:
            alert = subscriber.wait_for(raised, "an alert")
            names = alert["evidence"]["pictures"]
            assert names == [f"{alert['id']}-before.jpg", f"{alert['id']}-after.jpg"]
            assert alert["evidence"]["clip"] == f"{alert['id']}-clip.mp4"
            folder = tmp_path / "state" / "gatehouse" / "evidence" / "room"
            wait_until(lambda: all((folder / name).exists() for name in names), "both pictures")

            def answer(wish: str) -> bytes:
                subscriber.forget()
                subscriber.publish("edgeseg/gatehouse/room/set/evidence", wish)
                found = subscriber.wait_for(
                    lambda all_: [one for one in all_ if one.topic == "edgeseg/gatehouse/room/evidence"],
                    f"the answer to {wish}",
                )
                assert not found[0].retain
                return bytes(found[0].payload)

            before, after = (answer(name) for name in names)
            assert before == (folder / names[0]).read_bytes()
            assert after == (folder / names[1]).read_bytes() == answer(alert["id"])
            assert answer("0" * 16) == b""
            # Somebody stands there, as a grey shape.
            picture = cv2.imdecode(np.frombuffer(after, np.uint8), cv2.IMREAD_COLOR).astype(int)
            assert abs(picture.shape[1] / picture.shape[0] - 768 / 432) < 0.01
            zone = picture[:, int(0.45 * picture.shape[1]) : int(0.72 * picture.shape[1])]
            assert (np.abs(zone - 127).max(axis=2) <= 4).mean() > 0.08

            video = folder / alert["evidence"]["clip"]
            wait_until(video.exists, "the clip")
            assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
            assert size_and_pictures(video)[0] == (768, 432)

            at = f"/api/v1/alerts/{alert['id']}"
            for part, content in (("before", before), ("after", after)):
                reply = client.get(f"{at}/pictures/{part}")
                assert (reply.headers["content-type"], reply.body) == ("image/jpeg", content)
            reply = client.get(f"{at}/clip")
            assert (reply.headers["content-type"], reply.body) == ("video/mp4", video.read_bytes())
            for absent in (
                f"{at}/pictures/between",
                f"/api/v1/alerts/{'0' * 16}/clip",
                "/api/v1/alerts/x/clip",
            ):
                assert client.get(absent).status == 404
            assert daemon.stop() == 0


def test_a_clip_of_a_second_sharper_stream(tmp_path: Path, data_dir: Path, pulled_models: Path) -> None:
    clip = data_dir / "video" / "one-by-one-person-detection.mp4"
    sharper = write_clip(tmp_path / "sharper.mp4", width=1280, height=720, frames=30)
    environment = {"EDGESEG_CACHE": str(pulled_models), "STATE_DIRECTORY": str(tmp_path / "state")}
    environment["PASSWORD"] = "s3cret"
    pipeline = tmp_path / "room.yaml"
    with (
        RtspServer(clip, fps=40) as camera,
        RtspServer(sharper, user="viewer", password="s3cret") as second,
    ):
        address = second.url_with(None, None).removeprefix("rtsp://")
        evidence = f"{{pictures: none, record_source: 'rtsp://viewer:${{PASSWORD}}@{address}'}}"
        text = PIPELINE.format(port=1, web=1, source=camera.url, evidence=evidence)
        without = ('mqtt: {url: "mqtt://127.0.0.1:1"}\n', 'web: {listen: "127.0.0.1:1"}\n')
        pipeline.write_text(text.replace(without[0], "").replace(without[1], ""))
        with Daemon(pipeline, environment) as daemon:

            def new() -> Any:
                return next((one for one in daemon.messages("/alert") if one["event"] == "new"), None)

            alert = wait_until(new, "an alert")
            assert alert["evidence"]["pictures"] is None
            video = tmp_path / "state" / "gatehouse" / "evidence" / "room" / alert["evidence"]["clip"]
            wait_until(video.exists, "the clip")
            size_px, pictures = size_and_pictures(video)
            assert size_px == (1280, 720)
            # Ten a second, from a second before to a second after, and back to the keyframe before that.
            assert 15 <= pictures <= 40
            assert daemon.stop() == 0
        assert "s3cret" not in daemon.log + daemon.output


def size_and_pictures(video: Path) -> tuple[tuple[int, int], int]:
    """(width, height), and how many pictures decode: all."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return (stream.width, stream.height), sum(1 for _ in container.decode(stream))
