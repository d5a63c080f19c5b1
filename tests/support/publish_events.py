"""Events as the pipeline would make them, with every field filled."""

from __future__ import annotations

from collections.abc import Mapping

from edgeseg.events import (
    Alert,
    CameraStatus,
    CommandAnswer,
    Degraded,
    Event,
    Evidence,
    NodeStats,
    RuleState,
    RuleStateName,
    TracePoint,
    ZoneOccupancy,
)
from edgeseg.frames import FrameTime

NOON_S = 1_795_000_000.25


def occupancy(
    seq: int = 1,
    *,
    zone: str = "gate",
    coverage: Mapping[str, float] | None = None,
    unknown: str | None = None,
) -> ZoneOccupancy:
    known = unknown is None
    return ZoneOccupancy(
        camera="yard",
        zone=zone,
        seq=seq,
        time=FrameTime(camera_time_s=float(seq), captured_at_s=NOON_S),
        state="ok" if known else "unknown",
        reason=unknown,
        coverage=(coverage or {"road": 0.6, "car": 0.1235, "vehicle": 0.1235}) if known else None,
        uncertain=0.2765 if known else None,
        dominant="road" if known else None,
        confidence=0.8765 if known else None,
        model="deeplab",
    )


def rule_state(state: RuleStateName = "ON") -> RuleState:
    return RuleState("yard", "gate", "blocked", state, FrameTime(1.0, NOON_S))


def alert(seq: int = 0, *, id_: str = "gatehouse-yard-gate-blocked-1") -> Alert:
    return Alert(
        id=id_,
        seq=seq,
        event="new",
        rule="blocked",
        kind="occupied",
        camera="yard",
        zone="gate",
        began_at_s=NOON_S,
        at_s=NOON_S + 10,
        ended_at_s=None,
        before={"road": 1.0, "car": 0.0},
        after={"road": 0.5, "car": 0.5},
        dominant_before="road",
        dominant_after="car",
        evidence=Evidence(
            classes=("car",),
            value=0.5,
            threshold=0.2,
            for_s=10.0,
            trace=(TracePoint(NOON_S, 0.25), TracePoint(NOON_S + 1, None)),
            model="deeplab",
        ),
        end_reason=None,
    )


def camera_alert() -> Alert:
    return Alert(
        id="gatehouse-yard-offline-1",
        seq=1,
        event="end",
        rule="offline",
        kind="camera",
        camera="yard",
        zone=None,
        began_at_s=NOON_S,
        at_s=NOON_S + 10,
        ended_at_s=NOON_S + 10,
        before=None,
        after=None,
        dominant_before=None,
        dominant_after=None,
        evidence=None,
        end_reason="cleared",
    )


def status() -> CameraStatus:
    return CameraStatus("yard", "live", None, NOON_S, 4.98765, 0.2, Degraded(2.5, (480, 384)))


def stats() -> NodeStats:
    return NodeStats(
        NOON_S,
        60.0,
        {"yard": 300},
        {"yard": {"stale": 2}},
        {"yard": 0},
        busy=0.91234,
        demand=1.7,
        degraded={"yard": Degraded(None, (480, 384))},
    )


def one_of_each() -> list[Event]:
    return [
        status(),
        occupancy(),
        occupancy(2, unknown="stale"),
        rule_state(),
        rule_state("unknown"),
        alert(),
        camera_alert(),
        CommandAnswer("yard", "enabled", "ON"),
        CommandAnswer("yard", "rate", "2.5"),
        CommandAnswer("yard", "snapshot", b"\xff\xd8\xff\xe0 not quite a picture"),
        CommandAnswer("yard", "evidence", b"\xff\xd8\xff\xe0 another one"),
        stats(),
    ]
