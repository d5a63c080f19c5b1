"""A budget of CPU or power: kept, used, and told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseg.runtime.overload.budget import CpuUse, PowerUse
from edgeseg.runtime.overload.quality import ROOM
from tests.support.examples import examples
from tests.support.simulated_device import SimCamera, SimulatedDevice


def used(device: SimulatedDevice, over_s: float) -> float:
    """Share of the device in use over that time from now on."""
    before_s = device.used_s()
    device.run(over_s)
    return (device.used_s() - before_s) / over_s / device.workers


@settings(deadline=None, max_examples=examples(15))
@given(
    st.floats(0.2, 0.9),
    st.floats(0.0, 0.1),
    st.integers(1, 3),
    st.lists(st.sampled_from([2.0, 5.0, 12.0]), min_size=2, max_size=6),
)
def test_what_is_used_stays_within_the_budget(
    budget: float, rest: float, workers: int, rates: list[float]
) -> None:
    cast = [SimCamera(f"c{number}", rate, (0.1, 0.06, 0.04)) for number, rate in enumerate(rates)]
    device = SimulatedDevice(cast, workers, budget=budget, rest=rest)
    device.run(120)
    # A frame of each camera more or less in the window.
    assert used(device, 120) <= budget + sum(camera.cost_s[0] for camera in cast) / 120 / workers + 0.01


def test_what_the_budget_gives_is_used() -> None:
    cast = [SimCamera(f"c{number}", 10.0, (0.1, 0.05)) for number in range(4)]
    device = SimulatedDevice(cast, workers=2, budget=0.5, rest=0.1)
    device.run(300)
    # Only what fits below ROOM of the allowance goes up again, and rates go in steps of a quarter.
    assert used(device, 60) >= 0.5 * ROOM * 0.75


def test_below_the_budget_nothing_is_given_up() -> None:
    cast = [SimCamera("yard", 2.0, (0.1, 0.05))]
    device = SimulatedDevice(cast, workers=2, budget=0.5, rest=0.1)
    device.run(120)
    assert not device.changes


def test_processes_that_ended_have_been_paid_for() -> None:
    program = "sum(range(10_000_000))"
    busy = subprocess.Popen([sys.executable, "-c", f"{program}\nprint(flush=True)\ninput()"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    assert busy.stdin is not None
    assert busy.stdout is not None
    pids = [busy.pid]
    use = CpuUse(lambda: pids)
    before = CpuUse(list).total()
    busy.stdout.readline()
    during = use.total()
    assert during > before
    busy.communicate(b"\n")
    # The program is gone before anybody has taken it from the list, and then from the list.
    assert use.total() >= during
    pids.clear()
    assert use.total() >= during
    assert use.total() * len(os.sched_getaffinity(0)) < 600


def test_power_counters_wrap(tmp_path: Path) -> None:
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (zone / "max_energy_range_uj").write_text("1000000\n")
    use = PowerUse(tmp_path)
    assert not use.there
    (zone / "energy_uj").write_text("900000\n")
    use = PowerUse(tmp_path)
    assert use.there
    assert use.total() == 0
    (zone / "energy_uj").write_text("100000\n")
    assert use.total() == pytest.approx(0.2)
    (zone / "energy_uj").write_text("150000\n")
    assert use.total() == pytest.approx(0.25)
