"""Cameras and workers on a clock that moves when told to, around the daemon's own scheduler, meter and
quality control. Costs are exact, so every run is the same."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count

from edgeseg.clock import ManualClock
from edgeseg.runtime.overload.budget import Budget, Limit
from edgeseg.runtime.overload.load import Load, LoadMeter
from edgeseg.runtime.overload.quality import Ladder, Quality, QualityControl, rate_shares
from edgeseg.runtime.scheduler import Scheduler, due_s, staleness_budget_s


@dataclass
class SimCamera:
    """cost_s: of one frame at each input size, the camera's own first. jitter: shares of an interval by
    which frames are late, in turn. busy: whether the camera has anything to show at a time."""

    name: str
    rate_fps: float = 5.0
    cost_s: tuple[float, ...] = (0.1,)
    priority: int = 0
    max_age_s: float | None = None
    jitter: tuple[float, ...] = (0.0,)
    active: Callable[[float], bool] = lambda now_s: True
    # What the quality control is told; None: the truth.
    cost_shares: tuple[float, ...] | None = None

    quality: Quality = field(default_factory=Quality)
    newest_s: float | None = None
    ages_s: list[float] = field(default_factory=list)
    analysed_at_s: list[float] = field(default_factory=list)
    stale: int = 0

    @property
    def ladder(self) -> Ladder:
        shares = self.cost_shares or tuple(cost_s / self.cost_s[0] for cost_s in self.cost_s)
        return Ladder(self.priority, shares, rate_shares(self.rate_fps))

    @property
    def effective_fps(self) -> float:
        return self.rate_fps * self.ladder.rate_shares[self.quality.rate]

    @property
    def budget_s(self) -> float:
        return staleness_budget_s(self.max_age_s, self.effective_fps)


class SimulatedDevice:
    """budget: share of the workers' time that may be used. rest: what else uses of it, all the time."""

    def __init__(
        self,
        cameras: list[SimCamera],
        workers: int = 1,
        *,
        degrades: bool = True,
        budget: float | None = None,
        rest: float = 0.0,
    ) -> None:
        self.clock = ManualClock(monotonic_s=100.0)
        self.cameras = {camera.name: camera for camera in cameras}
        self.scheduler = Scheduler(self.clock)
        self.meter = LoadMeter(workers)
        self.control = QualityControl()
        self.control.watch({camera.name: camera.ladder for camera in cameras})
        self.loads: list[Load] = []
        self.changes: list[tuple[float, str, Quality]] = []
        self._degrades = degrades
        self.workers = workers
        self._rest = rest
        self.budget = Budget([] if budget is None else [Limit(self.used_s, budget * workers, "")])
        self._idle = workers
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers: Iterator[int] = count()
        for number, camera in enumerate(cameras):
            self._at(number * 0.013, self._frames(camera, 0))
        self._at(1.0, self._tick)

    @property
    def now_s(self) -> float:
        return self.clock.monotonic_s()

    def used_s(self) -> float:
        """Workers' time, and what else was used, since the beginning."""
        done = sum(work.took_s for work in self.scheduler.work().values())
        return done + self._rest * self.workers * self.now_s

    def run(self, duration_s: float) -> None:
        until_s = self.now_s + duration_s
        while self._events[0][0] <= until_s:
            at_s, _, event = heapq.heappop(self._events)
            self.clock.set(at_s, at_s)
            event()
            self._give_turns()
        self.clock.set(until_s, until_s)

    def _at(self, delay_s: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now_s + delay_s, next(self._numbers), event))

    def _frames(self, camera: SimCamera, number: int) -> Callable[[], None]:
        def arrive() -> None:
            if camera.active(self.now_s):
                camera.newest_s = self.now_s
                self.scheduler.offer(camera.name, due_s(self.now_s, camera.priority))
            late = (
                camera.jitter[number % len(camera.jitter)] - camera.jitter[(number - 1) % len(camera.jitter)]
            )
            self._at((1 + late) / camera.effective_fps, self._frames(camera, number + 1))

        return arrive

    def _give_turns(self) -> None:
        while self._idle and (name := self.scheduler.take(0)) is not None:
            camera = self.cameras[name]
            taken_s, camera.newest_s = camera.newest_s, None
            assert taken_s is not None, "a turn without a frame"
            if self.now_s - taken_s > camera.budget_s:
                camera.stale += 1
                self.scheduler.done(name, analysed=False)
                continue
            self._idle -= 1
            self._at(camera.cost_s[camera.quality.size], self._finish(camera, taken_s))

    def _finish(self, camera: SimCamera, taken_s: float) -> Callable[[], None]:
        def finish() -> None:
            self._idle += 1
            camera.ages_s.append(self.now_s - taken_s)
            camera.analysed_at_s.append(self.now_s)
            self.scheduler.done(camera.name)

        return finish

    def _tick(self) -> None:
        load = self.meter.note(self.now_s, self.scheduler.work())
        paid = self.budget.workers(self.now_s, load.busy * load.workers, load.workers)
        load = replace(load, workers=paid)
        self.loads.append(load)
        if self._degrades:
            for name, quality in self.control.decide(self.now_s, load).items():
                self.cameras[name].quality = quality
                self.changes.append((self.now_s, name, quality))
        self._at(1.0, self._tick)
