"""Dask workers: a cluster's, on other machines too. The only file that imports Dask (extra ``archive``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from edgeseg.errors import EdgesegError
from edgeseg.tools.archive.workers import Crashed, Job, Result, Results

SCHEME = "dask://"
# Pieces of work under way for each thread: the scheduler hands on the next while one is done.
_READY = 3
_LEAST_READY = 8


class DaskWorkers:
    """The workers that joined the scheduler at ``address`` (host:port), later ones included.

    What a worker was doing when it died another one does; after its third dead worker (Dask's
    ``allowed-failures``) a piece of work counts as what killed them. timeout_s: for the scheduler's answer,
    and for the first worker.
    """

    def __init__(self, address: str, timeout_s: float = 10.0) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._client: Any = None

    @property
    def description(self) -> str:
        return f"{len(self._client.nthreads())} Dask workers at {self._address}"

    def __enter__(self) -> DaskWorkers:
        try:
            from distributed import Client
        except ImportError:
            raise EdgesegError(
                "dask is not installed; install it with pip install 'edgeseg[archive]'"
            ) from None
        try:
            self._client = Client(f"tcp://{self._address}", timeout=self._timeout_s, set_as_default=False)
            self._client.wait_for_workers(1, timeout=self._timeout_s)
        except (OSError, TimeoutError) as error:
            began = self._client is not None
            self.__exit__(None, None, None)
            what = "has no workers" if began else f"no scheduler answers ({type(error).__name__})"
            how = (
                f"start some with `dask worker tcp://{self._address}`"
                if began
                else "start one with `dask scheduler`"
            )
            raise EdgesegError(f"{SCHEME}{self._address}: {what}; start it with `{how}`") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def run(self, work: Callable[[Job], Result], jobs: Iterable[Job]) -> Results[Job, Result]:
        """See ``Workers``."""
        from distributed import KilledWorker, as_completed

        waiting = iter(jobs)
        running: dict[str, Job] = {}
        completed = as_completed(loop=self._client.loop)

        def submit() -> None:
            room = max(_LEAST_READY, _READY * sum(self._client.nthreads().values()))
            while len(running) < room and (job := next(waiting, None)) is not None:
                # Not pure: what was done before may be gone from the disk.
                future = self._client.submit(work, job, pure=False)
                running[future.key] = job
                completed.add(future)

        submit()
        for future in completed:
            job = running.pop(future.key)
            try:
                result = future.result()
            except KilledWorker:
                yield job, Crashed("every worker that read it died")
            except ModuleNotFoundError as error:
                raise EdgesegError(
                    f"{SCHEME}{self._address}: a worker has no {error.name}; install edgeseg there as here"
                ) from None
            else:
                yield job, result
            submit()
