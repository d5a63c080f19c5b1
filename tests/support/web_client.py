"""A client of the web server, and a pipeline file with it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.support.tiny_models import Convention, write_model

PIPELINE = """\
# The yard, as somebody wrote it.
web: {{listen: "127.0.0.1:{port}"{web}}}
node: test
model: {model}
cameras:
  yard:
    source: {clip}
    rate: 10
    gate: {gate}
    zones:
      # what the square crosses
      right:
        polygon: [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]   # the right half
        rules:
          seen: {{occupied: [red], enter: 5 %, leave: 2 %, for: 300 ms, clear: 300 ms}}
  gate:
    source: {clip}
    rate: 5
"""


def web_pipeline(folder: Path, clip: Path, port: int, *, web: str = "", gate: str = "off") -> Path:
    """A file of two cameras. web: more keys of ``web``."""
    model = folder / "tiny"
    if not model.exists():
        write_model(model, Convention())
    path = folder / "yard.yaml"
    path.write_text(PIPELINE.format(model=model, clip=clip, port=port, web=web, gate=gate))
    return path


def write_pacing_clip(path: Path, *, frames: int = 3000, step_px: int = 2, light: int = 224) -> Path:
    """A bright square that walks across a dark ground of 64 x 48 again and again, 10 frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "10", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(frames):
            picture = np.full((48, 64, 3), min(32, light), np.uint8)
            left = step_px * index % 48
            picture[16:32, left : left + 16] = light
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class WebClient:
    """token: sent along with each request."""

    port: int
    token: str = ""

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        """headers: with _ for -. body: JSON, or bytes as they are."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.ask("GET", path, **headers)

    def ready(self) -> bool:
        """Whether it answers that all is well."""
        try:
            return self.get("/readyz").status == 200
        except OSError:
            return False
