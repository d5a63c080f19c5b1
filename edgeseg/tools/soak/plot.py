"""Soak plot: draws the course of a soak test."""

from __future__ import annotations

from pathlib import Path

from edgeseg.tools import plotting
from edgeseg.tools.soak.run import SoakResult
from edgeseg.tools.soak.verdict import WARM_UP_SHARE, memory_trend, warm


def draw(soaked: SoakResult, path: Path) -> None:
    """Draw memory, descriptors and threads, live cameras with the faults, and ages of results over minutes.

    Raises EdgesegError without matplotlib.
    """
    minutes = [sample.at_s / 60 for sample in soaked.samples]
    figure = plotting.figure(10, 9)
    memory, held, live, ages = figure.subplots(4, 1, sharex=True)
    memory.plot(minutes, [sample.resident_mib for sample in soaked.samples], lw=1)
    memory.set_ylabel("resident, MiB")
    memory.axvspan(0, WARM_UP_SHARE * minutes[-1], color="0.93")
    slope = memory_trend(soaked)
    if slope is not None:
        times_s, sizes = warm(soaked)
        middle_s, mean = sum(times_s) / len(times_s), sum(sizes) / len(sizes)
        ends_s = (times_s[0], times_s[-1])
        fitted = [mean + slope.per_hour * (at_s - middle_s) / 3600 for at_s in ends_s]
        label = f"{slope.per_hour:+.2f} MiB/h (95 %: {slope.low:+.2f} to {slope.high:+.2f})"
        memory.plot([at_s / 60 for at_s in ends_s], fitted, "k--", lw=1, label=label)
        memory.legend(loc="lower right", frameon=False)
    held.plot(minutes, [sample.holdings.descriptors for sample in soaked.samples], lw=1, label="descriptors")
    held.plot(minutes, [sample.holdings.threads for sample in soaked.samples], lw=1, label="threads")
    held.plot(minutes, [sample.holdings.processes for sample in soaked.samples], lw=1, label="processes")
    held.legend(loc="upper right", frameon=False, ncols=3)
    # Room for the legend above the highest line.
    held.set_ylim(0, 1.3 * max(sample.holdings.descriptors for sample in soaked.samples))
    live.step(minutes, [sample.live for sample in soaked.samples], where="post", lw=1)
    live.set(ylabel="live cameras", ylim=(-0.3, soaked.cameras + 0.5))
    for at_s, kind in soaked.history:
        live.axvline(at_s / 60, color="tab:red" if kind.startswith("broker") else "0.7", lw=0.6)
    ages.plot([at_s / 60 for at_s, _ in soaked.ages_s], [age_s for _, age_s in soaked.ages_s], ",")
    ages.set(ylabel="age of results, s", xlabel="minutes (faults: grey; of the broker: red)", ylim=(0, None))
    plotting.save(figure, path)
