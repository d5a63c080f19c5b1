"""Workers get the camera that has waited longest, never one that is being analysed."""

from __future__ import annotations

import threading

from edgeseg.scheduler import Scheduler


def test_the_camera_that_has_waited_longest_goes_first() -> None:
    scheduler = Scheduler()
    scheduler.offer("late", 2.0)
    scheduler.offer("early", 1.0)
    assert [scheduler.take(1), scheduler.take(1)] == ["early", "late"]


def test_a_newer_frame_keeps_the_place_in_the_line() -> None:
    scheduler = Scheduler()
    scheduler.offer("slow", 1.0)
    scheduler.offer("fast", 1.5)
    scheduler.offer("slow", 9.0)
    assert scheduler.take(1) == "slow"


def test_a_camera_is_with_one_worker_at_a_time() -> None:
    scheduler = Scheduler()
    scheduler.offer("gate", 1.0)
    assert scheduler.take(1) == "gate"
    scheduler.offer("gate", 2.0)
    assert scheduler.take(0) is None
    scheduler.done("gate")
    assert scheduler.take(0) == "gate"


def test_nothing_waits_for_a_camera_that_is_gone() -> None:
    scheduler = Scheduler()
    scheduler.offer("gate", 1.0)
    scheduler.forget("gate")
    assert scheduler.take(0) is None


def test_close_wakes_a_waiting_worker() -> None:
    scheduler = Scheduler()
    taken: list[str | None] = []
    worker = threading.Thread(target=lambda: taken.append(scheduler.take(60)))
    worker.start()
    scheduler.close()
    worker.join(timeout=30)
    assert taken == [None]


def test_an_offer_wakes_a_waiting_worker() -> None:
    scheduler = Scheduler()
    taken: list[str | None] = []
    worker = threading.Thread(target=lambda: taken.append(scheduler.take(60)))
    worker.start()
    scheduler.offer("gate", 1.0)
    worker.join(timeout=30)
    assert taken == ["gate"]
