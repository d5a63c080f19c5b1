"""What a web server that nobody watches costs: ``make web-cost``.

Two daemons watch the same clips at the same time, one with ``web: off``, one with it on; which of them starts
first changes with each round. Told are CPU seconds of all their processes over the same minute.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
from pathlib import Path

from tests.conftest import test_data
from tests.support.broker import free_port, wait_until
from tests.support.daemon import Daemon

CLIP = "video/one-by-one-person-detection.mp4"
FILE = """\
{web}
node: {node}
model: deeplabv3plus-mnv2-camvid
engine: onnxruntime
cameras:
  one: &camera
    source: {clip}
    rate: 3
    gate: off
    zones:
      left: {{polygon: [[0, 0], [0.5, 0], [0.5, 1], [0, 1]], rules: {{seen: {{occupied: [pedestrian]}}}}}}
      right: {{polygon: [[0.5, 0], [1, 0], [1, 1], [0.5, 1]], rules: {{seen: {{occupied: [pedestrian]}}}}}}
  two: *camera
"""


def cpu_s(pid: int) -> float:
    """Of a process and all below it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    spent = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    for task in Path(f"/proc/{pid}/task").iterdir():
        spent += sum(cpu_s(int(child)) for child in (task / "children").read_text().split())
    return spent


def measured(clip: Path, seconds: float, on_first: bool) -> tuple[float, float]:
    """CPU seconds: off, on."""
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for kind, web in (("off", "web: off"), ("on", f"web: {{listen: '127.0.0.1:{free_port()}'}}")):
            files[kind] = Path(folder) / f"{kind}.yaml"
            files[kind].write_text(FILE.format(web=web, node=kind, clip=clip))
        order = ("on", "off") if on_first else ("off", "on")
        with Daemon(files[order[0]]) as first, Daemon(files[order[1]]) as second:
            for one in (first, second):
                wait_until(lambda one=one: one.log.count(": live") == 2, "both cameras live", deadline_s=180)  # type: ignore[misc]
            pids = {kind: one.process.pid for kind, one in zip(order, (first, second), strict=True)}
            pause = threading.Event()
            pause.wait(5.0)
            before = {kind: cpu_s(pid) for kind, pid in pids.items()}
            pause.wait(seconds)
            spent = {kind: cpu_s(pid) - before[kind] for kind, pid in pids.items()}
            return spent["off"], spent["on"]


def main(rounds: int, seconds: float) -> None:
    clip = test_data() / CLIP
    ratios = []
    for number in range(rounds):
        off_s, on_s = measured(clip, seconds, on_first=bool(number % 2))
        ratios.append(on_s / off_s)
        more = 100 * (on_s / off_s - 1)
        print(
            f"round {number + 1}: off {off_s:.2f}, on {on_s:.2f} s of CPU in {seconds:g} s ({more:+.1f} %)",
            flush=True,
        )
    print(f"median {100 * (statistics.median(ratios) - 1):+.2f} %")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, float(sys.argv[2]) if len(sys.argv) > 2 else 60.0)
