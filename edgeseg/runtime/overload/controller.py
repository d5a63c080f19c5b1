"""Relieves a device that cannot keep up: measures, decides, puts it into force, and says so."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from edgeseg.clock import Clock
from edgeseg.events import Degraded
from edgeseg.runtime.engine_pool import EngineKey, EnginePool
from edgeseg.runtime.overload.budget import Budget
from edgeseg.runtime.overload.load import Load, LoadMeter
from edgeseg.runtime.overload.quality import Ladder, Quality, QualityControl, rate_shares
from edgeseg.runtime.running_camera import RunningCamera
from edgeseg.runtime.scheduler import Scheduler
from edgeseg.stages.preprocess import Preprocess

log = logging.getLogger(__name__)

# An engine is slow where a run takes longer than the interval at which its camera is analysed, and than this:
# what it says is then about a past that a person would not call now.
_SLOW_RUN_S = 2.0
# It is no longer slow below this share of that; a rate that changes by less than the second says nothing new.
_NO_LONGER = 0.7
_ANOTHER_RATE = 0.3


class OverloadController:
    """Decides about all cameras once a second. All belongs to one thread."""

    def __init__(
        self, pool: EnginePool, scheduler: Scheduler, clock: Clock, workers: int, budget: Budget
    ) -> None:
        self.load = Load(0.0, workers, {})
        self._budget = budget
        self._workers = workers
        self._pool = pool
        self._scheduler = scheduler
        self._clock = clock
        self._meter = LoadMeter(workers)
        self._control = QualityControl()
        self._posts: dict[str, RunningCamera] = {}
        self._ladders: dict[str, Ladder] = {}
        self._sizes_px: dict[str, tuple[tuple[int, int], ...]] = {}
        self._in_force: dict[str, Quality] = {}
        self._waiting: dict[str, Quality] = {}
        self._slow_run_s: dict[str, float] = {}

    def watch(self, posts: Mapping[str, RunningCamera]) -> None:
        """The cameras there are from now on, their engines loaded, at the rates that are set now."""
        same = {name for name, post in posts.items() if self._posts.get(name) is post}
        self._in_force = {name: self._in_force[name] for name in same if name in self._in_force}
        self._slow_run_s = {name: self._slow_run_s[name] for name in same if name in self._slow_run_s}
        self._waiting.clear()
        self._posts = dict(posts)
        self._sizes_px = {name: self._sizes_of(post) for name, post in posts.items()}
        self._ladders = {name: self._ladder_of(post) for name, post in posts.items()}
        self._control.watch(self._ladders)
        self._control.settle(self._clock.monotonic_s())
        for name in posts:
            self._put(name, self._control.quality(name))
        self._notice_engines()

    def allow(self, budget: Budget) -> None:
        """Keep within this one from now on."""
        self._budget = budget

    def tick(self) -> None:
        """Once a second."""
        now_s = self._clock.monotonic_s()
        self._notice_engines()
        load = self._meter.note(now_s, self._scheduler.work())
        paid = self._budget.workers(now_s, load.busy * self._workers, self._workers)
        self.load = replace(load, workers=paid)
        for key, error in self._pool.arrived().items():
            if error is not None:
                log.warning("%dx%d cannot be had to relieve the device: %s", *key.input_size_px, error)
            for name in [name for name in self._waiting if self._key(name, self._waiting[name]) == key]:
                wanted = self._waiting.pop(name)
                self._put(name, wanted if error is None else self._control.refuse_size(name))
            self._control.settle(now_s)
        if not self._waiting:
            for name, quality in self._control.decide(now_s, self.load).items():
                self._put(name, quality)
        used = [*self._in_force.items(), *self._waiting.items()]
        self._pool.tidy(
            {post.key for post in self._posts.values()} | {self._key(name, quality) for name, quality in used}
        )

    @property
    def degraded(self) -> Mapping[str, Degraded]:
        """The cameras that get less than they were set to, and what they get."""
        found = {name: self._degraded(name, quality) for name, quality in self._in_force.items()}
        return {name: one for name, one in found.items() if one is not None}

    def _sizes_of(self, post: RunningCamera) -> tuple[tuple[int, int], ...]:
        # Tiles of half the size are twice as many: nothing would be gained.
        if post.fit == "tiles":
            return (post.key.input_size_px,)
        return self._pool.sizes_px(post.model, post.key)

    def _ladder_of(self, post: RunningCamera) -> Ladder:
        """Costs are guessed by area until they were measured."""
        areas = [width * height for width, height in self._sizes_px[post.settings.name]]
        shares = tuple(area / areas[0] for area in areas)
        return Ladder(post.settings.priority, shares, rate_shares(post.live.camera.rate_fps))

    def _put(self, name: str, quality: Quality) -> None:
        """Into force, now or when its network is loaded."""
        post = self._posts[name]
        key = self._key(name, quality)
        if self._pool.get(key) is None:
            self._waiting[name] = quality
            self._pool.fetch(post.model, post.key, key.input_size_px)
            # The rate need not wait.
            quality = replace(quality, size=self._in_force.get(name, Quality()).size)
        before = self._in_force.get(name, Quality())
        self._in_force[name] = quality
        post.live.camera.degrade(self._degraded(name, quality))
        if quality == before:
            return
        if quality.size != before.size:
            self._meter.expect(name, self._control.expected_cost_s(name, quality.size))
        post.live.set_quality(
            self._ladders[name].rate_shares[quality.rate],
            Preprocess(post.fit, self._sizes_px[name][quality.size]),
        )
        self._say(name, before, quality)

    def _notice_engines(self) -> None:
        """Say of each camera when its servers are away or its engine cannot keep up even alone, and when that
        is over."""
        for name, quality in self._in_force.items():
            run_s = self._pool.run_s(self._key(name, quality))
            before_s = self._slow_run_s.get(name)
            limit_s = max(_SLOW_RUN_S, 1 / self._rate_fps(name, quality))
            if run_s < limit_s * (1.0 if before_s is None else _NO_LONGER):
                if self._slow_run_s.pop(name, None) is not None and run_s:
                    log.info("camera %s: its engine is no longer slow: %.1f s a picture", name, run_s)
            elif before_s is None or abs(run_s - before_s) > _ANOTHER_RATE * before_s:
                self._slow_run_s[name] = run_s
            if before_s is None and name in self._slow_run_s:
                self._say_slow(name, quality, run_s)
            self._posts[name].live.camera.degrade(self._degraded(name, quality))

    def _say_slow(self, name: str, quality: Quality, run_s: float) -> None:
        """Once for all cameras that share the engine."""
        key = self._key(name, quality)
        alike = [other for other in self._slow_run_s if self._key(other, self._in_force[other]) == key]
        if alike != [name]:
            return
        engine = self._pool.get(key)
        log.warning(
            "model %s: engine %s takes %.1f s for a picture of %dx%d, which is slow for camera %s: take a "
            "smaller `input`, another `engine` (`edgeseg doctor` measures them) or a smaller model",
            self._posts[name].model.name,
            key.engine if engine is None else engine.name,
            run_s,
            *key.input_size_px,
            name,
        )

    def _rate_fps(self, name: str, quality: Quality) -> float:
        return self._posts[name].live.camera.rate_fps * self._ladders[name].rate_shares[quality.rate]

    def _degraded(self, name: str, quality: Quality) -> Degraded | None:
        post = self._posts[name]
        stand_in = self._pool.standing_in(post.key)
        slow_run_s = self._slow_run_s.get(name)
        if quality == Quality() and stand_in is None and slow_run_s is None:
            return None
        rate_fps = self._rate_fps(name, quality) if quality.rate else None
        if slow_run_s is not None:
            rate_fps = 1 / slow_run_s
        return Degraded(
            rate_fps,
            self._sizes_px[name][quality.size] if quality.size else None,
            stand_in,
        )

    def _say(self, name: str, before: Quality, quality: Quality) -> None:
        set_fps = self._posts[name].live.camera.rate_fps
        parts = []
        if quality.size != before.size:
            now, then = (self._size_text(name, one.size) for one in (quality, before))
            parts.append(f"input {now} instead of {then}")
        if quality.rate != before.rate:
            shares = self._ladders[name].rate_shares
            parts.append(
                f"{set_fps * shares[quality.rate]:.2g} frames a second instead of "
                f"{set_fps * shares[before.rate]:.2g}"
            )
        worse = (quality.rate, quality.size) > (before.rate, before.size)
        why = "there is room again"
        asked = f"cameras ask for {self.load.demand:.0%} of what {self._workers} workers can do"
        if self.load.workers < self._workers:
            asked = f"cameras ask for {self.load.demand:.0%} of what the budget of {self._budget.text} gives"
        if worse:
            why = "the device cannot keep up"
            why = "kept within the budget" if self.load.workers < self._workers else why
        rest = "" if quality != Quality() else ", as set"
        level = logging.WARNING if worse else logging.INFO
        log.log(level, "camera %s: %s (%s): %s%s", name, why, asked, "; ".join(parts), rest)

    def _key(self, name: str, quality: Quality) -> EngineKey:
        post = self._posts[name]
        return replace(post.key, input_size_px=self._sizes_px[name][quality.size])

    def _size_text(self, name: str, index: int) -> str:
        size_px, scores = self._sizes_px[name][index], self._posts[name].model.sizes
        miou = next((f" (mIoU {score.miou:.3f})" for score in scores if score.size_px == size_px), "")
        return f"{size_px[0]}x{size_px[1]}{miou}"
