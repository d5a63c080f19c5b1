"""Finding: the result of a check, and a time limit for checks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from edgeseg.errors import EdgesegError

State = Literal["ok", "note", "problem", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a report.

    subject: what was looked at, such as a camera's name. state: ``note`` is worth knowing and not wrong,
    ``skipped`` could not be checked here. mend: the command, or the step, that would help; None where nothing
    needs to.
    """

    subject: str
    state: State
    text: str
    mend: str | None = None


Check = Callable[[threading.Event], Iterable[Finding]]
"""A check; it ends early when the event is set."""


def bounded(subject: str, check: Check, limit_s: float) -> list[Finding]:
    """What ``check`` finds within ``limit_s``; one problem where it hangs, or cannot be done at all.

    It runs in a thread that is left behind when it hangs: a name look-up cannot be interrupted.
    """
    found: list[Finding] = []
    stop, done = threading.Event(), threading.Event()

    def run() -> None:
        try:
            for finding in check(stop):
                found.append(finding)
        except EdgesegError as error:
            found.append(Finding(subject, "problem", str(error)))
        finally:
            done.set()

    threading.Thread(target=run, name=f"check {subject}", daemon=True).start()
    try:
        hangs = not done.wait(limit_s)
    finally:
        stop.set()
    if hangs:
        text = f"gave no answer within {limit_s:g} s"
        return [*found, Finding(subject, "problem", text, "see whether its network and its driver are well")]
    return found


def bounded_all(checks: Iterable[tuple[str, Check]], limit_s: float, at_once: int) -> list[Finding]:
    """``bounded`` for several checks side by side, their findings in the order of the checks."""
    checks = list(checks)
    results: list[list[Finding]] = [[] for _ in checks]
    places = iter(range(len(checks)))
    taking = threading.Lock()

    def work() -> None:
        while True:
            with taking:
                place = next(places, None)
            if place is None:
                return
            subject, check = checks[place]
            results[place] = bounded(subject, check, limit_s)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(at_once, len(checks)))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return [finding for result in results for finding in result]
