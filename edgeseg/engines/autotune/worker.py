"""Benchmark worker: runs one candidate in a process of its own.

A crash, a hang or a leak ends with that process, and its CPU time is the candidate's alone.
"""

from __future__ import annotations

import multiprocessing
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.clock import Clock, SystemClock, cpu_s
from edgeseg.engines.base import Engine
from edgeseg.engines.select import EngineCandidate, adapter, open_candidate
from edgeseg.errors import EdgesegError
from edgeseg.frames import U8, Fit
from edgeseg.models.model import Model
from edgeseg.stages import postprocess

Mask = npt.NDArray[np.bool_]

_PICTURES = Path(__file__).parent / "pictures"
_POLL_S = 0.2
_ENDS_WITHIN_S = 2.0
# What a network takes for a scene it has never seen falls either way with the least rounding.
_SURE_FROM = 0.9
_NO_FIT = Fit(1, 1, 1, 1, ())


@dataclass(frozen=True, slots=True)
class WorkerJob:
    """What to load. threads: of one run."""

    model: Model
    candidate: EngineCandidate
    input_size_px: tuple[int, int]
    threads: int


@dataclass(frozen=True, slots=True)
class CandidateReady:
    """The engine runs. answers: its labels for each of the pictures, uint8 (h, w), and which of them it is
    sure of, bool (h, w)."""

    device: str
    answers: tuple[tuple[U8, Mask], ...]


@dataclass(frozen=True, slots=True)
class CandidateFailed:
    """The engine does not run. absent: this machine does not have what it needs, which is no fault."""

    reason: str
    absent: bool = False


@dataclass(frozen=True, slots=True)
class RunTimes:
    """One frame, from views to label map. Seconds: of CPU, all threads, and by the clock."""

    cpu_s: float
    wall_s: float


Answer = CandidateReady | CandidateFailed | RunTimes


class BenchmarkWorker:
    """A candidate's process; a context manager that ends it."""

    def __init__(self, job: WorkerJob, clock: Clock, stop: threading.Event) -> None:
        self._job = job
        self._clock = clock
        self._stop = stop
        self._process: ForkServerProcess | None = None
        self._link: Connection | None = None

    def __enter__(self) -> BenchmarkWorker:
        # As the camera processes: forked from a server that has no threads and no runtime.
        context = multiprocessing.get_context("forkserver")
        ours, theirs = context.Pipe(duplex=True)
        with theirs:
            name = f"benchmark of {self._job.candidate}"
            self._process = context.Process(target=serve, args=(theirs, self._job), name=name, daemon=True)
            self._process.start()
        self._link = ours
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._link is not None
        assert self._process is not None
        self._link.close()
        self._process.join(_ENDS_WITHIN_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()

    def ready(self, limit_s: float) -> CandidateReady | CandidateFailed:
        """Wait until it is loaded and has answered the pictures."""
        answer = self._receive(limit_s)
        if isinstance(answer, RunTimes):
            raise AssertionError("run times before it was ready")
        return answer

    def run(self, picture: int, limit_s: float) -> RunTimes | CandidateFailed:
        """Run it on one of the pictures."""
        assert self._link is not None
        try:
            self._link.send(picture)
        except OSError:
            return self._died()
        answer = self._receive(limit_s)
        if isinstance(answer, CandidateReady):
            raise AssertionError("ready twice")
        return answer

    def _receive(self, limit_s: float) -> Answer:
        assert self._link is not None
        until_s = self._clock.monotonic_s() + limit_s
        while not self._link.poll(_POLL_S):
            if self._stop.is_set():
                return CandidateFailed("edgeseg stops")
            if self._clock.monotonic_s() > until_s:
                return CandidateFailed(f"gave no answer within {limit_s:.0f} s")
        try:
            answer: Answer = self._link.recv()
        except (EOFError, OSError):
            return self._died()
        return answer

    def _died(self) -> CandidateFailed:
        assert self._process is not None
        self._process.join(_ENDS_WITHIN_S)
        code = self._process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return CandidateFailed(f"its process died ({how})")


def serve(link: Connection, job: WorkerJob) -> None:
    """Run in the worker process: load, answer the pictures, then run a frame for each number received."""
    name = job.candidate.engine
    with link:
        try:
            absence = adapter(name).absent(name)
            if absence is not None:
                link.send(CandidateFailed(absence, absent=True))
                return
            engine = open_candidate(job.model, job.candidate, job.input_size_px, job.threads)
            views = _views(job.input_size_px)
            answers = tuple(_answer(engine, job.model, view) for view in views)
        except EdgesegError as error:
            link.send(CandidateFailed(str(error)))
            return
        link.send(CandidateReady(adapter(name).device(name), answers))
        clock = SystemClock()
        try:
            while True:
                view = views[link.recv()]
                cpu_before_s, before_s = cpu_s(), clock.monotonic_s()
                postprocess.label_map(engine.run(view), _NO_FIT, job.model)
                link.send(RunTimes(cpu_s() - cpu_before_s, clock.monotonic_s() - before_s))
        except (EOFError, OSError):
            # The other end closed the connection: it needs no more runs.
            engine.close()
        except EdgesegError as error:
            link.send(CandidateFailed(str(error)))


def _answer(engine: Engine, model: Model, view: U8) -> tuple[U8, Mask]:
    found = postprocess.label_map(engine.run(view), _NO_FIT, model)
    labels = found.labels[0]
    if found.confidence is None:
        return labels, np.ones(labels.shape, np.bool_)
    return labels, found.confidence[0] >= _SURE_FROM * 255


def picture_count() -> int:
    return len(_files())


def _files() -> list[Path]:
    return sorted(_PICTURES.glob("*.jpg"))


def _views(size_px: tuple[int, int]) -> tuple[U8, ...]:
    """Real pictures, each uint8 (1, h, w, 3) RGB: on noise every network is unsure everywhere."""
    pictures = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in _files()]
    return tuple(np.ascontiguousarray(cv2.resize(picture, size_px))[np.newaxis] for picture in pictures)
