"""At which quality each camera is analysed: as set, or as much less as the device needs.

When the cameras ask for more than the workers can do, quality goes down in the order that costs least:
smaller inputs along the model's measured sizes, and when no camera has any left, lower rates; in both,
cameras of lower priority first, among equals those that gave least so far. It comes back in the reverse
order, after there has been room for it for ``PATIENCE_S``, and only as far as it will fit by what frames were
measured to cost. A step up that did not hold doubles the patience, so that two qualities do not take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from edgeseg.runtime.overload.load import WINDOW_S, Load

# Rates on the way down, as shares of the one that was set: about a quarter less each time.
RATE_SHARES = (1.0, 0.8, 0.6, 0.45, 0.33, 0.25, 0.18, 0.13, 0.1, 0.07, 0.05)
# Shares of what the workers can do. Above the first frames wait and are dropped; a descent ends below the
# second, which leaves room for bursts; only what fits below the third goes up again.
OVERLOAD, ENOUGH, ROOM = 0.95, 0.85, 0.80
DOWN_AFTER_S = 3.0
# A camera that asks for less than this share of the average is left alone: it has next to nothing to give.
_TRIFLE = 0.1
# Degraded rates end here, where the file asks for more: what is looked at less often is not watched.
_SLOWEST_FPS = 0.2
PATIENCE_S = 30.0
_LONGEST_PATIENCE_S = 960.0
# A step up that was taken back within this time was a mistake; one that held longer was none.
_HELD_AFTER_S = 120.0
# Until the meter's window shows nothing but the new quality.
SETTLE_S = WINDOW_S + 1.0


def rate_shares(rate_fps: float) -> tuple[float, ...]:
    """The steps down from a rate, 1.0 first."""
    return tuple(share for share in RATE_SHARES if share == 1.0 or share * rate_fps >= _SLOWEST_FPS)


@dataclass(frozen=True, slots=True)
class Ladder:
    """How far down one camera can go.

    cost_shares: what a frame costs at each input size, the camera's own (1.0) first; a guess until measured.
    rate_shares: the same for rates, 1.0 first.
    """

    priority: int
    cost_shares: tuple[float, ...] = (1.0,)
    rate_shares: tuple[float, ...] = RATE_SHARES


@dataclass(frozen=True, slots=True)
class Quality:
    """Steps down from what was set: indices into a ladder's shares."""

    size: int = 0
    rate: int = 0


_Qualities = dict[str, Quality]


