"""Thread CPU: CPU time of this process's threads, and whether they wait for the processor.

Source: proc_pid_stat(5), of /proc/self/task/TID/stat: field 3 is the state, 14 and 15 the CPU time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TASKS = Path("/proc/self/task")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# On a processor or waiting for one; waiting for a disk, which swapped memory and mapped weights do.
_BUSY_STATES = "RD"


@dataclass(frozen=True, slots=True)
class ThreadsUse:
    """cpu_s: CPU time of all of them since they began. busy: one of them computes, waits for a processor that
    others hold or that a quota denies, or waits for a disk; else all of them wait for an event."""

    cpu_s: float
    busy: bool


def threads_use(thread_ids: Iterable[int], tasks: Path = _TASKS) -> ThreadsUse | None:
    """thread_ids: native ids. A thread that has ended counts nothing; None where no thread can be read."""
    cpu_s, busy, read = 0.0, False, False
    for thread_id in thread_ids:
        try:
            text = (tasks / str(thread_id) / "stat").read_text(errors="replace")
        except OSError:
            continue
        # The name, in parentheses, may hold anything.
        fields = text.rpartition(")")[2].split()
        cpu_s += (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
        busy = busy or fields[0] in _BUSY_STATES
        read = True
    return ThreadsUse(cpu_s, busy) if read else None


def runtime_threads(tasks: Path = _TASKS) -> frozenset[int]:
    """Native ids of the threads that Python did not start: the pools of inference runtimes, apart from a few
    that hardly ever compute. The capture, the publishers and the web server have threads of Python."""
    try:
        all_ids = {int(path.name) for path in tasks.iterdir()}
    except OSError:
        return frozenset()
    return frozenset(all_ids - {thread.native_id for thread in threading.enumerate()})
