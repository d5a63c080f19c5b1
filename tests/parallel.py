"""How the suite spreads over processes (pytest-xdist): by files, the long ones first, some tests alone.

``make test`` runs it with ``--dist loadfile``. A file's tests share its fixtures, so they stay together;
a test of LONG is a unit of its own, or the last of them would run while all other processes are done.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# Files and tests that take longest, by the beginnings of their ids, longest first.
LONG: tuple[str, ...] = (
    "tests/test_overload_daemon.py",
    "tests/test_shipped_models.py::test_validation_reaches_what_the_card_says",
    "tests/test_browser.py",
    "tests/test_archive.py",
    "tests/test_transcripts.py",
    "tests/test_mqtt.py",
    "tests/test_engines.py",
    "tests/test_bench.py",
    "tests/test_archive_dask.py",
    "tests/test_bad_input.py",
    "tests/test_gate_truth.py",
    "tests/test_restart.py",
    "tests/test_service.py",
    "tests/test_rules_properties.py",
    "tests/test_restarts_properties.py",
    "tests/test_shipped_models.py",
    "tests/test_confine.py",
    "tests/test_capture_process.py",
    "tests/test_cdnet_highway.py",
    "tests/test_wheel.py",
    "tests/test_web_daemon.py",
    "tests/test_fleet_rollout.py",
    "tests/test_tune.py",
)


def unit_of(nodeid: str) -> str:
    """What a process takes as one piece."""
    return next(
        (long for long in LONG if "::" in long and nodeid.startswith(long)), nodeid.partition("::")[0]
    )


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """Those that have the machine for themselves, then the long ones, then the rest as they come."""

    def place(item: pytest.Item) -> int:
        if item.get_closest_marker("alone"):
            return -1
        return next((at for at, long in enumerate(LONG) if item.nodeid.startswith(long)), len(LONG))

    return sorted(items, key=place)


def scheduling(config: pytest.Config, log: Any) -> Any:
    """The scheduler for ``--dist loadfile``."""
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class ByUnits(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit_of(nodeid)

    return ByUnits(config, log)


class Turns:
    """Lets a test that measures have the machine for itself, among processes that run tests side by side.

    folder: one that these processes share. Many may hold ``turn`` at once, or one that is ``alone``. The gate
    keeps others from starting while that one waits for its turn.
    """

    def __init__(self, folder: Path) -> None:
        self._gate = folder / "gate.lock"
        self._turn = folder / "turn.lock"

    @contextmanager
    def turn(self, *, alone: bool) -> Iterator[None]:
        kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        with self._gate.open("a") as gate, self._turn.open("a") as turn:
            fcntl.flock(gate, kind)
            fcntl.flock(turn, kind)
            if not alone:
                fcntl.flock(gate, fcntl.LOCK_UN)
            yield
