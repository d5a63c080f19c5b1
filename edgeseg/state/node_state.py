"""What is kept of a node: its rules' memory, its commands' wishes, and how its earlier lives ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeseg.clock import Clock, boot_id, is_synchronised
from edgeseg.state.database import Database, Execute, take_over

log = logging.getLogger(__name__)

FILE = "state.sqlite"
# Its name while it held the outbox alone.
_OLD_FILE = "outbox.sqlite"
# How old the last sign of life is at most that a killed process leaves behind.
ALIVE_EVERY_S = 10.0
# Restarts of so many seconds are told.
HISTORY_S = 86_400.0
_KEPT_LIVES = 200
STOPPED, FINISHED = "stopped", "finished"
_PLANNED = (STOPPED, FINISHED)
# Of a life that left no word.
KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant by both clocks. boot: the start of the machine that the monotonic clock belongs to."""

    boot: str
    monotonic_s: float
    utc_s: float


@dataclass(frozen=True, slots=True)
class Elapsed:
    """What lies between two moments. trusted: False where only a UTC clock tells that may be wrong."""

    duration_s: float
    trusted: bool


@dataclass(frozen=True, slots=True)
class Override:
    """What commands asked of a camera; None: nothing. rate_of_file: what its file said then."""

    enabled: bool | None = None
    rate_fps: float | None = None
    rate_of_file_fps: float | None = None


@dataclass(frozen=True, slots=True)
class RunHistory:
    """What went before this life.

    restarts: unplanned ones in the last HISTORY_S. ended: how the life before ended: ``stopped``,
    ``finished``, ``killed`` (no word: SIGKILL, a crash, power), ``stuck: ...``, ``failed: ...``; None where
    this is the first. down: since its last sign of life. stuck_ago_s: how long ago, newest last, lives ended
    stuck.
    """

    restarts: int = 0
    ended: str | None = None
    down: Elapsed | None = None
    stuck_ago_s: tuple[float, ...] = ()

    @property
    def unplanned(self) -> bool:
        return self.ended is not None and self.ended not in _PLANNED


