"""Told to stop at any moment, the daemon stops: soon, in good order, and leaves no process behind."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgeseg.tools.soak.process_resources import session
from edgeseg.tools.soak.tcp_relay import TcpRelay
from tests.faults.clips import blinking_clip
from tests.faults.conftest import Note
from tests.faults.ledger import Row
from tests.faults.scene import pause, write_pipeline
from tests.support.broker import Broker, wait_until
from tests.support.daemon import Daemon
from tests.support.rtsp_fixtures import RtspServer

pytestmark = pytest.mark.timeout(600)
# What the broker is still owed may take 5 s of it (edgeseg/publish/sender.py).
SOON_S = 10.0
TIMES = 40


@pytest.mark.quick
def test_while_engines_compete(tmp_path: Path, note: Note) -> None:
    """``engine: auto`` measures for up to half a minute where it knows nothing yet."""
    camera = "cameras: {yard: {source: 'rtsp://127.0.0.1:9/', zones: {}}}\n"
    file = tmp_path / "pipeline.yaml"
    file.write_text("model: deeplabv3plus-mnv2-camvid\n" + camera)
    with Daemon(file, {"EDGESEG_CACHE": str(tmp_path / "cache")}) as daemon:
        daemon.wait_for_log("camera yard: connecting")
        at_s = time.monotonic()
        code = daemon.stop()
        took_s = time.monotonic() - at_s
        note(Row("daemon", "SIGTERM while engines compete", None, took_s, 0, 0, 0, f"exit code {code}"))
    assert code == 0
    assert took_s < SOON_S / 2


def test_at_random_moments(tmp_path: Path, note: Note) -> None:
    """Signals to the daemon, or to its whole process group, from its first line on; with cameras that are
    well, refuse, and say nothing, and a broker that is there, is not, or has gone silent."""
    numbers = random.Random(11)
    longest_s, codes = 0.0, set[int]()
    with ExitStack() as stack:
        camera = stack.enter_context(RtspServer(blinking_clip(tmp_path / "blink.mp4")))
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        broker = stack.enter_context(Broker(tmp_path))
        line = stack.enter_context(TcpRelay(broker.port))
        sources = {
            "well": camera.url,
            "silent": f"rtsp://127.0.0.1:{silent.getsockname()[1]}/",
            "refuses": "rtsp://127.0.0.1:9/",
        }
        for number in range(TIMES):
            some = dict(numbers.sample(sorted(sources.items()), numbers.randint(1, 3)))
            port = line.port if number % 4 else 9
            file = write_pipeline(tmp_path, some, port, node=f"node{number}")
            with Daemon(file) as daemon:
                pause(numbers.choice((numbers.uniform(0.8, 2.0), numbers.uniform(2.0, 6.0))))
                # From here on signals are ours; before, the kernel ends the process.
                wait_until(lambda: f"node node{number}" in daemon.log, "its first line")  # noqa: B023
                if number % 5 == 1:
                    line.swallow()
                at_s = time.monotonic()
                if number % 3:
                    daemon.process.terminate()
                else:
                    os.killpg(daemon.process.pid, signal.SIGTERM)
                codes.add(daemon.process.wait(240))
                longest_s = max(longest_s, time.monotonic() - at_s)
                pid = daemon.process.pid
                wait_until(lambda: not session(pid), "its processes end")  # noqa: B023
    words = f"{TIMES} times; exit codes {sorted(codes)}; the longest time until it had ended"
    note(Row("daemon", "SIGTERM at random moments", None, longest_s, 0, 0, 0, words))
    assert codes == {0}
    assert longest_s < SOON_S
