"""Tells an engine that is slow from one that hangs, by what its threads compute and not by a stopwatch.

The watchdog's thread looks at each run of an engine twice a second: at the CPU time and the state of the
thread that called it and, where the runtime computes in threads of its own, of those. In order of evidence:

- A thread that computes, or that waits for a processor or a disk, belongs to a run that is slow. It may take
  20 times what the slowest run took that ended, and 2 minutes in any case: a small board, a hot one, a CPU
  quota shared by many cameras.
- A run whose threads all wait hangs after 6 s, or after four times the longest such wait of a run that ended:
  the runs at the load count, so an engine that always sleeps 12 s is no surprise.
- For accelerators the CPU says nothing: their driver waits asleep or in a loop. A run hangs after four times
  what the slowest took.

A run that hangs is cancelled: its frame is lost, the next one is tried. Only where the runtime cannot cancel,
or does not within 2 s, the process has to end. Time counts that this process lived through: not that of a
suspended machine or a stopped process.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edgeseg.clock import awake_s
from edgeseg.engines.base import Cancellable, Engine, Outputs
from edgeseg.errors import EngineCancelledError, EngineError
from edgeseg.frames import U8
from edgeseg.system.cpu_quota import available_cpus
from edgeseg.system.thread_cpu import ThreadsUse, runtime_threads, threads_use

log = logging.getLogger(__name__)

# With the looks, the cancelling and the end of the process it stays within 10 s.
_SILENT_S = 6.0
_SILENT_TIMES = 4
_SLOW_S = 120.0
_SLOW_TIMES = 20
_CANCELS_WITHIN_S = 2.0
# Work outside of an engine, which is short and may wait for a disk.
_OUTSIDE_S = 8.0
# Of a fair share of the processors: less is no work, but the ticking of something that waits.
_LEAST_SHARE = 0.01
_LONGEST_LOOK_S = 1.0

Use = Callable[[Collection[int]], "ThreadsUse | None"]


@dataclass(slots=True)
class Activity:
    """What a thread is at: the analysis of a frame, and within it a run of an engine.

    name: None where no verdict is wanted, as of a run at the load. age_s: of the run. silent_s: since its
    threads last computed; longest_silent_s: the longest of these waits. cpu_s: when that began.
    """

    thread_id: int
    name: str | None
    engine: MonitoredEngine | None = None
    views: int = 1
    age_s: float = 0.0
    silent_s: float = 0.0
    longest_silent_s: float = 0.0
    cpu_s: float | None = None
    cancelled_s: float | None = None

    def begin(self, engine: MonitoredEngine | None, views: int = 1) -> None:
        """A run of ``engine`` begins, or (None) has ended."""
        self.age_s = self.silent_s = self.longest_silent_s = 0.0
        self.cpu_s = self.cancelled_s = None
        self.engine, self.views = engine, views


class MonitoredEngine:
    """An engine whose runs are watched; see ``Engine``. Made by ``EngineMonitor.watch``.

    engine: the watched one. longest_s, longest_silent_s: of a run that ended, for one view. recent_s: of the
    last run.
    """

    def __init__(
        self,
        engine: Engine,
        monitor: EngineMonitor,
        *,
        own_thread: bool,
        accelerator: bool,
        answers_within_s: float,
    ) -> None:
        self.input_size_px = engine.input_size_px
        self.own_thread = own_thread
        self.accelerator = accelerator
        self.longest_s = self.longest_silent_s = self.recent_s = 0.0
        self.engine = engine
        self._monitor = monitor
        self._answers_within_s = answers_within_s

    @property
    def name(self) -> str:
        return self.engine.name

    def run(self, batch: U8) -> Outputs:
        """See ``Engine.run``. Raises EngineCancelledError where it hung and was cancelled."""
        with self._monitor.running(self, len(batch)) as activity:
            try:
                return self.engine.run(batch)
            except EngineError as error:
                if activity.cancelled_s is None:
                    raise
                raise EngineCancelledError(f"engine {self.name}: a run that hung was cancelled") from error

    def close(self) -> None:
        """See ``Engine.close``."""
        self.engine.close()

    def cancel(self, thread_id: int) -> bool:
        """See ``Cancellable.cancel``."""
        return isinstance(self.engine, Cancellable) and self.engine.cancel(thread_id)

    def ended(self, took_s: float, silent_s: float, views: int) -> None:
        """A run has ended by itself."""
        self.recent_s = took_s
        self.longest_s = max(self.longest_s, took_s / views)
        self.longest_silent_s = max(self.longest_silent_s, silent_s / views)

    def silence_allowed_s(self, views: int) -> float:
        """For how long a run's threads may all wait."""
        own_s = self._answers_within_s * views
        return max(_SILENT_S + own_s, _SILENT_TIMES * self.longest_silent_s * views)

    def time_allowed_s(self, views: int) -> float:
        """How long a run may take, whatever its threads do."""
        if self.accelerator:
            return max(_SILENT_S, _SILENT_TIMES * self.longest_s * views)
        return max(_SLOW_S, _SLOW_TIMES * self.longest_s * views)


