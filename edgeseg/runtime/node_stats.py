"""Node statistics: the counters of a node, and its state in one line."""

from __future__ import annotations

from collections.abc import Mapping

from edgeseg import __version__
from edgeseg.clock import Clock
from edgeseg.events import NodeStats, PreviousRun
from edgeseg.runtime.overload.controller import OverloadController
from edgeseg.runtime.running_camera import RunningCamera
from edgeseg.state.node_state import NodeState


def collect(
    cameras: Mapping[str, RunningCamera],
    overload: OverloadController,
    state: NodeState,
    clock: Clock,
    started_at_s: float,
    digest: str,
) -> NodeStats:
    """Return the counters of now, without those of the publisher. Any thread.

    Args:
        started_at_s: when the node began, by the monotonic clock.
        digest: of the pipeline file that is in force.
    """
    lives = {name: camera.live for name, camera in cameras.items()}
    past = state.past
    return NodeStats(
        at_s=clock.utc_s(),
        uptime_s=clock.monotonic_s() - started_at_s,
        analysed={name: live.camera.analysed for name, live in lives.items()},
        dropped={name: live.dropped for name, live in lives.items()},
        reconnects={name: live.reconnects for name, live in lives.items()},
        busy=overload.load.busy,
        demand=overload.load.demand,
        degraded=overload.degraded,
        # The publisher that has an outbox fills these in.
        outbox_waiting=0,
        outbox_dropped=0,
        restarts=past.restarts,
        previous=None
        if past.ended is None or past.down is None
        else PreviousRun(past.ended, past.down.duration_s, past.down.trusted),
        version=__version__,
        pipeline=digest,
    )


def summary(cameras: Mapping[str, RunningCamera], state: NodeState) -> str:
    """Return one line for people, e.g. ``3 of 4 cameras live``."""
    live = sum(camera.live.camera.state == "live" for camera in cameras.values())
    past = state.past
    restarts = f", {past.restarts} unplanned restarts in 24 h" if past.restarts else ""
    last = f", the last after: {past.ended}" if past.unplanned else ""
    return f"{live} of {len(cameras)} cameras live{restarts}{last}"
