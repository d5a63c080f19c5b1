"""Fleet capacity: simulates the load of N cameras at one broker from measured single cameras.

Each of N cameras plays one of the measured recordings from a second of its own, chosen at random, round and
round. How many cameras are at which second of which recording is one multinomial draw; the sum over all of
them is then a circular correlation with the recording, by FFT: 100,000 cameras cost what ten do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgeseg.tools.fleet.message_cost import TCP_BYTES, Counts, MessageCost, mean

DAY_S = 86_400
_SEED = 1
# A part of a broker's core that is left for what comes at once.
_BUSY_AT_MOST = 0.7
# Every device comes back within so many seconds of a broker's restart.
_BACK_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Assumed:
    """What was measured elsewhere, or chosen, and not drawn. core_per_message_s: a broker core's time for one
    message in and one out. bytes_per_retained: of the broker's memory, beside the message. stats_bytes: of
    one node's stats message, once a minute. history_bytes_per_zone: a month of it in a node's state."""

    cameras_per_node: int = 4
    zones_per_camera: int = 2
    core_per_message_s: float = 8e-6
    bytes_per_retained: float = 700.0
    stats_bytes: float = 1400.0
    evidence_bytes_per_node: float = 200e6
    history_bytes_per_zone: float = 1.1e6


@dataclass(frozen=True, slots=True)
class SimulatedLoad:
    """Sums for ``cameras``. messages, bytes: float64 (seconds,), at one broker, in each second. The rest
    follows from their means and ``Assumed``. back_s: until all retained state is at the broker again."""

    cameras: int
    nodes: int
    messages: Counts
    bytes: Counts
    alerts_a_day: float
    retained: float
    retained_bytes: float
    busy_cores: float
    back_s: float
    events_a_day_bytes: float
    device_bytes: float

    @property
    def bits_per_s(self) -> float:
        """Into the broker, TCP's and IP's headers at most included."""
        return float(8 * (self.bytes.mean() + TCP_BYTES * self.messages.mean()))

    @property
    def peak(self) -> float:
        """Messages in the busiest of a hundred seconds."""
        return float(np.percentile(self.messages, 99))


def simulate(
    measured: Sequence[MessageCost], cameras: int, assumed: Assumed, seconds: int = 3600
) -> SimulatedLoad:
    """One draw with a fixed seed. cameras: 1 or more."""
    generator = np.random.default_rng(_SEED)
    nodes = -(-cameras // assumed.cameras_per_node)
    messages, size = np.zeros(seconds), np.zeros(seconds)
    shares = generator.multinomial(cameras, np.full(len(measured), 1 / len(measured)))
    for one, count in zip(measured, shares, strict=True):
        starts = generator.multinomial(count, np.full(one.seconds, 1 / one.seconds)).astype(float)
        for total, series in ((messages, one.messages), (size, one.bytes)):
            total += np.resize(_correlated(starts, series), seconds)
    at = generator.multinomial(nodes, np.full(60, 1 / 60)).astype(float)
    stats = np.resize(at, seconds)
    messages, size = messages + stats, size + stats * assumed.stats_bytes
    retained = cameras * float(np.mean([one.retained for one in measured])) + 2 * nodes
    held_bytes = (
        cameras * float(np.mean([one.retained_bytes for one in measured])) + nodes * assumed.stats_bytes
    )
    alerts_a_day = cameras * DAY_S * float(np.mean([one.alerts / one.seconds for one in measured]))
    zones = assumed.cameras_per_node * assumed.zones_per_camera
    return SimulatedLoad(
        cameras=cameras,
        nodes=nodes,
        messages=messages,
        bytes=size,
        alerts_a_day=alerts_a_day,
        retained=retained,
        retained_bytes=held_bytes + retained * assumed.bytes_per_retained,
        busy_cores=float(messages.mean()) * assumed.core_per_message_s,
        back_s=max(_BACK_WITHIN_S, retained * assumed.core_per_message_s),
        events_a_day_bytes=float(size.mean()) * DAY_S,
        device_bytes=assumed.evidence_bytes_per_node + zones * assumed.history_bytes_per_zone,
    )


def most_cameras(measured: Sequence[MessageCost], assumed: Assumed) -> float:
    """How many keep one broker's core 70 % busy: mosquitto uses one."""
    a_second = float(mean(measured)[0]) + 1 / 60 / assumed.cameras_per_node
    return _BUSY_AT_MOST / (a_second * assumed.core_per_message_s)


def rows(loads: Sequence[SimulatedLoad]) -> Iterator[tuple[str, ...]]:
    """A table: what, then one column for each load."""
    yield "devices", *(f"{load.nodes:,}" for load in loads)
    yield "messages a second, mean", *(f"{load.messages.mean():,.0f}" for load in loads)
    yield "in the busiest 1 % of seconds", *(f"{load.peak:,.0f}" for load in loads)
    yield "network into the broker", *(_scaled(load.bits_per_s, "bit/s") for load in loads)
    yield "broker cores, one subscriber", *(f"{load.busy_cores:.2g}" for load in loads)
    yield "retained topics", *(f"{load.retained:,.0f}" for load in loads)
    yield "broker memory for them", *(_scaled(load.retained_bytes, "B") for load in loads)
    yield "all state again after a restart", *(f"{load.back_s:,.0f} s" for load in loads)
    yield "alerts a day, as in the recordings", *(f"{load.alerts_a_day:,.0f}" for load in loads)
    yield "all messages kept, a day", *(_scaled(load.events_a_day_bytes, "B") for load in loads)
    yield "on each device, at most", *(_scaled(load.device_bytes, "B") for load in loads)


def _correlated(starts: Counts, series: Counts) -> Counts:
    """float64 (seconds,): at second t the sum over k of starts[k] * series[(t + k) mod seconds]."""
    spectrum = np.conj(np.fft.rfft(starts)) * np.fft.rfft(series)
    return np.fft.irfft(spectrum, len(series))


def _scaled(value: float, unit: str) -> str:
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.0f} {unit}"
