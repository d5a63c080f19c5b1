"""A daemon whose inference server is killed and started again: no alert is lost, both are reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edgeseg.models import registry
from tests.kserve.test_remote import DEPLOY
from tests.support.broker import free_port, wait_until
from tests.support.daemon import Daemon
from tests.support.inference_servers import KINDS, InferenceServer
from tests.support.tiny_models import write_model
from tests.support.web_client import WebClient

FPS = 10
PIPELINE = """\
node: test
web: {{listen: "127.0.0.1:{web}"}}
model: {model}
engine: kserve
remote: {{url: "{url}", fallback: onnxruntime}}
cameras:
  yard:
    source: {clip}
    rate: {rate}
    gate: off
    health: off
    zones:
      all:
        polygon: [[0, 0], [1, 0], [1, 1], [0, 1]]
        rules:
          lit: {{occupied: [red], enter: 20 %, leave: 10 %, for: 300 ms, clear: 300 ms}}
"""


def blinking(path: Path, times: int) -> Path:
    """A clip that is red for a second and dark for a second, ``times`` over."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"g": "10", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(times * 2 * FPS):
            picture = np.zeros((48, 64, 3), np.uint8)
            picture[..., 0] = 0 if (index // FPS) % 2 else 240
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_no_alert_is_lost_when_the_server_is_killed_and_started_again(kind: str, tmp_path: Path) -> None:
    times = 7
    clip = blinking(tmp_path / "blink.mp4", times)
    model = registry.find(str(write_model(tmp_path / "tiny", DEPLOY)))
    web = WebClient(free_port())
    file = tmp_path / "pipeline.yaml"
    with InferenceServer(kind, model.folder) as server:
        file.write_text(
            PIPELINE.format(web=web.port, model=model.folder, url=server.url, clip=clip, rate=FPS)
        )
        with Daemon(file) as daemon:

            def alerts(event: str) -> list[Any]:
                return [one for one in daemon.messages("/alert") if one["event"] == event]

            def standing_in() -> Any:
                status = daemon.messages("yard/status")
                return (status[-1]["degraded"] or {}).get("engine") if status else None

            wait_until(lambda: alerts("new"), "the first alert")
            assert 'engine="kserve"' in web.get("/metrics").body.decode()
            server.kill()
            wait_until(lambda: standing_in() == "onnxruntime", "the stand-in in the status")
            assert 'engine="onnxruntime"' in web.get("/metrics").body.decode()
            server.start()
            wait_until(lambda: standing_in() is None, "the return in the status")
            assert 'engine="kserve"' in web.get("/metrics").body.decode()
            assert daemon.process.wait(240) == 0
            assert len(alerts("new")) == len(alerts("end")) == times
            assert len({one["id"] for one in alerts("new")}) == times
            assert "onnxruntime runs here until it is back" in daemon.log
            assert "is back after" in daemon.log
            dropped = daemon.messages("stats")[-1]["dropped"]["yard"]
            assert not dropped.get("engine")
