"""Soak verdict: what a soak test requires, each with its figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeseg.tools.soak.run import SoakResult, quantile
from edgeseg.tools.soak.trend import BLOCKS, Trend, trend

# The first part is warming up: pools fill, arenas grow to their size.
WARM_UP_SHARE = 0.25
# Most results are this fresh; those of a camera that just came back may wait for a turn.
FRESH_WITHIN_S = 1.0
FRESH_SHARE = 0.95


@dataclass(frozen=True, slots=True)
class Check:
    """One requirement, and whether it is met."""

    name: str
    passed: bool
    figure: str


def warm(soaked: SoakResult) -> tuple[Sequence[float], Sequence[float]]:
    """Return times and resident sizes (MiB) after the warm-up."""
    start_s = WARM_UP_SHARE * soaked.samples[-1].at_s if soaked.samples else 0.0
    kept = [sample for sample in soaked.samples if sample.at_s >= start_s]
    return [sample.at_s for sample in kept], [sample.resident_mib for sample in kept]


def memory_trend(soaked: SoakResult) -> Trend | None:
    """Return the trend of memory; None for a soak too short for one."""
    times_s, sizes_mib = warm(soaked)
    return trend(times_s, sizes_mib) if len(times_s) >= BLOCKS else None


def check_all(soaked: SoakResult, *, alerts_expected: bool) -> list[Check]:
    """Return all checks. alerts_expected: whether none at all is a fault."""
    slope = memory_trend(soaked)
    ages_s = [age_s for _, age_s in soaked.ages_s]
    fresh_s = quantile(ages_s, FRESH_SHARE)
    alerts = soaked.alerts
    checks = [
        Check(
            "memory does not grow",
            slope is None or not slope.grows,
            "too short to tell"
            if slope is None
            else f"{slope.per_hour:+.2f} MiB/h, 95 % between {slope.low:+.2f} and {slope.high:+.2f}",
        ),
        Check("the daemon ends in good order", soaked.exit_code == 0, f"exit code {soaked.exit_code}"),
        Check(
            "all cameras are live in the end",
            soaked.live == soaked.cameras,
            f"{soaked.live} of {soaked.cameras}",
        ),
        Check("no process is left", soaked.left_processes == 0, str(soaked.left_processes)),
        Check(
            f"{FRESH_SHARE:.0%} of results are at most {FRESH_WITHIN_S:g} s old",
            fresh_s <= FRESH_WITHIN_S,
            f"{len(ages_s)} results, {fresh_s:.3f} s; the oldest {max(ages_s, default=0.0):.2f} s",
        ),
        Check("results come in order", soaked.disorder == 0, f"{soaked.disorder} out of order"),
        Check(
            "alerts: none lost, none twice unmarked, in order",
            alerts.clean and (alerts.received > 0 or not alerts_expected),
            f"{alerts.received} messages, {soaked.late} replayed; lost {alerts.lost}, "
            f"unmarked {alerts.unmarked}, ids reused {alerts.reused}, out of order {alerts.disordered}",
        ),
    ]
    for name in ("descriptors", "threads", "processes", "memories"):
        was, is_ = getattr(soaked.before, name), getattr(soaked.after, name)
        checks.append(Check(f"{_NAMES[name]} as before", is_ <= was, f"{was} before, {is_} after"))
    return checks


_NAMES = {
    "descriptors": "descriptors",
    "threads": "threads",
    "processes": "processes",
    "memories": "shared memory segments",
}


def document(soaked: SoakResult, checks: Sequence[Check], machine: Mapping[str, object]) -> dict[str, Any]:
    """For soak.json."""
    return {
        "machine": dict(machine),
        "passed": all(check.passed for check in checks),
        "checks": [{"name": one.name, "passed": one.passed, "figure": one.figure} for one in checks],
        "faults": dict(soaked.faults),
        "samples": [
            {
                "at_s": round(sample.at_s, 2),
                "resident_mib": round(sample.resident_mib, 2),
                "descriptors": sample.holdings.descriptors,
                "threads": sample.holdings.threads,
                "processes": sample.holdings.processes,
                "memories": sample.holdings.memories,
                "live": sample.live,
            }
            for sample in soaked.samples
        ],
    }
