"""What the cameras ask of the workers, and what the workers can do: one view for the whole process."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from edgeseg.runtime.scheduler import Work

# Long enough for several frames of most cameras, short enough to act before anybody notices.
WINDOW_S = 5.0


@dataclass(frozen=True, slots=True)
class CameraLoad:
    """offered_fps: frames a second that were due. cost_s: the workers' time for one; 0 while unknown."""

    offered_fps: float
    cost_s: float

    @property
    def demand(self) -> float:
        """Workers that this camera alone would keep busy. It never gets more than one."""
        return self.offered_fps * self.cost_s


@dataclass(frozen=True, slots=True)
class Load:
    """busy: share of the workers' time in use, 0-1. workers: how many there are, or a budget pays for."""

    busy: float
    workers: float
    cameras: Mapping[str, CameraLoad]

    @property
    def demand(self) -> float:
        """What all cameras ask, as a share of what the workers can do: above 1 frames are dropped."""
        return sum(camera.demand for camera in self.cameras.values()) / self.workers


class LoadMeter:
    """Turns the scheduler's books into rates over the last ``WINDOW_S``. Single-threaded.

    Work is measured by the clock, not in CPU time: what else this machine does (decoding, above all) makes
    turns longer, and so counts.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._notes: deque[tuple[float, Mapping[str, Work]]] = deque()
        self._cost_s: dict[str, float] = {}

    def note(self, now_s: float, work: Mapping[str, Work]) -> Load:
        """What stands in the books now; call it about once a second."""
        self._notes.append((now_s, work))
        # The oldest note that is kept is at least a window old, as soon as there is one.
        while len(self._notes) > 2 and now_s - self._notes[1][0] >= WINDOW_S:
            self._notes.popleft()
        then_s, before = self._notes[0]
        span_s = now_s - then_s
        if span_s <= 0:
            return Load(0.0, self._workers, {})
        since = {camera: _since(before.get(camera, Work()), now) for camera, now in work.items()}
        for camera, part in since.items():
            if part.analysed:
                self._cost_s[camera] = part.took_s / part.analysed
        return Load(
            busy=min(1.0, sum(part.busy_s for part in since.values()) / span_s / self._workers),
            workers=self._workers,
            cameras={
                camera: CameraLoad(part.offered / span_s, self._cost_s.get(camera, 0.0))
                for camera, part in since.items()
            },
        )

    def expect(self, camera: str, cost_s: float) -> None:
        """Its frames should cost that from now on; measured anew from the next one on."""
        self._cost_s[camera] = cost_s


def _since(before: Work, now: Work) -> Work:
    return Work(
        now.offered - before.offered,
        now.analysed - before.analysed,
        now.took_s - before.took_s,
        max(0.0, now.busy_s - before.busy_s),
    )
