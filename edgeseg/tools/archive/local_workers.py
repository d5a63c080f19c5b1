"""Local workers: processes on this machine."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import TracebackType
from typing import Generic

from edgeseg.system.cpu_quota import whole_cpus
from edgeseg.tools.archive.workers import Crashed, Job, Result, Results

# How many pieces of work lie ready for each process, so that none waits for the next.
_READY = 2


@dataclass(frozen=True, slots=True)
class _Suspect(Generic[Job]):
    """died_alone: how often a process died while it did this and nothing else."""

    job: Job
    died_alone: int


class LocalWorkers:
    """Processes of one thread each. count: None for as many as this process has cores.

    A pool that loses a process loses everything it was doing. What it was doing is then done one by one:
    whatever kills its process twice while it is alone is what did it.
    """

    def __init__(self, count: int | None = None) -> None:
        self._count = count or whole_cpus()
        self._pool: ProcessPoolExecutor | None = None

    @property
    def description(self) -> str:
        return f"{self._count} process{'es' if self._count > 1 else ''}"

    def __enter__(self) -> LocalWorkers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def run(self, work: Callable[[Job], Result], jobs: Iterable[Job]) -> Results[Job, Result]:
        """See ``Workers``."""
        waiting, suspects = deque(jobs), deque[_Suspect[Job]]()
        running: dict[Future[Result], _Suspect[Job]] = {}
        while waiting or suspects or running:
            if suspects and not running:
                self._begin(running, work, suspects.popleft())
            elif not suspects:
                while waiting and len(running) < _READY * self._count:
                    self._begin(running, work, _Suspect(waiting.popleft(), 0))
            alone = len(running) == 1
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            died: list[_Suspect[Job]] = []
            for future in done:
                one = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    died.append(one)
                    continue
                yield one.job, result
            if not died:
                continue
            self.__exit__(None, None, None)
            for one in (*died, *running.values()):
                if alone and one.died_alone:
                    yield one.job, Crashed("the process that read it died, and so did the next one")
                else:
                    suspects.append(_Suspect(one.job, int(alone)))
            running.clear()

    def _begin(
        self,
        running: dict[Future[Result], _Suspect[Job]],
        work: Callable[[Job], Result],
        suspect: _Suspect[Job],
    ) -> None:
        running[self._ready().submit(work, suspect.job)] = suspect

    def _ready(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Not forked: this process may have threads, of a progress bar at least.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._count, context, _leave_signals)
        return self._pool


def _leave_signals() -> None:
    # Ctrl-C reaches every process of a terminal; this one ends with its parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