class EngineMonitor:
    """All runs of all engines. ``look`` belongs to the watchdog's thread, the rest to any.

    loads_moved: grows while engines are loaded and measured and their threads compute.
    now_s: time that the machine was awake. use: of threads by native id. cpus: how many there are.
    """

    def __init__(
        self,
        now_s: Callable[[], float] = awake_s,
        use: Use = threads_use,
        pool: Callable[[], Collection[int]] = runtime_threads,
        cpus: Callable[[], float] = available_cpus,
    ) -> None:
        self._now_s = now_s
        self._use = use
        self._pool = pool
        self._cpus = cpus
        self._lock = threading.Lock()
        self._activities: dict[int, Activity] = {}
        self._looked_s: float | None = None
        self.loads_moved = 0

    def watch(
        self, engine: Engine, *, own_thread: bool, accelerator: bool = False, answers_within_s: float = 0.0
    ) -> MonitoredEngine:
        """own_thread: it computes in the thread that calls it, and in no other. answers_within_s: for how
        long it may wait for one view by agreement, as for a server."""
        return MonitoredEngine(
            engine,
            self,
            own_thread=own_thread,
            accelerator=accelerator,
            answers_within_s=answers_within_s,
        )

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """The calling thread is at something that has to go on; name: in words, for the verdict."""
        thread_id = threading.get_native_id()
        with self._lock:
            self._activities[thread_id] = Activity(thread_id, name)
        try:
            yield
        finally:
            with self._lock:
                del self._activities[thread_id]

    @contextmanager
    def loading(self) -> Iterator[None]:
        """The calling thread loads an engine."""
        thread_id = threading.get_native_id()
        with self._lock:
            self._activities[thread_id] = Activity(thread_id, None)
        try:
            yield
        finally:
            self.loads_moved += 1
            with self._lock:
                del self._activities[thread_id]

    @contextmanager
    def running(self, engine: MonitoredEngine, views: int) -> Iterator[Activity]:
        """The calling thread runs ``engine``, within a turn or not."""
        thread_id = threading.get_native_id()
        with self._lock:
            within = self._activities.get(thread_id)
            activity = within or Activity(thread_id, None)
            activity.begin(engine, views)
            self._activities[thread_id] = activity
        began_s = self._now_s()
        try:
            yield activity
        finally:
            took_s = self._now_s() - began_s
            with self._lock:
                if activity.cancelled_s is None:
                    engine.ended(took_s, activity.longest_silent_s, views)
                if within is None:
                    del self._activities[thread_id]
                else:
                    activity.begin(None)

    def age_s(self, engine: MonitoredEngine) -> float:
        """Of the oldest run of ``engine`` that is under way; 0 where none is."""
        with self._lock:
            ages_s = [each.age_s for each in self._activities.values() if each.engine is engine]
        return max(ages_s, default=0.0)

    def look(self, held_up: str | None) -> list[tuple[str, str]]:
        """What is stuck for good: its name, and in words since when. Call it about twice a second.

        held_up: why work outside of the engines has to wait, if so.
        """
        now_s = self._now_s()
        lived_s = 0.0 if self._looked_s is None else min(now_s - self._looked_s, _LONGEST_LOOK_S)
        self._looked_s = now_s
        stuck = []
        with self._lock:
            pool = self._pool() if any(not _alone(one) for one in self._activities.values()) else ()
            fair_share = min(1.0, self._cpus() / max(1, len(self._activities)))
            for activity in self._activities.values():
                self._observe(activity, lived_s, pool, fair_share)
                if activity.engine is None and held_up is not None:
                    activity.silent_s = 0.0
                verdict = None if activity.name is None else self._verdict(activity)
                if verdict is not None and activity.name is not None:
                    stuck.append((activity.name, verdict))
        return stuck

    def cancel_all(self) -> None:
        """End every run that can be ended."""
        with self._lock:
            for activity in self._activities.values():
                if activity.engine is not None and activity.cancelled_s is None:
                    activity.cancelled_s = activity.age_s
                    activity.engine.cancel(activity.thread_id)

    def _observe(self, activity: Activity, lived_s: float, pool: Collection[int], fair_share: float) -> None:
        threads = {activity.thread_id} if _alone(activity) else {activity.thread_id, *pool}
        use = self._use(threads)
        activity.age_s += lived_s
        activity.silent_s += lived_s
        least_s = _LEAST_SHARE * fair_share * activity.silent_s
        if use is not None:
            first = activity.cpu_s is None
            # Where a thread of the pool has ended the sum is less than before.
            computed = use.busy or (not first and abs(use.cpu_s - (activity.cpu_s or 0.0)) > least_s)
            if computed:
                activity.silent_s = 0.0
                self.loads_moved += activity.name is None
            if computed or first:
                activity.cpu_s = use.cpu_s
        activity.longest_silent_s = max(activity.longest_silent_s, activity.silent_s)

    def _verdict(self, activity: Activity) -> str | None:
        """In words, where nothing but the end of the process is left."""
        engine = activity.engine
        if engine is None:
            return f"has not moved for {_OUTSIDE_S:g} s" if activity.silent_s >= _OUTSIDE_S else None
        if activity.cancelled_s is not None:
            waited_s = activity.age_s - activity.cancelled_s
            if waited_s < _CANCELS_WITHIN_S:
                return None
            return f"goes on {waited_s:.0f} s after engine {engine.name} was asked to cancel it"
        why = _hangs(activity, engine)
        if why is None:
            return None
        activity.cancelled_s = activity.age_s
        if not engine.cancel(activity.thread_id):
            return f"{why}, and engine {engine.name} cannot cancel it"
        log.error("%s %s: cancelled, its frame is lost", activity.name, why)
        return None


def _alone(activity: Activity) -> bool:
    """Whether no thread but its own works for it."""
    if activity.engine is None:
        return activity.name is not None
    return activity.engine.own_thread


def _hangs(activity: Activity, engine: MonitoredEngine) -> str | None:
    allowed_s = engine.time_allowed_s(activity.views)
    if activity.age_s >= allowed_s:
        return f"has taken {activity.age_s:.0f} s, where {engine.longest_s:.2g} s were the most before"
    if not engine.accelerator and activity.silent_s >= engine.silence_allowed_s(activity.views):
        return f"has computed nothing for {activity.silent_s:.0f} s"
    return None
