"""What counts as standing still."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from edgeseg.runtime.watchdog import Progress, Stage, Watchdog
from tests.support.broker import wait_until


def stuck_after(progress: Progress, stage: Stage, step_s: float = 0.5, most: int = 200) -> float | None:
    for number in range(most):
        if progress.check([stage], step_s) is not None:
            return number * step_s
    return None


def test_a_stage_that_stands_still_is_found_within_its_patience() -> None:
    assert stuck_after(Progress(), Stage("a", 1, 9.0)) == 9.0


def test_a_stage_that_moves_is_well() -> None:
    progress = Progress()
    assert all(progress.check([Stage("a", number // 17, 9.0)], 0.5) is None for number in range(200))


def test_a_stage_that_knows_why_it_waits_is_well() -> None:
    progress = Progress()
    assert stuck_after(progress, Stage("a", 1, 9.0, "switched off")) is None
    # What it waited for does not count afterwards.
    assert stuck_after(progress, Stage("a", 1, 9.0)) == 8.5


def test_a_stage_that_went_and_came_back_begins_anew() -> None:
    progress = Progress()
    for _ in range(10):
        assert progress.check([Stage("a", 1, 9.0)], 0.5) is None
    assert progress.check([], 0.5) is None
    assert stuck_after(progress, Stage("a", 1, 9.0)) == 9.0


def test_one_stage_does_not_excuse_another() -> None:
    progress = Progress()
    for number in range(19):
        found = progress.check([Stage("a", number, 9.0), Stage("b", 1, 9.0)], 0.5)
    assert found is not None
    assert found.name == "b"


def test_the_thread_says_once_what_happened() -> None:
    told: list[str] = []
    over = threading.Event()

    def stages() -> Iterator[Stage]:
        yield Stage("the main loop", 1, 0.2)

    def stuck(what: str) -> None:
        told.append(what)
        over.set()

    with Watchdog(stages, stuck):
        wait_until(over.is_set, "it is noticed")
    assert told == ["the main loop has not moved for 0.2 s"]