class QualityControl:
    """Decides which camera goes down and up. Single-threaded; time is told."""

    def __init__(self) -> None:
        self._ladders: dict[str, Ladder] = {}
        self._now: _Qualities = {}
        self._cost_s: dict[tuple[str, int], float] = {}
        self._settled_s = 0.0
        self._over_since_s: float | None = None
        self._room_since_s: float | None = None
        self._raised_s: float | None = None
        self._patience_s = PATIENCE_S

    def watch(self, ladders: Mapping[str, Ladder]) -> None:
        """The cameras there are from now on; one whose ladder did not change keeps its quality."""
        self._now = {
            camera: self._now[camera] if self._ladders.get(camera) == ladder else Quality()
            for camera, ladder in ladders.items()
        }
        kept = {camera for camera, ladder in ladders.items() if self._ladders.get(camera) == ladder}
        self._cost_s = {key: cost_s for key, cost_s in self._cost_s.items() if key[0] in kept}
        self._ladders = dict(ladders)

    def quality(self, camera: str) -> Quality:
        """What was decided last."""
        return self._now[camera]

    def settle(self, now_s: float) -> None:
        """What was decided has just come into force: what was measured so far says little of it."""
        self._settled_s = now_s + SETTLE_S
        self._over_since_s = self._room_since_s = None

    def refuse_size(self, camera: str) -> Quality:
        """The size of the camera's present quality cannot be had, nor any below. Returns the next best."""
        ladder, quality = self._ladders[camera], self._now[camera]
        self._ladders[camera] = replace(ladder, cost_shares=ladder.cost_shares[: max(1, quality.size)])
        self._now[camera] = replace(quality, size=max(0, quality.size - 1))
        return self._now[camera]

    def decide(self, now_s: float, load: Load) -> Mapping[str, Quality]:
        """The cameras whose quality changes, and to what. Call it about once a second."""
        if now_s < self._settled_s:
            return {}
        for camera, seen in load.cameras.items():
            if camera in self._now and seen.cost_s:
                self._cost_s[camera, self._now[camera].size] = seen.cost_s
        demands = self._demands(load, self._now)
        wanted = self._now
        if self._exceeds(OVERLOAD, demands, load.workers):
            self._room_since_s = None
            self._over_since_s = now_s if self._over_since_s is None else self._over_since_s
            if now_s - self._over_since_s >= DOWN_AFTER_S:
                wanted = self._down(load)
                self._learn_from_descent(now_s, wanted)
        else:
            self._over_since_s = None
            higher = self._up(load)
            if higher == self._now:
                self._room_since_s = None
            elif self._room_since_s is None:
                self._room_since_s = now_s
            elif now_s - self._room_since_s >= self._patience_s:
                wanted, self._raised_s = higher, now_s
            if self._raised_s is not None and now_s - self._raised_s > self._patience_s + _HELD_AFTER_S:
                self._patience_s, self._raised_s = PATIENCE_S, None
        changed = {camera: quality for camera, quality in wanted.items() if quality != self._now[camera]}
        if changed:
            self._now = wanted
            self.settle(now_s)
        return changed

    def expected_cost_s(self, camera: str, size: int) -> float:
        """The workers' time for a frame at that size; 0 while nothing is known."""
        quality, ladder = self._now[camera], self._ladders[camera]
        known_s = self._cost_s.get((camera, size))
        if known_s is None:
            here_s = self._cost_s.get((camera, quality.size), 0.0)
            known_s = here_s * ladder.cost_shares[size] / ladder.cost_shares[quality.size]
        return known_s

    def _learn_from_descent(self, now_s: float, wanted: _Qualities) -> None:
        if self._raised_s is not None and wanted != self._now:
            if now_s - self._raised_s <= self._patience_s + _HELD_AFTER_S:
                self._patience_s = min(2 * self._patience_s, _LONGEST_PATIENCE_S)
            self._raised_s = None

    def _demands(self, load: Load, qualities: _Qualities) -> dict[str, float]:
        """Workers that each camera would keep busy at these qualities; of cameras that ask for any."""
        demands = {}
        for camera, quality in qualities.items():
            seen = load.cameras.get(camera)
            if seen is None or not seen.demand:
                continue
            now, ladder = self._now[camera], self._ladders[camera]
            dearer = 1.0
            if quality.size != now.size:
                dearer = self._cost_ratio(camera, quality.size, now.size)
            oftener = ladder.rate_shares[quality.rate] / ladder.rate_shares[now.rate]
            demands[camera] = seen.demand * dearer * oftener
        return demands

    def _cost_ratio(self, camera: str, size: int, to: int) -> float:
        one_s, other_s = self._cost_s.get((camera, size)), self._cost_s.get((camera, to))
        if one_s and other_s:
            return one_s / other_s
        shares = self._ladders[camera].cost_shares
        return shares[size] / shares[to]

    def _exceeds(self, share: float, demands: Mapping[str, float], workers: float) -> bool:
        # A camera is with one worker at a time: what it asks beyond that is no burden to others.
        burden = sum(min(one, 1.0) for one in demands.values())
        return burden > share * workers or any(one > share for one in demands.values())

    def _down(self, load: Load) -> _Qualities:
        """Step by step until it is enough, or until nothing is left."""
        wanted = dict(self._now)
        while True:
            demands = self._demands(load, wanted)
            total = sum(demands.values())
            asked = [camera for camera, demand in demands.items() if demand > ENOUGH]
            if not asked and total > ENOUGH * load.workers:
                asked = [camera for camera in demands if demands[camera] * len(demands) >= _TRIFLE * total]
            step = self._smaller(wanted, asked, demands) or self._slower(wanted, asked, demands)
            if step is None:
                return wanted
            wanted[step[0]] = step[1]

    def _smaller(
        self, wanted: _Qualities, asked: Iterable[str], demands: Mapping[str, float]
    ) -> tuple[str, Quality] | None:
        def helps(camera: str) -> bool:
            size = wanted[camera].size
            left = size + 1 < len(self._ladders[camera].cost_shares)
            return left and self._cost_ratio(camera, size + 1, size) < 1

        camera = self._first(filter(helps, asked), demands, lambda name: wanted[name].size)
        return None if camera is None else (camera, replace(wanted[camera], size=wanted[camera].size + 1))

    def _slower(
        self, wanted: _Qualities, asked: Iterable[str], demands: Mapping[str, float]
    ) -> tuple[str, Quality] | None:
        able = [name for name in asked if wanted[name].rate + 1 < len(self._ladders[name].rate_shares)]
        camera = self._first(able, demands, lambda name: wanted[name].rate)
        return None if camera is None else (camera, replace(wanted[camera], rate=wanted[camera].rate + 1))

    def _first(
        self, cameras: Iterable[str], demands: Mapping[str, float], given: Callable[[str], int]
    ) -> str | None:
        """The lowest priority, of those the one that gave least, of those the one that asks most."""
        return min(
            cameras,
            key=lambda name: (self._ladders[name].priority, given(name), -demands[name], name),
            default=None,
        )

    def _up(self, load: Load) -> _Qualities:
        """The reverse of ``_down``, as far as it fits."""
        wanted = dict(self._now)
        while True:
            step = self._next_up(wanted, load)
            if step is None:
                return wanted
            wanted[step[0]] = step[1]

    def _next_up(self, wanted: _Qualities, load: Load) -> tuple[str, Quality] | None:
        def order(name: str) -> tuple[bool, int, int, str]:
            quality = wanted[name]
            return (
                quality.rate == 0,
                -self._ladders[name].priority,
                -(quality.rate or quality.size),
                name,
            )

        for camera in sorted((name for name in wanted if wanted[name] != Quality()), key=order):
            quality = wanted[camera]
            if quality.rate:
                better = replace(quality, rate=quality.rate - 1)
            else:
                better = replace(quality, size=quality.size - 1)
            demands = self._demands(load, {**wanted, camera: better})
            if sum(demands.values()) > ROOM * load.workers:
                # Nobody overtakes: what a lower priority could have, the next in order waits for.
                return None
            if demands.get(camera, 0.0) <= ROOM:
                return camera, better
        return None
