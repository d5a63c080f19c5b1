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
    "tests/runtime/test_overload_daemon.py",
    "tests/models/test_shipped_models.py::test_validation_reaches_what_the_card_says",
    "tests/web/test_browser.py",
    "tests/tools/test_archive.py",
    "tests/replay/test_transcripts.py",
    "tests/publish/test_mqtt.py",
    "tests/engines/test_engines.py",
    "tests/tools/test_bench.py",
    "tests/tools/test_archive_dask.py",
    "tests/commands/test_bad_input.py",
    "tests/screening/test_gate_truth.py",
    "tests/runtime/test_restart.py",
    "tests/commands/test_service.py",
    "tests/rules/test_rules_properties.py",
    "tests/runtime/test_restarts_properties.py",
    "tests/models/test_shipped_models.py",
    "tests/capture/test_sandbox.py",
    "tests/capture/test_capture_process.py",
    "tests/end_to_end/test_cdnet_highway.py",
    "tests/test_wheel.py",
    "tests/web/test_api.py",
    "tests/tools/test_fleet_rollout.py",
    "tests/tools/test_tune.py",
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
