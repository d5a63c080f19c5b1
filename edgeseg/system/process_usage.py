"""Process usage: CPU and memory of this process and its camera processes, by proc(5)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Usage:
    """cpu_s: of those that live. memory_bytes: resident; what they share counts for each."""

    cpu_s: float
    memory_bytes: int


def usage() -> Usage:
    """Of all of them together."""
    tick_s, page_bytes = 1 / os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    cpu_s, pages = 0.0, 0
    for pid in (os.getpid(), *_below(os.getpid())):
        with suppress(OSError, ValueError, IndexError):
            # The name in the second field may hold anything but is in parentheses.
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
            cpu_s += (int(fields[11]) + int(fields[12])) * tick_s
            pages += int(fields[21])
    return Usage(cpu_s, pages * page_bytes)


def _below(pid: int) -> Iterator[int]:
    with suppress(OSError, ValueError):
        for task in (_PROC / str(pid) / "task").iterdir():
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from _below(int(child))
