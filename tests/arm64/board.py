"""What a board has to do, tried in an aarch64 system under emulation: imports, ``segment``, ``run``.

Named to pytest by ``make test-arm64``; the ordinary suite has its own, closer tests of all of it.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import platform
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

import edgeseg
from edgeseg.models.runtimes import ENGINES
from tests.support.broker import Broker, Subscriber, wait_until
from tests.support.daemon import Daemon
from tests.support.drawn_scenes import room, street

NETWORK = "deeplabv3plus-mnv2-camvid"
# An emulated process takes up to half a minute to import what the daemon needs, on a quiet machine.
PATIENCE_S = 900.0

PIPELINE = """\
node: board
model: deeplabv3plus-mnv2-camvid
engine: onnxruntime
input: 256x192
mqtt: {{url: "mqtt://127.0.0.1:{port}"}}
cameras:
  yard:
    source: {clip}
    rate: 1
    gate: off
    health: off
    zones:
      street:
        polygon: [[0.3, 0.7], [0.8, 0.7], [0.8, 0.98], [0.3, 0.98]]
        rules:
          seen: {{occupied: [road], enter: 30 %, leave: 10 %, for: 1 s, clear: 1 s}}
"""


def test_this_is_aarch64() -> None:
    assert platform.machine() == "aarch64"


def test_every_module_is_imported() -> None:
    names = [
        found.name
        for found in pkgutil.walk_packages(edgeseg.__path__, "edgeseg.")
        # Training never happens on a board, and __main__ is the command itself.
        if not found.name.startswith("edgeseg.zoo") and not found.name.endswith("__main__")
    ]
    assert len(names) > 200
    for name in names:
        importlib.import_module(name)


@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize(
    ("engine", "input_size"),
    # The TFLite file has one size. OpenVINO's kernels are the slowest by far to emulate.
    [("onnxruntime", "736x544"), ("litert", "736x544"), ("openvino", "256x192")],
)
def test_segment(engine: str, input_size: str, tmp_path: Path) -> None:
    if not ENGINES[engine].installed:
        pytest.skip(f"engine {engine} is not installed: {ENGINES[engine].install}")
    picture = tmp_path / "street.png"
    cv2.imwrite(str(picture), cv2.cvtColor(street(), cv2.COLOR_RGB2BGR))
    command = [
        *(sys.executable, "-m", "edgeseg", "segment", str(picture), "--model", NETWORK, "--engine", engine),
        *("--input", input_size, "--output", str(tmp_path / "out"), "--json"),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert answer.returncode == 0, answer.stderr
    said = json.loads(answer.stdout)
    assert said["pictures"] == 1
    assert 0.1 < said["coverage"]["road"]["mean"] < 0.7
    assert all(Path(file).stat().st_size for file in said["files"])


def write_clip(path: Path) -> Path:
    """Ten seconds of an empty room, then ten minutes of a street with a road."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width, stream.height, stream.pix_fmt = 256, 192, "yuv420p"
        for scene, frames in ((room(), 10), (street(), 600)):
            small = cv2.resize(scene, (256, 192), interpolation=cv2.INTER_AREA)
            for _ in range(frames):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(small), format="rgb24")
                container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode())
    return path


@contextmanager
def systemd(address: Path) -> Iterator[list[str]]:
    """What a service manager at this NOTIFY_SOCKET is sent, as it comes."""
    told: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(address))

        def listen() -> None:
            while (message := channel.recv(4096)) != b"end":
                told.append(message.decode())

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            yield told
        finally:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
                last.sendto(b"end", str(address))
            listener.join()


@pytest.mark.timeout(4 * PATIENCE_S)
def test_run(tmp_path: Path) -> None:
    """READY, WATCHDOG, an alert at a real broker, and a clean end."""
    pipeline = tmp_path / "board.yaml"
    with (
        Broker(tmp_path) as broker,
        Subscriber(broker.port) as subscriber,
        systemd(tmp_path / "notify") as told,
    ):
        pipeline.write_text(PIPELINE.format(port=broker.port, clip=write_clip(tmp_path / "yard.mkv")))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": str(60_000_000)}

        def heard(topic_end: str, word: bytes) -> bool:
            return any(word in message.payload for message in subscriber.on(topic_end))

        def wait_for(what: str, topic_end: str, word: bytes) -> None:
            def seen() -> bool:
                assert daemon.process.poll() is None, daemon.log
                return heard(topic_end, word)

            wait_until(seen, what, deadline_s=PATIENCE_S)

        with Daemon(pipeline, environment) as daemon:
            wait_for("the node is online", "board/status", b"online")
            wait_for("the camera is live", "yard/status", b'"live"')
            wait_for("an alert", "board/alert", b'"new"')
            wait_until(lambda: any("WATCHDOG=1" in one for one in told), "WATCHDOG=1", deadline_s=PATIENCE_S)
            assert any(one.startswith("READY=1") for one in told)
            assert daemon.stop() == 0
            assert "Traceback" not in daemon.log
        wait_until(lambda: heard("board/status", b"offline"), "offline")
        assert any(one.startswith("STOPPING=1") for one in told)
