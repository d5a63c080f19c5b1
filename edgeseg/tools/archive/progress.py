"""Archive progress: rate and time left."""

from __future__ import annotations

from dataclasses import dataclass

from edgeseg.clock import Clock


@dataclass(frozen=True, slots=True)
class ArchiveProgress:
    """pictures, of due. reused: how many of them an earlier run did. seconds: of recordings, done now."""

    pictures: int
    due: int
    reused: int
    seconds: float

    @property
    def share(self) -> float:
        return self.pictures / self.due if self.due else 1.0


class ProgressMeter:
    """Measures the rate since the last restart. Single-threaded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_s = self._reported_s = clock.monotonic_s()

    def restart(self) -> None:
        """Start a new measurement of the rate."""
        self._began_s = self._reported_s = self._clock.monotonic_s()

    def due(self, every_s: float) -> bool:
        """Return whether ``every_s`` passed since the last report."""
        now_s = self._clock.monotonic_s()
        if now_s - self._reported_s < every_s:
            return False
        self._reported_s = now_s
        return True

    def text(self, done: ArchiveProgress) -> str:
        """Return ``41.5 pictures/s, 8.3 x real time, 0:12:30 left``"""
        took_s = max(self._clock.monotonic_s() - self._began_s, 1e-3)
        rate = (done.pictures - done.reused) / took_s
        left_s = round((done.due - done.pictures) / rate) if rate > 0 else 0
        left = f"{left_s // 3600}:{left_s // 60 % 60:02d}:{left_s % 60:02d} left"
        return f"{rate:.1f} pictures/s, {done.seconds / took_s:.1f} x real time, {left}"
