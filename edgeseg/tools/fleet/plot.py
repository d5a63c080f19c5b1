"""Fleet plot: draws a simulation of many cameras at one broker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeseg.tools import plotting
from edgeseg.tools.fleet.capacity import Assumed, SimulatedLoad, most_cameras
from edgeseg.tools.fleet.message_cost import MessageCost


def draw(
    measured: Sequence[MessageCost], loads: Sequence[SimulatedLoad], assumed: Assumed, path: Path
) -> None:
    """Draw the messages of single cameras by the second, and the sums for many relative to their mean.

    Raises EdgesegError without matplotlib.
    """
    figure = plotting.figure(9, 9)
    alone, summed, broker = figure.subplots(3, 1)
    for one in {one.name: one for one in measured}.values():
        alone.step(np.arange(one.seconds), one.messages, where="post", lw=1, label=one.name)
    alone.set(xlabel="seconds", ylabel="messages a second", title="Measured: one camera", ylim=(0, None))
    alone.legend(fontsize=8)
    for load in loads:
        first = load.messages[:300]
        summed.plot(first / load.messages.mean(), lw=1, label=f"{load.cameras:,} cameras")
    summed.set(xlabel="seconds", ylabel="messages / mean", title="Simulated: sums of many", ylim=(0, None))
    summed.legend(fontsize=8)
    cameras = np.array([load.cameras for load in loads], float)
    broker.plot(cameras, [load.busy_cores for load in loads], "o-", label="one subscriber")
    limit = most_cameras(measured, assumed)
    broker.axhline(0.7, color="0.6", lw=0.8)
    broker.axvline(limit, color="tab:red", lw=0.8, label=f"70 % of a core: {limit:,.0f} cameras")
    broker.set(
        xscale="log", yscale="log", xlabel="cameras", ylabel="broker cores", title="Extrapolated: broker"
    )
    broker.legend(fontsize=8)
    plotting.save(figure, path)
