"""Cancellation: the runs of an engine by thread, so that another thread can cancel one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class UnderWay:
    """How to cancel what each thread runs now, by the thread's native id. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancels: dict[int, Callable[[], object]] = {}

    @contextmanager
    def run(self, cancel: Callable[[], object]) -> Iterator[None]:
        """The calling thread is at a run that ``cancel`` ends; it must not block."""
        thread_id = threading.get_native_id()
        with self._lock:
            self._cancels[thread_id] = cancel
        try:
            yield
        finally:
            with self._lock:
                del self._cancels[thread_id]

    def cancel(self, thread_id: int) -> bool:
        """Cancel the run of that thread. Returns whether there was one."""
        with self._lock:
            cancel = self._cancels.get(thread_id)
            if cancel is not None:
                cancel()
        return cancel is not None
