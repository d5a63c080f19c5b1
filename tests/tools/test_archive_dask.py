"""An archive on Dask's own scheduler and two workers, of which one is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgeseg.cli import main
from edgeseg.errors import EdgesegError
from edgeseg.tools.archive.dask_workers import DaskWorkers
from tests.conftest import write_clip
from tests.end_to_end.test_run import pipeline
from tests.support.broker import free_port, wait_until
from tests.tools.test_archive import tables

pytest.importorskip("distributed")
WORKERS = 2


class Cluster:
    """A scheduler and its workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.log = folder / "cluster.log"
        self.workers: list[subprocess.Popen[bytes]] = []
        self._opened = ExitStack()

    def __enter__(self) -> Cluster:
        self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port))
        for _ in range(WORKERS):
            address = f"tcp://127.0.0.1:{self.port}"
            # Without a nanny, who would start a worker that was killed again.
            self.workers.append(self._start("worker", address, "--nthreads", "1", "--no-nanny"))
        return self

    @property
    def ready(self) -> bool:
        return self.log.read_text().count("Register worker addr") == WORKERS

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _start(self, what: str, *arguments: str) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-m", f"distributed.cli.dask_{what}", *arguments, "--no-dashboard"]
        with self.log.open("ab") as log:
            process = subprocess.Popen(program, stdout=log, stderr=log, cwd=self.log.parent)
        self._opened.callback(process.wait, 30)
        self._opened.callback(process.kill)
        return process


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as running:
        wait_until(lambda: running.ready, "both workers", deadline_s=180)
        yield running


def test_a_worker_that_is_killed_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for hour in (10, 11):
        write_clip(clips / f"2026-11-22_{hour}-00-00.mp4", fps=5, frames=300)
    file, shared, alone = pipeline(tmp_path, "x.mp4"), tmp_path / "shared", tmp_path / "alone"
    program = [sys.executable, "-m", "edgeseg", "archive", str(clips), str(file), "-o"]
    options = ["--segment", "1 s", "--scheduler", f"dask://127.0.0.1:{cluster.port}"]
    with subprocess.Popen([*program, str(shared), *options], stderr=subprocess.PIPE) as process:
        try:
            wait_until(lambda: done(shared) > 10, "segments that are done", deadline_s=180)
            killed_after = done(shared)
            cluster.workers[0].send_signal(signal.SIGKILL)
            assert process.wait(240) == 0, process.communicate()
        finally:
            process.kill()
    assert killed_after < 100
    assert done(shared) == 120
    assert main([*program[3:], str(alone), "--workers", "1"]) == 0
    assert tables(shared) == tables(alone)
    assert len(tables(shared)) == 3


def test_without_a_scheduler_there_is_one_line() -> None:
    with (
        pytest.raises(EdgesegError, match="no scheduler answers"),
        DaskWorkers(f"127.0.0.1:{free_port()}", 1.0),
    ):
        pass


def done(output: Path) -> int:
    return sum(path.read_text().count("\n") for path in output.glob("measured/*/*/journal.jsonl"))