class NodeState:
    """Thread-safe. folder: of the node; None keeps everything in memory.

    boot, synchronised: what this machine says of its clocks.
    """

    def __init__(
        self,
        folder: Path | None,
        clock: Clock,
        *,
        boot: str | None = None,
        synchronised: Callable[[], bool | None] = is_synchronised,
    ) -> None:
        self.database = Database(None if folder is None else folder / FILE, clock)
        self.past = RunHistory()
        self._folder = folder
        self._clock = clock
        self._boot = boot_id() if boot is None else boot
        self._synchronised = synchronised
        self._life = 0
        self._noted: dict[str, str] = {}
        self._alive_due_s = 0.0

    def open(self) -> None:
        """Begin a life. Raises StateError for a file of a newer edgeseg."""
        if self._folder is not None:
            try:
                take_over(self._folder / _OLD_FILE, self._folder / FILE)
            except OSError as error:
                log.warning("state %s: cannot be renamed: %s", self._folder / _OLD_FILE, error)
        self.database.open()
        self.past = self._look_back()
        now = self.now()
        newest = self.database.read("SELECT max(id) FROM life")[0][0]
        self._life = 1 + (int(newest) if newest is not None else 0)
        self._alive_due_s = now.monotonic_s + ALIVE_EVERY_S

        def change(execute: Execute) -> None:
            values = (self._life, now.boot, now.utc_s, now.utc_s, now.monotonic_s)
            execute("INSERT INTO life VALUES (?, ?, ?, ?, ?, NULL)", values)
            execute("DELETE FROM life WHERE id <= ?", (self._life - _KEPT_LIVES,))

        self.database.write(change)

    def close(self) -> None:
        """Idempotent."""
        self.database.close()

    def __enter__(self) -> NodeState:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def end(self, how: str) -> None:
        """This life ends so: ``stopped``, ``finished``, or what went wrong. Stores what was noted."""
        self._flush(how)

    def now(self) -> Moment:
        return Moment(self._boot, self._clock.monotonic_s(), self._clock.utc_s())

    def since(self, then: Moment) -> Elapsed:
        """Time between an earlier life's moment and now: by the monotonic clock while the machine has not
        been started again, else by UTC."""
        now = self.now()
        if then.boot == now.boot and now.monotonic_s >= then.monotonic_s:
            return Elapsed(now.monotonic_s - then.monotonic_s, trusted=True)
        duration_s = now.utc_s - then.utc_s
        if duration_s < 0:
            return Elapsed(0.0, trusted=False)
        return Elapsed(duration_s, trusted=self._synchronised() is not False)

    def tick(self) -> None:
        """Once a second: store what was noted, and a sign of life every ALIVE_EVERY_S."""
        self.database.mend()
        if self._noted or self._clock.monotonic_s() >= self._alive_due_s:
            self._flush(None)

    def memories(self) -> dict[str, str]:
        """Camera -> what was kept of it."""
        return dict(self.database.read("SELECT camera, body FROM memory"))

    def note(self, camera: str, body: str) -> None:
        """Keep this of a camera, with the next ``tick``."""
        self._noted[camera] = body

    def keep(self, camera: str, body: str) -> None:
        """Keep this of a camera now, together with what else the caller stores."""

        def change(execute: Execute) -> None:
            # Noted before this, it is older.
            self._noted.pop(camera, None)
            execute("INSERT OR REPLACE INTO memory VALUES (?, ?)", (camera, body))

        self.database.write(change)

    def forget(self, camera: str) -> None:
        """The camera is gone: nothing of it is kept."""

        def change(execute: Execute) -> None:
            self._noted.pop(camera, None)
            execute("DELETE FROM memory WHERE camera = ?", (camera,))
            execute("DELETE FROM wish WHERE camera = ?", (camera,))
            execute("DELETE FROM view WHERE camera = ?", (camera,))

        self.database.write(change)

    def override(self, camera: str) -> Override:
        """What commands asked of the camera."""
        found = self.database.read("SELECT enabled, rate, rate_of_file FROM wish WHERE camera = ?", camera)
        for enabled, rate_fps, rate_of_file_fps in found:
            return Override(None if enabled is None else bool(enabled), rate_fps, rate_of_file_fps)
        return Override()

    def save_override(self, camera: str, override: Override) -> None:
        values = (camera, override.enabled, override.rate_fps, override.rate_of_file_fps)

        def change(execute: Execute) -> None:
            execute("INSERT OR REPLACE INTO wish VALUES (?, ?, ?, ?)", values)

        self.database.write(change)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What this thread keeps and appends to the outbox inside is stored at the end, all or nothing."""
        with self.database.together():
            yield

    def _flush(self, ended: str | None) -> None:
        now = self.now()
        self._alive_due_s = now.monotonic_s + ALIVE_EVERY_S
        taken: dict[str, str] = {}

        def change(execute: Execute) -> None:
            while self._noted:
                camera, body = self._noted.popitem()
                taken[camera] = body
            for camera, body in taken.items():
                execute("INSERT OR REPLACE INTO memory VALUES (?, ?)", (camera, body))
            values = (now.utc_s, now.monotonic_s, ended, self._life)
            execute(
                "UPDATE life SET alive_at = ?, alive_s = ?, ended = coalesce(?, ended) WHERE id = ?", values
            )

        self.database.write(change)

    def _look_back(self) -> RunHistory:
        lives = self.database.read("SELECT boot, alive_at, alive_s, ended FROM life ORDER BY id")
        ends = [
            (self.since(Moment(boot, alive_s, alive_at)), ended or KILLED)
            for boot, alive_at, alive_s, ended in lives
        ]
        if not ends:
            return RunHistory()
        recent = [(down, ended) for down, ended in ends if down.duration_s < HISTORY_S]
        return RunHistory(
            restarts=sum(ended not in _PLANNED for _, ended in recent),
            ended=ends[-1][1],
            down=ends[-1][0],
            stuck_ago_s=tuple(down.duration_s for down, ended in recent if ended.startswith("stuck")),
        )


class CameraStateView:
    """The part of the state that is one camera's."""

    def __init__(self, state: NodeState, camera: str) -> None:
        self._state = state
        self._camera = camera

    def now(self) -> Moment:
        return self._state.now()

    @contextmanager
    def together(self) -> Iterator[None]:
        """See ``NodeState.together``."""
        with self._state.together():
            yield

    def note(self, body: str) -> None:
        """Keep it soon."""
        self._state.note(self._camera, body)

    def keep(self, body: str) -> None:
        """Keep it now."""
        self._state.keep(self._camera, body)
