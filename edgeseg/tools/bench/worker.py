"""Bench worker: runs one pipeline in a process of its own: ``python worker.py SPEC.json``.

SPEC.json names a way of ``naive.py`` beside this file, or ``edgeseg``, and its arguments. A line ``N`` on
standard input watches N frames; the answer is a line of JSON: cpu_ms and wall_ms of one frame, and the most
memory the process ever had. It is started by path, so that the ways of others can run in a Python without
edgeseg; that is why it keeps the time itself.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def frames_of(spec: dict[str, Any]) -> Iterator[object]:
    """The way of working that the specification asks for; each ``next`` is one frame."""
    if spec["way"] == "edgeseg":
        return importlib.import_module("edgeseg.tools.bench.ours").watch(**spec["arguments"])  # type: ignore[no-any-return]
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    naive = importlib.import_module("naive")
    return naive.WAYS[spec["way"]](**spec["arguments"])  # type: ignore[no-any-return]


def _peak_mb() -> float:
    # getrusage would answer with the starter's peak, which a fork inherits.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    # Some runtimes greet on standard output.
    os.dup2(2, 1)
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    frames = frames_of(spec)
    for line in sys.stdin:
        count = int(line)
        # Frames of another's turn have cooled the caches.
        next(frames)
        wall_ns, cpu_ns = time.monotonic_ns(), time.process_time_ns()
        for _ in range(count):
            next(frames)
        cpu_ns, wall_ns = time.process_time_ns() - cpu_ns, time.monotonic_ns() - wall_ns
        answer = {
            "cpu_ms": cpu_ns / count / 1e6,
            "wall_ms": wall_ns / count / 1e6,
            "peak_mb": _peak_mb(),
        }
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
