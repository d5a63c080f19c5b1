"""What edgeseg may use of the device: how much of the workers' time a budget of CPU or power pays for.

What is used is measured, with all that belongs to it: decoding, publishing, camera processes. Only analysis
can be given up, so the workers get as much of their present time as the budget is of the present use. Where
the rest of the use stays as it is that answer is still too high above the budget and too low below it, but
right at it: asked again every second it leads there, and never past it on the way up.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from edgeseg.runtime.overload.load import WINDOW_S
from edgeseg.settings import BudgetSettings
from edgeseg.system.cpu_quota import available_cpus

_POWERCAP = Path("/sys/class/powercap")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# So that a device that does other things too still looks at each camera now and then.
_LEAST_WORKERS = 0.02


class CpuUse:
    """CPU time of this process and of those that work for it, as a share of all cores.

    pids: of the processes that are there now. Source: proc_pid_stat(5), fields 14 and 15.
    """

    def __init__(self, pids: Callable[[], Collection[int]]) -> None:
        self._pids = pids
        self._used_s: dict[int, float] = {}
        self._gone_s = 0.0

    def total(self) -> float:
        """Seconds of one core since the start, processes that have ended included, by the number of cores."""
        used_s = {pid: _cpu_s(pid) for pid in (os.getpid(), *self._pids())}
        self._gone_s += sum(spent_s for pid, spent_s in self._used_s.items() if pid not in used_s)
        self._used_s = {pid: spent_s or self._used_s.get(pid, 0.0) for pid, spent_s in used_s.items()}
        return (self._gone_s + sum(self._used_s.values())) / available_cpus()


def _cpu_s(pid: int) -> float:
    """0 where the process has just ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    # The name, in parentheses, may hold anything.
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


class PowerUse:
    """Energy of the processor packages by the kernel's powercap counters, in joules.

    Everything that runs on the machine counts, and so do the counters' wrap-arounds. Source: the kernel's
    documentation, power/powercap. Raises OSError where a counter cannot be read.
    """

    def __init__(self, root: Path = _POWERCAP) -> None:
        self._counters = sorted(zone / "energy_uj" for zone in root.glob("intel-rapl:[0-9]"))
        self._last_uj: dict[Path, int] = {}
        self._total_uj = 0

    @property
    def there(self) -> bool:
        """Whether this device has a counter that can be read."""
        return any(os.access(counter, os.R_OK) for counter in self._counters)

    def total(self) -> float:
        """Joules since the first call."""
        for counter in self._counters:
            now_uj = int(counter.read_text())
            passed_uj = now_uj - self._last_uj.get(counter, now_uj)
            if passed_uj < 0:
                passed_uj += int((counter.parent / "max_energy_range_uj").read_text())
            self._total_uj += passed_uj
            self._last_uj[counter] = now_uj
        return self._total_uj / 1e6


@dataclass(frozen=True, slots=True)
class Limit:
    """total: what was used so far. most: of it a second. text: the limit as people wrote it."""

    total: Callable[[], float]
    most: float
    text: str


class Budget:
    """Several limits, all of which hold. Single-threaded."""

    def __init__(self, limits: Collection[Limit]) -> None:
        self._limits = tuple(limits)
        self._notes: deque[tuple[float, tuple[float, ...]]] = deque()
        self.use: tuple[float, ...] = ()

    def workers(self, now_s: float, busy: float, workers: float) -> float:
        """How many workers the budget pays for, at most those there are. Call it about once a second.

        busy: how many of them were at work over the last seconds.
        """
        self._notes.append((now_s, tuple(limit.total() for limit in self._limits)))
        while len(self._notes) > 2 and now_s - self._notes[1][0] >= WINDOW_S:
            self._notes.popleft()
        then_s, before = self._notes[0]
        if now_s - then_s < WINDOW_S / 2:
            return workers
        after = self._notes[-1][1]
        self.use = tuple((new - old) / (now_s - then_s) for new, old in zip(after, before, strict=True))
        for limit, used in zip(self._limits, self.use, strict=True):
            if used > 0:
                workers = min(workers, busy * limit.most / used)
        return max(_LEAST_WORKERS, workers)

    @property
    def text(self) -> str:
        """The limits as people wrote them, and what is used."""
        return " and ".join(limit.text for limit in self._limits)


def budget_of(settings: BudgetSettings | None, pids: Callable[[], Collection[int]]) -> Budget:
    """Return the budget that a pipeline file sets. pids: the processes beside this one that count."""
    limits = []
    if settings is not None and settings.cpu is not None:
        limits.append(Limit(CpuUse(pids).total, settings.cpu, f"{settings.cpu:.0%} CPU"))
    if settings is not None and settings.watts is not None:
        limits.append(Limit(PowerUse().total, settings.watts, f"{settings.watts:g} W"))
    return Budget(limits)
