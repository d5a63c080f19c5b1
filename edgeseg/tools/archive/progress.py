"""How far an archive is, how fast it goes, and how long it will take."""

from __future__ import annotations

from dataclasses import dataclass

from edgeseg.clock import Clock


@dataclass(frozen=True, slots=True)
class Done:
    """pictures, of due. kept: how many of them an earlier run did. seconds: of recordings, done now."""

    pictures: int
    due: int
    kept: int
    seconds: float

    @property
    def share(self) -> float:
        return self.pictures / self.due if self.due else 1.0


class ProgressMeter:
    """Since the last restart. Single-threaded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_s = self._said_s = clock.monotonic_s()

    def restart(self) -> None:
        """Something else begins."""
        self._began_s = self._said_s = self._clock.monotonic_s()

    def due(self, every_s: float) -> bool:
        """Whether something is to be said again."""
        now_s = self._clock.monotonic_s()
        if now_s - self._said_s < every_s:
            return False
        self._said_s = now_s
        return True

    def words(self, done: Done) -> str:
        """``41.5 pictures/s, 8.3 x real time, 0:12:30 left``"""
        took_s = max(self._clock.monotonic_s() - self._began_s, 1e-3)
        rate = (done.pictures - done.kept) / took_s
        left_s = round((done.due - done.pictures) / rate) if rate > 0 else 0
        left = f"{left_s // 3600}:{left_s // 60 % 60:02d}:{left_s % 60:02d} left"
        return f"{rate:.1f} pictures/s, {done.seconds / took_s:.1f} x real time, {left}"
