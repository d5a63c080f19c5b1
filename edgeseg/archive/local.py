"""Processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType

from edgeseg.archive.workers import Crashed, Done, Job, Result

# How many pieces of work lie ready for each process, so that none waits for the next.
_READY = 2


class LocalWorkers:
    """Processes of one thread each. count: None for as many as this process has cores.

    A pool that loses a process loses everything it was doing. What it was doing is then done one by one:
    whatever kills its process while it is alone is what did it.
    """

    def __init__(self, count: int | None = None) -> None:
        self._count = count or len(os.sched_getaffinity(0))
        self._pool: ProcessPoolExecutor | None = None

    @property
    def shown(self) -> str:
        return f"{self._count} process{'es' if self._count > 1 else ''}"

    def __enter__(self) -> LocalWorkers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def run(self, work: Callable[[Job], Result], jobs: Iterable[Job]) -> Done[Job, Result]:
        """See ``Workers``."""
        waiting, suspects = deque(jobs), deque[Job]()
        running: dict[Future[Result], Job] = {}
        while waiting or suspects or running:
            alone = bool(suspects) and not running
            if alone:
                job = suspects.popleft()
                running[self._ready().submit(work, job)] = job
            while waiting and not suspects and not alone and len(running) < _READY * self._count:
                job = waiting.popleft()
                running[self._ready().submit(work, job)] = job
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            broken = False
            for future in done:
                job = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    broken = True
                    if alone:
                        yield job, Crashed("the process that read it died, and so did the next one")
                    else:
                        suspects.append(job)
                    continue
                yield job, result
            if broken:
                suspects.extend(running.values())
                running.clear()
                self.__exit__(None, None, None)

    def _ready(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Not forked: this process may have threads, of a progress bar at least.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._count, context, _leave_signals)
        return self._pool


def _leave_signals() -> None:
    # Ctrl-C reaches every process of a terminal; this one ends with its parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
