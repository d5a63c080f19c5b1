"""The messages in the life of an alert: ``new``, ``update``, ``end``, one id."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2s

from edgeseg.events import Alert, Evidence
from edgeseg.frames import FrameTime
from edgeseg.rules.memory import OpenAlert, Pending, Scene
from edgeseg.settings import RuleSettings


def alert_id(node: str, camera: str, zone: str | None, rule: str, kind: str, began: FrameTime) -> str:
    """16 hexadecimal digits that name one alert for ever, the same in every replay.

    node: names the device, and in the daemon also this start of the machine, for which camera time never
    repeats. Camera time alone starts again at 0 with each clip, and UTC alone can be set back: both go in.
    """
    parts = (
        *(node, camera, zone or "", rule, kind),
        *(str(round(began.captured_at_s * 1e6)), str(round(began.camera_time_s * 1e6))),
    )
    return blake2s("\0".join(parts).encode(), digest_size=8).hexdigest()


def begun(
    node: str,
    camera: str,
    zone: str,
    rule: RuleSettings,
    pending: Pending,
    scene: Scene | None,
    evidence: Evidence,
    time: FrameTime,
) -> OpenAlert:
    """A new alert for a condition that has held since ``pending``."""
    first = Alert(
        id=alert_id(node, camera, zone, rule.name, rule.kind, pending.since),
        seq=0,
        event="new",
        rule=rule.name,
        kind=rule.kind,
        camera=camera,
        zone=zone,
        began_at_s=pending.since.captured_at_s,
        at_s=time.captured_at_s,
        ended_at_s=None,
        before=pending.before.coverage if pending.before else None,
        after=scene.coverage if scene else None,
        dominant_before=pending.before.dominant if pending.before else None,
        dominant_after=scene.dominant if scene else None,
        evidence=evidence,
        end_reason=None,
    )
    return OpenAlert(first, time.camera_time_s, evidence.value)


def updated(
    alert: OpenAlert, scene: Scene | None, evidence: Evidence, extreme: float | None, time: FrameTime
) -> OpenAlert:
    """The alert with one more message, which tells how things are now."""
    message = replace(
        alert.last,
        seq=alert.last.seq + 1,
        event="update",
        at_s=time.captured_at_s,
        after=scene.coverage if scene else None,
        dominant_after=scene.dominant if scene else None,
        evidence=evidence,
    )
    return OpenAlert(message, time.camera_time_s, extreme)


def ended(
    last: Alert,
    reason: str,
    ended_at_s: float,
    scene: Scene | None,
    evidence: Evidence | None,
    time: FrameTime,
) -> Alert:
    """The last message. ``ended_at_s``: UTC at which the ending condition began to hold."""
    return replace(
        last,
        seq=last.seq + 1,
        event="end",
        at_s=time.captured_at_s,
        ended_at_s=ended_at_s,
        after=scene.coverage if scene else None,
        dominant_after=scene.dominant if scene else None,
        evidence=evidence,
        end_reason=reason,
    )
