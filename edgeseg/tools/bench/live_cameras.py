"""Live camera bench: runs the daemon on RTSP cameras and measures its steady state."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.clock import SystemClock, iso_utc
from edgeseg.errors import EdgesegError
from edgeseg.models.model import Model
from edgeseg.tools.bench import clips, workload

_SYSTEM_PYTHON = "/usr/bin/python3"
_READY_WITHIN_S = 20.0
_LIVE_WITHIN_S = 90.0
_POLL_S = 0.2
_STOPS_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class SteadyState:
    """A daemon's steady state.

    fps: analysed frames a second of each camera. cpu: cores that were busy for it, children included. pss_mb:
    proportional set size of the daemon and its children. ages_ms: of each frame when it was published.
    """

    cameras: int
    seconds: float
    fps: tuple[float, ...]
    cpu: float
    pss_mb: float
    ages_ms: tuple[float, ...]

    @property
    def frames(self) -> float:
        return sum(self.fps) * self.seconds

    @property
    def cpu_ms_per_frame(self) -> float:
        return self.cpu * 1e3 / max(sum(self.fps), 1e-9)

    def age_ms(self, percentile: float) -> float:
        return float(np.percentile(self.ages_ms, percentile)) if self.ages_ms else float("nan")


@contextmanager
def rtsp(clip: Path, folder: Path) -> Iterator[str]:
    """Yields the URL of a server that sends the clip to each client for ever. Raises EdgesegError."""
    feed = clips.feed(clip, folder)
    try:
        process = subprocess.Popen(
            [_SYSTEM_PYTHON, str(Path(__file__).with_name("rtsp_server.py")), str(feed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/"), "GST_DEBUG": "0"},
        )
    except OSError as error:
        raise EdgesegError(f"{_SYSTEM_PYTHON}: cannot be started ({error.strerror}): {_NEEDED}") from None
    with process:
        try:
            assert process.stdout is not None
            readable, _, _ = select.select([process.stdout], [], [], _READY_WITHIN_S)
            words = process.stdout.readline().split() if readable else []
            if words[:1] != ["ready"]:
                raise EdgesegError(f"no RTSP server: {_NEEDED}")
            yield f"rtsp://127.0.0.1:{words[1]}/stream"
        finally:
            process.kill()


_NEEDED = (
    "cameras are measured with GStreamer's (Debian: gir1.2-gst-rtsp-server-1.0 python3-gi "
    "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad)"
)


def run(
    model: Model, sources: list[str], seconds: float, *, engine: str = "auto", gate: bool = False,
    warm_up_s: float = 4.0, zones: int = workload.ZONES, input_size_px: tuple[int, int] | None = None,
    rate_fps: float = workload.RATE_FPS,
) -> SteadyState:  # fmt: skip
    """Run the daemon on ``sources`` and measure it for ``seconds``. Raises EdgesegError."""
    text = workload.pipeline_text(
        model, sources, engine=engine, gate=gate, zones=zones, input_size_px=input_size_px, rate_fps=rate_fps
    )
    with tempfile.TemporaryDirectory() as scratch, _daemon(Path(scratch), text) as (process, out):
        names = [f"cam{number:02}" for number in range(len(sources))]
        _wait_until_live(process, out, names, Path(scratch) / "err")
        pause = threading.Event()
        pause.wait(warm_up_s)
        clock = SystemClock()
        began_s, began_utc_s, cpu_s = clock.monotonic_s(), clock.utc_s(), _cpu_s(process.pid)
        pause.wait(seconds)
        took_s, ended_utc_s = clock.monotonic_s() - began_s, clock.utc_s()
        cpu_s, pss_mb = _cpu_s(process.pid) - cpu_s, _pss_mb(process.pid)
        ages = _ages_ms(out, iso_utc(began_utc_s), iso_utc(ended_utc_s))
    fps = tuple(len(ages[name]) / took_s for name in names)
    every = tuple(age for name in names for age in ages[name])
    return SteadyState(len(sources), took_s, fps, cpu_s / took_s, pss_mb, every)


@contextmanager
def _daemon(folder: Path, text: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    pipeline, out = folder / "bench.yaml", folder / "out"
    pipeline.write_text(text, encoding="utf-8")
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    with out.open("wb") as stdout, (folder / "err").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "edgeseg", "run", str(pipeline)],
            stdout=stdout,
            stderr=stderr,
            env=environment,
            start_new_session=True,
        )
    with process:
        try:
            yield process, out
        finally:
            process.terminate()
            try:
                process.wait(_STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_live(process: subprocess.Popen[bytes], out: Path, names: list[str], err: Path) -> None:
    clock, pause = SystemClock(), threading.Event()
    until_s = clock.monotonic_s() + _LIVE_WITHIN_S
    live: set[str] = set()
    while clock.monotonic_s() < until_s:
        live = {line["payload"]["camera"] for line in _occupancies(out)}
        if live.issuperset(names):
            return
        if process.poll() is not None:
            break
        pause.wait(_POLL_S)
    lines = err.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    # Later lines are of cameras that work.
    errors = [line for line in lines if " INFO " not in line] or lines or ["it logged nothing"]
    how = "ended" if process.poll() is not None else f"was not up within {_LIVE_WITHIN_S:g} s"
    raise EdgesegError(f"the daemon {how}, {len(live)} of {len(names)} cameras live: {errors[-1]}")


def _occupancies(out: Path) -> Iterator[Any]:
    """Known occupancies of the first zone; a half line at the end is left out."""
    with out.open(encoding="utf-8") as stream:
        for line in stream:
            if line.endswith("\n") and "/zone/zone000/occupancy" in line:
                message = json.loads(line)
                if message["payload"]["state"] == "ok":
                    yield message


def _ages_ms(out: Path, began: str, ended: str) -> dict[str, list[float]]:
    """Camera -> age of each frame that was captured between the two moments (RFC 3339)."""
    ages: dict[str, list[float]] = defaultdict(list)
    for message in _occupancies(out):
        payload = message["payload"]
        if began <= payload["captured_at"] < ended:
            ages[payload["camera"]].append(float(payload["age_ms"]))
    return ages


def _family(pid: int) -> list[Any]:
    try:
        import psutil
    except ImportError:
        raise EdgesegError("psutil is not installed; install it with pip install 'edgeseg[bench]'") from None
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def _cpu_s(pid: int) -> float:
    return float(sum(part for process in _family(pid) for part in process.cpu_times()[:2]))


def _pss_mb(pid: int) -> float:
    return float(sum(process.memory_full_info().pss for process in _family(pid)) / 2**20)
