"""Pings systemd only while every stage progresses or knows why it does not; else calls for the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edgeseg.clock import awake_s
from edgeseg.system.systemd import notify, watchdog_interval_s

_LOOK_EVERY_S = 0.5
# A start that takes longer asks systemd for more than its TimeoutStartSec: each time for longer than a
# stage's patience (sd_notify(3), EXTEND_TIMEOUT_USEC).
_LONG_START_S = 60.0
_START_EXTENDED_S = 240


@dataclass(frozen=True, slots=True)
class Stage:
    """One thing that has to move.

    mark: another one whenever it has moved. patience_s: for how long it may stand still. waits: why it need
    not move now; None where it should. verdict: what was found by other means, in words: it is stuck.
    """

    name: str
    mark: object
    patience_s: float
    waits: str | None = None
    verdict: str | None = None

    @property
    def stuck(self) -> str:
        """What happened to it, in words."""
        return f"{self.name} {self.verdict or f'has not moved for {self.patience_s:g} s'}"


class Progress:
    """Finds the stage that has stood still for too long. Single-threaded.

    Only time counts that the caller lived through: neither a suspended machine nor a stopped process
    (SIGSTOP) makes a stage look stuck.
    """

    def __init__(self) -> None:
        self._still: dict[str, tuple[object, float]] = {}

    def check(self, stages: Iterable[Stage], lived_s: float) -> Stage | None:
        """lived_s: since the last call."""
        still: dict[str, tuple[object, float]] = {}
        stuck = None
        for stage in stages:
            mark, still_s = self._still.get(stage.name, (None, 0.0))
            if mark != stage.mark:
                still_s = 0.0
            elif stage.waits is None:
                still_s += lived_s
            still[stage.name] = (stage.mark, still_s)
            if stage.verdict is not None or (stage.waits is None and still_s >= stage.patience_s):
                stuck = stuck or stage
        self._still = still
        return stuck


class Watchdog:
    """A thread that looks at all stages twice a second. Use it as a context manager.

    stages: those of now; called in the watchdog's thread. stuck: called there once, with what happened in
    words; pings end with that. They begin with ``ready``.
    """

    def __init__(self, stages: Callable[[], Iterable[Stage]], stuck: Callable[[str], None]) -> None:
        self._stages = stages
        self._stuck = stuck
        self._stop = threading.Event()
        self._pings = False
        self._thread: threading.Thread | None = None

    def ready(self) -> None:
        """systemd has been told that the start is done."""
        self._pings = True

    def __enter__(self) -> Watchdog:
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        progress, began_s = Progress(), awake_s()
        before_s = began_s
        while not self._stop.wait(min(_LOOK_EVERY_S, watchdog_interval_s() or _LOOK_EVERY_S)):
            now_s = awake_s()
            # Longer than that this process itself stood still.
            lived_s = min(now_s - before_s, 2 * _LOOK_EVERY_S)
            before_s = now_s
            stage = progress.check(self._stages(), lived_s)
            if stage is not None:
                self._stuck(stage.stuck)
                return
            if self._pings:
                notify("WATCHDOG=1")
            elif now_s - began_s > _LONG_START_S:
                # As long as the start moves; one that does not ends above.
                notify(f"EXTEND_TIMEOUT_USEC={_START_EXTENDED_S * 1_000_000}")
