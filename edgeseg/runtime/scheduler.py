"""Which camera is analysed next: the one whose frame was due first, and no camera twice at once.

A camera keeps its place in the line from its first frame that nobody has analysed until one is: a newer
frame replaces the waiting one (the newest wins) but not the place, and neither does a frame that turned out
too old. So a fast camera cannot starve a slow one, nor can bad luck with ages: whoever waits longest, less
its head start, is next. Bounded by construction: one entry for each camera, one frame behind each.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgeseg.clock import Clock

# What a point of priority is worth in the line, and the most it may be worth: an advantage, not a wall.
_HEAD_START_S = 0.2
_LONGEST_HEAD_START_S = 2.0
# Staleness budget where the file names none; a slow camera gets two of its intervals.
_MAX_AGE_S = 2.0
_MAX_AGE_INTERVALS = 2


def due_s(frame_time_s: float, priority: int) -> float:
    """The place in the line of a frame that was due at ``frame_time_s``: sources hand over what is due."""
    return frame_time_s - min(priority * _HEAD_START_S, _LONGEST_HEAD_START_S)


def staleness_budget_s(max_age_s: float | None, rate_fps: float) -> float:
    """How old a frame may be when its turn comes. max_age_s: what the pipeline file says, if anything."""
    return max(_MAX_AGE_S, _MAX_AGE_INTERVALS / rate_fps) if max_age_s is None else max_age_s


@dataclass(frozen=True, slots=True)
class Work:
    """What one camera asked of the workers and got, since it first came.

    offered: frames handed over, whether or not a newer one replaced them. analysed: frames; took_s: the
    workers' time for these. busy_s: all of the workers' time, a turn that is under way included.
    """

    offered: int = 0
    analysed: int = 0
    took_s: float = 0.0
    busy_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Turn:
    since_s: float
    due_s: float


class Scheduler:
    """Hands waiting cameras to worker threads, and keeps the books of their work."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._due_s: dict[str, float] = {}
        self._waiting: set[str] = set()
        self._turns: dict[str, _Turn] = {}
        self._work: dict[str, Work] = {}
        self._taken = 0
        self._closed = False

    def offer(self, camera: str, due_s: float) -> None:
        """A new frame of ``camera`` is there. due_s: see ``due_s``; the place of a waiting one is kept."""
        with self._changed:
            work = self._work.get(camera, Work())
            self._work[camera] = replace(work, offered=work.offered + 1)
            self._due_s.setdefault(camera, due_s)
            self._waiting.add(camera)
            self._changed.notify()

    def take(self, timeout_s: float) -> str | None:
        """The next camera, or None after ``timeout_s`` or ``close()``. Give it back with ``done``."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._free(), timeout_s)
            free = self._free()
            if self._closed or not free:
                return None
            camera = min(free, key=lambda name: self._due_s[name])
            self._waiting.remove(camera)
            self._taken += 1
            self._turns[camera] = _Turn(self._clock.monotonic_s(), self._due_s.pop(camera))
            return camera

    def done(self, camera: str, *, analysed: bool = True) -> None:
        """The worker that took ``camera`` has finished with it. analysed: else the camera keeps its place,
        for its next frame."""
        with self._changed:
            turn = self._turns.pop(camera)
            took_s = self._clock.monotonic_s() - turn.since_s
            work = replace(self._work[camera], busy_s=self._work[camera].busy_s + took_s)
            if analysed:
                work = replace(work, analysed=work.analysed + 1, took_s=work.took_s + took_s)
            else:
                self._due_s[camera] = turn.due_s
            self._work[camera] = work
            self._changed.notify()

    def forget(self, camera: str) -> None:
        """The camera is gone; a frame of it that waits is not analysed."""
        with self._changed:
            self._waiting.discard(camera)
            self._due_s.pop(camera, None)

    def work(self) -> Mapping[str, Work]:
        """Camera -> what it asked and got, until now."""
        with self._changed:
            now_s = self._clock.monotonic_s()
            return {
                camera: replace(work, busy_s=work.busy_s + now_s - self._turns[camera].since_s)
                if camera in self._turns
                else work
                for camera, work in self._work.items()
            }

    def turns(self) -> Mapping[str, float]:
        """Camera -> since when a worker has been at it."""
        with self._changed:
            return {camera: turn.since_s for camera, turn in self._turns.items()}

    @property
    def taken(self) -> int:
        """Turns begun since the start."""
        return self._taken

    @property
    def has_free(self) -> bool:
        """Whether a camera waits that a worker could take at once."""
        with self._changed:
            return bool(self._free())

    def close(self) -> None:
        """Wake every worker; ``take`` returns None from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _free(self) -> list[str]:
        return [camera for camera in self._waiting if camera not in self._turns]
