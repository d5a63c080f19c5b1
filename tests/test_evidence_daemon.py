"""Evidence in the running daemon: a person comes in, two pictures lie on disk, and who asks gets them."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.broker import Broker, Subscriber, wait_until
from tests.daemon import Daemon
from tests.rtsp_fixtures import RtspServer

PIPELINE = """\
node: gatehouse
mqtt: {{url: "mqtt://127.0.0.1:{port}"}}
model: deeplabv3-mnv2-pascal
engine: litert
evidence: {{pictures: masked, keep: 10 MB}}
cameras:
  room:
    source: {source}
    zones:
      table:
        polygon: [[0.45, 0.05], [0.72, 0.05], [0.72, 0.98], [0.45, 0.98]]
        rules:
          standing: {{occupied: [person], enter: 10 %, leave: 4 %, for: 1 s}}
"""


def test_pictures_lie_on_disk_and_come_on_request(
    tmp_path: Path, data_dir: Path, pulled_models: Path
) -> None:
    clip = data_dir / "video" / "one-by-one-person-detection.mp4"
    environment = {"EDGESEG_CACHE": str(pulled_models), "STATE_DIRECTORY": str(tmp_path / "state")}
    pipeline = tmp_path / "room.yaml"
    with Broker(tmp_path) as broker, RtspServer(clip, fps=40) as camera:
        pipeline.write_text(PIPELINE.format(port=broker.port, source=camera.url))
        with Daemon(pipeline, environment) as daemon, Subscriber(broker.port, "edgeseg/#") as subscriber:

            def raised(messages: Any) -> Any:
                alerts = [json.loads(one.payload) for one in messages if one.topic.endswith("/alert")]
                return next((alert for alert in alerts if alert["event"] == "new"), None)

            alert = subscriber.wait_for(raised, "an alert")
            names = alert["evidence"]["pictures"]
            assert names == [f"{alert['id']}-before.jpg", f"{alert['id']}-after.jpg"]
            folder = tmp_path / "state" / "gatehouse" / "evidence" / "room"
            wait_until(lambda: all((folder / name).exists() for name in names), "both files")
            assert {stat.S_IMODE((folder / name).stat().st_mode) for name in names} == {0o600}

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
            assert daemon.stop() == 0
