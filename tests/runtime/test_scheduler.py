"""Workers get the camera whose frame was due first, never one that is being analysed."""

from __future__ import annotations

import threading

from edgeseg.clock import ManualClock
from edgeseg.runtime.scheduler import Scheduler, Work, due_s, staleness_budget_s


def test_the_frame_that_was_due_first_goes_first() -> None:
    scheduler = Scheduler(ManualClock())
    scheduler.offer("late", 2.0)
    scheduler.offer("early", 1.0)
    assert [scheduler.take(1), scheduler.take(1)] == ["early", "late"]


def test_a_newer_frame_keeps_the_place_in_the_line() -> None:
    scheduler = Scheduler(ManualClock())
    scheduler.offer("slow", 1.0)
    scheduler.offer("fast", 1.5)
    scheduler.offer("slow", 9.0)
    assert scheduler.take(1) == "slow"


def test_a_camera_is_with_one_worker_at_a_time() -> None:
    scheduler = Scheduler(ManualClock())
    scheduler.offer("gate", 1.0)
    assert scheduler.take(1) == "gate"
    scheduler.offer("gate", 2.0)
    assert scheduler.take(0) is None
    scheduler.done("gate")
    assert scheduler.take(0) == "gate"


def test_nothing_waits_for_a_camera_that_is_gone() -> None:
    scheduler = Scheduler(ManualClock())
    scheduler.offer("gate", 1.0)
    scheduler.forget("gate")
    assert scheduler.take(0) is None


def test_close_wakes_a_waiting_worker() -> None:
    scheduler = Scheduler(ManualClock())
    taken: list[str | None] = []
    worker = threading.Thread(target=lambda: taken.append(scheduler.take(60)))
    worker.start()
    scheduler.close()
    worker.join(timeout=120)
    assert taken == [None]


def test_an_offer_wakes_a_waiting_worker() -> None:
    scheduler = Scheduler(ManualClock())
    taken: list[str | None] = []
    worker = threading.Thread(target=lambda: taken.append(scheduler.take(60)))
    worker.start()
    scheduler.offer("gate", 1.0)
    worker.join(timeout=120)
    assert taken == ["gate"]


def test_a_frame_that_was_too_old_does_not_cost_its_camera_the_place() -> None:
    scheduler = Scheduler(ManualClock())
    scheduler.offer("unlucky", 1.0)
    scheduler.offer("other", 2.0)
    assert scheduler.take(0) == "unlucky"
    scheduler.done("unlucky", analysed=False)
    # Nothing of it waits now; its next frame is ahead of those that were due later.
    scheduler.offer("unlucky", 9.0)
    assert scheduler.take(0) == "unlucky"
    scheduler.done("unlucky")
    scheduler.offer("unlucky", 10.0)
    assert scheduler.take(0) == "other"


def test_the_books() -> None:
    clock = ManualClock()
    scheduler = Scheduler(clock)
    for _ in range(3):
        scheduler.offer("gate", clock.monotonic_s())
    assert scheduler.take(0) == "gate"
    clock.advance(2.0)
    assert scheduler.work() == {"gate": Work(offered=3, busy_s=2.0)}
    assert [clock.monotonic_s() - since_s for since_s in scheduler.turns().values()] == [2.0]
    scheduler.done("gate")
    assert scheduler.work() == {"gate": Work(offered=3, analysed=1, took_s=2.0, busy_s=2.0)}
    assert scheduler.turns() == {}


def test_priority_is_a_head_start_and_no_wall() -> None:
    assert due_s(10.0, 0) == 10.0
    assert due_s(10.0, 1) == 9.8
    assert due_s(10.0, 100) == 8.0


def test_budgets() -> None:
    assert staleness_budget_s(0.5, 0.1) == 0.5
    assert staleness_budget_s(None, 25) == 2.0
    assert staleness_budget_s(None, 0.1) == 20.0
