"""Gate bench: what the motion gate costs and saves on a clip, replayed with it and without.

The code is the daemon's own (``clip.Replay``), including keyframe-only decoding. What was published is
compared picture by picture: without the gate every picture that is due is analysed, and that is taken for
the truth; what was published last with it is held against that. So the wavering of a network between two
analyses of the same scene counts as an error too: with very still scenes it is most of it.
"""

from __future__ import annotations

import io
import json
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeseg.clock import parse_utc
from edgeseg.replay.clip import Replay
from edgeseg.settings import CameraSettings, GateSettings, PipelineSettings

# An alert of one replay is that of the other where both begin within this of each other, or overlap.
_SAME_ALERT_S = 1.0
_END_OF_TIME_S = float("inf")


@dataclass(frozen=True, slots=True)
class AlertTimes:
    """One alert, in seconds of the clip. raised_s: its first message. ended_s: inf for one that never did."""

    zone: str
    rule: str
    began_s: float
    raised_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What one replay published.

    analysed: pictures that the network saw. cpu_s: of the whole process, decoding included; the first
    picture, in which a runtime warms up, left out. coverage: zone -> (time in the clip, class -> share 0-1).
    """

    analysed: int
    cpu_s: float
    coverage: Mapping[str, Sequence[tuple[float, Mapping[str, float]]]]
    alerts: Sequence[AlertTimes]


@dataclass(frozen=True, slots=True)
class GateFigures:
    """due, analysed: pictures. mean_error, max_error: the share of a zone, 0-1, that was published as
    another class than without the gate, over all zones and due pictures. alerts: without the gate; missed,
    extra, mean_delay_s, max_delay_s (of an alert's first message; negative where it came earlier): with it.
    cameras: how many times as many cameras the same processor time serves.
    """

    due: int
    analysed: int
    mean_error: float
    max_error: float
    alerts: int
    missed: int
    extra: int
    mean_delay_s: float
    max_delay_s: float
    cameras: float


def measure(
    settings: PipelineSettings, camera: CameraSettings, clip: Path, gate: GateSettings | None = None
) -> GateFigures:
    """Replay the clip twice and compare. gate: None takes the camera's own.

    Raises ValueError where neither has one, and what ``Replay`` raises.
    """
    gate = gate or camera.gate
    if gate is None:
        raise ValueError(f"camera {camera.name}: has no gate to measure")
    without = replay_clip(settings, replace(camera, gate=None), clip)
    return compare(without, replay_clip(settings, replace(camera, gate=gate), clip))


def replay_clip(settings: PipelineSettings, camera: CameraSettings, clip: Path) -> ReplayResult:
    """Replay the clip as the camera is set, and keep what was published."""
    stream, analysed, began_s = io.StringIO(), 0, 0.0
    with Replay(settings, camera, stream) as replay:
        for _ in replay.run(clip, epoch_s=0.0):
            if not analysed:
                began_s = time.process_time()
            analysed += 1
        cpu_s = time.process_time() - began_s
    coverage: dict[str, list[tuple[float, Mapping[str, float]]]] = {zone.name: [] for zone in camera.zones}
    alerts: dict[str, AlertTimes] = {}
    for line in stream.getvalue().splitlines():
        message = json.loads(line)
        payload: Any = message["payload"]
        if message["topic"].endswith("/occupancy") and payload["coverage"] is not None:
            everything: Mapping[str, float] = payload["coverage"]
            shares = {name: share for name, share in everything.items() if name not in settings.groups}
            coverage[payload["zone"]].append((parse_utc(payload["captured_at"]), shares))
        elif message["topic"].endswith("/alert") and payload["zone"] is not None:
            _add_alert(alerts, payload)
    return ReplayResult(analysed, cpu_s, coverage, tuple(alerts.values()))


def compare(without: ReplayResult, gated: ReplayResult) -> GateFigures:
    """What the gate cost and saved."""
    errors = [
        _apart(shares, _held(gated.coverage[zone], time_s))
        for zone, series in without.coverage.items()
        for time_s, shares in series
    ]
    left = list(gated.alerts)
    delays_s = []
    for alert in without.alerts:
        same = next((other for other in left if _is_same(alert, other)), None)
        if same is not None:
            left.remove(same)
            delays_s.append(same.raised_s - alert.raised_s)
    return GateFigures(
        due=without.analysed,
        analysed=gated.analysed,
        mean_error=sum(errors) / len(errors) if errors else 0.0,
        max_error=max(errors, default=0.0),
        alerts=len(without.alerts),
        missed=len(without.alerts) - len(delays_s),
        extra=len(left),
        mean_delay_s=sum(delays_s) / len(delays_s) if delays_s else 0.0,
        max_delay_s=max(delays_s, default=0.0),
        cameras=without.cpu_s / gated.cpu_s,
    )


def _add_alert(alerts: dict[str, AlertTimes], payload: Any) -> None:
    if payload["event"] == "new":
        began_s, raised_s = parse_utc(payload["began_at"]), parse_utc(payload["at"])
        alerts[payload["id"]] = AlertTimes(
            payload["zone"], payload["rule"], began_s, raised_s, _END_OF_TIME_S
        )
    elif payload["event"] == "end":
        alerts[payload["id"]] = replace(alerts[payload["id"]], ended_s=parse_utc(payload["ended_at"]))


def _held(series: Sequence[tuple[float, Mapping[str, float]]], time_s: float) -> Mapping[str, float]:
    """What was published last at that time; nothing before the first."""
    place = bisect_right(series, time_s, key=lambda one: one[0])
    return series[place - 1][1] if place else {}


def _apart(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Half the sum of differences: the share that would have to change its class (total variation)."""
    return sum(abs(one.get(name, 0.0) - other.get(name, 0.0)) for name in one.keys() | other.keys()) / 2


def _is_same(one: AlertTimes, other: AlertTimes) -> bool:
    if (one.zone, one.rule) != (other.zone, other.rule):
        return False
    overlap = one.began_s <= other.ended_s and other.began_s <= one.ended_s
    return overlap or abs(one.began_s - other.began_s) <= _SAME_ALERT_S
