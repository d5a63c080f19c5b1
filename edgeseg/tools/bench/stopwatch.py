"""Stopwatch: CPU time of the whole process, and elapsed time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from edgeseg.clock import SystemClock


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one frame. cpu_ms: of all threads, so work handed to others counts and waiting does not."""

    cpu_ms: float
    wall_ms: float


def cost_of(work: Callable[[], object], repeats: int = 1) -> Cost:
    """The mean of ``repeats`` calls in a row."""
    clock = SystemClock()
    wall_s, cpu_s = clock.monotonic_s(), time.process_time()
    for _ in range(repeats):
        work()
    cpu_s, wall_s = time.process_time() - cpu_s, clock.monotonic_s() - wall_s
    return Cost(cpu_s / repeats * 1e3, wall_s / repeats * 1e3)


def interleaved(
    works: Mapping[str, Callable[[], object]],
    rounds: int,
    slice_s: float = 0.25,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, list[Cost]]:
    """Every work in turn, ``rounds`` times: what else the machine does meets all of them alike.

    slice_s: of CPU that one work's turn takes at least; quick work is repeated that often. The first
    call of each turn is not counted: caches and threads of the one before are still warm then.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in works}
    repeats: dict[str, int] = {}
    for name, work in works.items():
        work()
        once = cost_of(work)
        repeats[name] = max(1, min(2000, round(slice_s * 1e3 / max(once.cpu_ms, 1e-3))))
    for _ in range(rounds):
        for name, work in works.items():
            work()
            costs[name].append(cost_of(work, repeats[name]))
            advance()
    return costs


@dataclass(slots=True)
class Stages:
    """Costs of the parts of one frame, frame after frame. ``with stages.of("zones"): ...``

    threaded: the one part whose work is done by threads of its own. They may go on for a moment after it
    has answered, so it gets all CPU of the frame that no other part has used in the calling thread.
    """

    threaded: str
    costs: dict[str, list[Cost]] = field(default_factory=dict)

    @contextmanager
    def frame(self) -> Iterator[None]:
        """Around all parts of one frame."""
        cpu_s = time.process_time()
        yield
        cpu_ms = (time.process_time() - cpu_s) * 1e3
        others_ms = sum(spent[-1].cpu_ms for name, spent in self.costs.items() if name != self.threaded)
        last = self.costs[self.threaded][-1]
        self.costs[self.threaded][-1] = Cost(cpu_ms - others_ms, last.wall_ms)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Around one part; each part once in every frame."""
        clock = SystemClock()
        wall_s, cpu_s = clock.monotonic_s(), time.thread_time()
        yield
        cpu_s, wall_s = time.thread_time() - cpu_s, clock.monotonic_s() - wall_s
        self.costs.setdefault(name, []).append(Cost(cpu_s * 1e3, wall_s * 1e3))
