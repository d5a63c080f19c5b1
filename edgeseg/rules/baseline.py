"""What a zone normally looks like, by hour of day and light: learned from what it showed, in bounded space.

One bin for each hour (UTC) and light holds two averages of the zone's composition: ``usual`` follows what is
there within a few times the time to learn, ``lasting`` ten times as slowly. ``unlike: normal`` compares what
is there now with ``usual``: sudden change. ``unlike: before`` compares ``usual`` with ``lasting``: what came
so slowly that it was never sudden. Both count as change above a threshold that the bin's own history sets.

Compositions are compared by the Jensen-Shannon distance (Endres and Schindelin 2003), the square root of the
divergence in bits: a metric, 0 where they are the same, 1 where they have nothing in common.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from edgeseg.events import ZoneOccupancy

# Time constants in times to learn, once there was that much to see.
USUAL_FOLLOWS, LASTING_FOLLOWS = 3.0, 30.0
# The threshold: above all but one in 200 of the distances that the bin has shown, with a margin.
QUANTILE, MARGIN = 0.995, 1.25
# Its least: 2 % of a zone are something that was never there.
LEAST_DISTANCE = 0.1
# Where a change is over, as a share of the threshold.
LEAVE = 0.8
# Resolution of the distances that are remembered.
_STEP = 0.02
# An observation stands for the time since the one before, but for no more than that.
_LONGEST_S = 10.0
# Shares below this are forgotten: not every class that once flickered is part of a place.
_LEAST_SHARE = 1e-4
_NOTHING = "uncertain"
_HOUR_S = 3600.0

Composition = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Bin:
    """One hour of day in one light. watched_s: for how long. spread: distance from ``usual``, in steps ->
    seconds for which it was that, while nothing was unusual; older ones fade."""

    watched_s: float = 0.0
    usual: Composition = field(default_factory=dict)
    lasting: Composition = field(default_factory=dict)
    spread: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Normal:
    """bins: by name, ``07 dim``; at most 24 for each light. threshold: of the newest observation's bin; None
    while that has not learned enough. learned: how far it is, 0-1."""

    bins: Mapping[str, Bin] = field(default_factory=dict)
    threshold: float | None = None
    learned: float = 0.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """value: the distance compared; None while learning."""

    normal: Normal
    value: float | None


def composition(shares: Mapping[str, float], groups: Collection[str]) -> dict[str, float]:
    """The classes' shares, and what is left of 1 as uncertain: no negative ones, the sum is 1. groups: names
    that repeat the shares of classes."""
    found = {name: max(0.0, share) for name, share in shares.items() if name not in groups}
    total = sum(found.values())
    if total > 1.0:
        found = {name: share / total for name, share in found.items()}
    found[_NOTHING] = max(0.0, 1.0 - total)
    return {name: share for name, share in found.items() if share > 0.0}


def distance(one: Composition, other: Composition) -> float:
    """Jensen-Shannon, 0-1; see the module. Both sum to about 1."""
    bits = 0.0
    for name in {*one, *other}:
        p, q = one.get(name, 0.0), other.get(name, 0.0)
        middle = (p + q) / 2
        if p > 0:
            bits += p * math.log2(p / middle)
        if q > 0:
            bits += q * math.log2(q / middle)
    return math.sqrt(min(1.0, max(0.0, bits / 2)))


def bin_name(occupancy: ZoneOccupancy) -> str:
    hour = int(occupancy.time.captured_at_s // _HOUR_S) % 24
    return f"{hour:02d} {occupancy.light or 'any'}"


def learned(
    normal: Normal, occupancy: ZoneOccupancy, now: Composition, passed_s: float, learn_s: float, unlike: str
) -> Outlook:
    """What is normal after one more known observation, and how far from that it is. passed_s: since the one
    before. learn_s: how long a bin has to be watched before it can tell."""
    name = bin_name(occupancy)
    before = normal.bins.get(name, Bin())
    far = distance(now, before.usual) if before.watched_s > 0 else 0.0
    threshold = _threshold(before) if before.watched_s >= learn_s else None
    after = _watched(before, now, far, threshold, min(max(passed_s, 0.0), _LONGEST_S), learn_s)
    value = None
    if threshold is not None:
        value = round(far if unlike == "normal" else distance(before.usual, before.lasting), 4)
    part = min(1.0, after.watched_s / learn_s)
    return Outlook(Normal({**normal.bins, name: after}, threshold, part), value)


def _watched(
    before: Bin, now: Composition, far: float, threshold: float | None, passed_s: float, learn_s: float
) -> Bin:
    watched_s = before.watched_s + passed_s
    if watched_s <= 0:
        return before
    spread = before.spread
    # An average of few pictures is far from each of them; what is unusual says nothing of what is usual.
    if before.watched_s >= learn_s / 2 and (threshold is None or far < threshold):
        fading, step = math.exp(-passed_s / (LASTING_FOLLOWS * learn_s)), int(far / _STEP)
        spread = {key: held_s * fading for key, held_s in spread.items()}
        spread[step] = spread.get(step, 0.0) + passed_s
    plain = passed_s / watched_s
    return Bin(
        watched_s,
        _mixed(before.usual, now, max(plain, 1 - math.exp(-passed_s / (USUAL_FOLLOWS * learn_s)))),
        _mixed(before.lasting, now, max(plain, 1 - math.exp(-passed_s / (LASTING_FOLLOWS * learn_s)))),
        spread,
    )


def _mixed(before: Composition, now: Composition, part: float) -> dict[str, float]:
    mixed = {name: (1 - part) * before.get(name, 0.0) + part * now.get(name, 0.0) for name in {*before, *now}}
    kept = {name: share for name, share in mixed.items() if share >= _LEAST_SHARE or name in now}
    total = sum(kept.values())
    return {name: share / total for name, share in sorted(kept.items())} if total > 0 else kept


def _threshold(one: Bin) -> float:
    wanted_s, most = QUANTILE * sum(one.spread.values()), 0.0
    for step, held_s in sorted(one.spread.items()):
        wanted_s -= held_s
        most = (step + 1) * _STEP
        if wanted_s <= 0:
            break
    return round(min(1.0, max(LEAST_DISTANCE, MARGIN * most)), 4)
