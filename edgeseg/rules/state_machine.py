"""One observation more in the life of one rule: memory in, memory and messages out. No side effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgeseg.events import Alert, Evidence, RuleState, RuleStateName, TracePoint, ZoneOccupancy
from edgeseg.frames import FrameTime
from edgeseg.rules import alerts, baseline
from edgeseg.rules.condition import Reading, compared, is_worse, read, shares, unlike
from edgeseg.rules.hours import is_open
from edgeseg.rules.memory import Candidate, OpenAlert, Pending, RuleMemory, Scene
from edgeseg.settings import RuleSettings

# Frame times are sums of floats: 30 steps of 1/30 s must be a second. Far below any sampling interval.
TOLERANCE_S = 1e-6

# An update is worth a message when a person looking at the alert would change their mind about it.
UPDATE_STEP = 0.10
# Whoever wants every value subscribes to the occupancy; alerts go through a disk and to people.
UPDATE_INTERVAL_S = 10.0


@dataclass(frozen=True, slots=True)
class Step:
    """What a rule knows after an observation, and what it has to say."""

    memory: RuleMemory
    events: tuple[Alert | RuleState, ...]


def observe(node: str, rule: RuleSettings, memory: RuleMemory, occupancy: ZoneOccupancy) -> Step:
    """The rule's next step. Semantics: the package's docstring."""
    now_s = occupancy.time.camera_time_s
    if memory.last_s is not None and now_s < memory.last_s:
        memory = _rewound(memory, memory.last_s, now_s)
    compares = shares(rule, occupancy)
    scene = None
    if compares is not None and occupancy.coverage is not None:
        scene = Scene(occupancy.coverage, occupancy.dominant)
    memory = _learned(rule, memory, scene, now_s)
    if compares is None:
        reading = Reading(None, begins=rule.on_unknown == "raise", ends=False)
    elif rule.unlike is not None:
        memory, reading = _held_against_normal(rule, rule.unlike, memory, compares, occupancy)
    else:
        reading = read(rule, memory.reference, compares, occupancy.dominant)
    memory = _dwelling(rule, memory, reading, scene, occupancy.time)
    if memory.alert is None:
        step = _begin(node, rule, memory, occupancy, scene, reading.value)
    else:
        step = _continue(rule, memory, memory.alert, occupancy, scene, reading.value)
    shown = _shown(rule, step.memory)
    if shown == memory.shown:
        return step
    reason = None
    if _is_learning(rule, step.memory):
        reason = f"learning what is normal ({baseline.bin_name(occupancy)})"
    state = RuleState(occupancy.camera, occupancy.zone, rule.name, shown, occupancy.time, reason)
    return Step(replace(step.memory, shown=shown), (state, *step.events))


def retire(memory: RuleMemory, time: FrameTime) -> Step:
    """The rule is gone from the configuration: an alert that is on ends."""
    if memory.alert is None:
        return Step(memory, ())
    scene = memory.scene if memory.known else None
    last = memory.alert.last
    end = alerts.ended(last, "config", time.captured_at_s, scene, last.evidence, time)
    return Step(replace(memory, alert=None, ending=None), (end,))


def _rewound(memory: RuleMemory, last_s: float, now_s: float) -> RuleMemory:
    """Camera time went back (a clip that loops, a source that was restarted): dwells start again, what
    was left of the cooldown is still left, an alert that is on stays on."""
    quiet_until_s = memory.quiet_until_s
    return replace(
        memory,
        candidate=None,
        beginning=None,
        ending=None,
        alert=replace(memory.alert, sent_at_s=now_s) if memory.alert else None,
        quiet_until_s=None if quiet_until_s is None else now_s + max(0.0, quiet_until_s - last_s),
    )


def _learned(rule: RuleSettings, memory: RuleMemory, scene: Scene | None, now_s: float) -> RuleMemory:
    """``changed: dominant`` without a reference takes the first dominant class that held for ``for_s``."""
    if rule.enter is not None or rule.unlike is not None or memory.reference:
        return memory
    if rule.reference is not None:
        return replace(memory, reference=rule.reference_classes)
    if scene is None or scene.dominant is None:
        return replace(memory, candidate=None)
    candidate = memory.candidate
    if candidate is None or candidate.dominant != scene.dominant:
        candidate = Candidate(scene.dominant, now_s)
    if _has_held(candidate.since_s, now_s, rule.for_s):
        return replace(memory, reference=(candidate.dominant,), candidate=None)
    return replace(memory, candidate=candidate)


def _held_against_normal(
    rule: RuleSettings,
    to: str,
    memory: RuleMemory,
    compares: Mapping[str, float],
    occupancy: ZoneOccupancy,
) -> tuple[RuleMemory, Reading]:
    """What was not seen teaches nothing: time counts between two known observations."""
    passed_s = 0.0
    if memory.known and memory.last_s is not None:
        passed_s = occupancy.time.camera_time_s - memory.last_s
    now = baseline.composition(compares, rule.groups)
    outlook = baseline.learned(memory.normal or baseline.Normal(), occupancy, now, passed_s, rule.learn_s, to)
    return replace(memory, normal=outlook.normal), unlike(outlook.value, outlook.normal.threshold)


def _dwelling(
    rule: RuleSettings, memory: RuleMemory, reading: Reading, scene: Scene | None, time: FrameTime
) -> RuleMemory:
    """Dwells begun, kept or broken by this observation; the trace with it."""
    is_on, known = memory.alert is not None, scene is not None
    beginning = ending = None
    if not is_on and reading.begins and is_open(rule.hours, time.captured_at_s):
        beginning = memory.beginning if known == memory.known else None
        beginning = beginning or Pending(time, memory.scene)
    if is_on and reading.ends:
        ending = memory.ending or Pending(time, None)
    point = TracePoint(time.captured_at_s, reading.value)
    # Named one by one: this is made for each rule and picture, and ``replace`` takes three times as long.
    return RuleMemory(
        reference=memory.reference,
        candidate=memory.candidate,
        last_s=time.camera_time_s,
        scene=scene or memory.scene,
        known=known,
        beginning=beginning,
        ending=ending,
        alert=memory.alert,
        quiet_until_s=memory.quiet_until_s,
        trace=memory.trace.extended(point) if is_on or beginning else memory.trace.at_rest(point),
        shown=memory.shown,
        normal=memory.normal,
    )


def _begin(
    node: str,
    rule: RuleSettings,
    memory: RuleMemory,
    occupancy: ZoneOccupancy,
    scene: Scene | None,
    value: float | None,
) -> Step:
    pending, now_s = memory.beginning, occupancy.time.camera_time_s
    if pending is None or not _has_held(pending.since.camera_time_s, now_s, rule.for_s):
        return Step(memory, ())
    if memory.quiet_until_s is not None and now_s < memory.quiet_until_s - TOLERANCE_S:
        return Step(memory, ())
    evidence = _evidence(rule, memory, value, occupancy.model)
    alert = alerts.begun(
        node, occupancy.camera, occupancy.zone, rule, pending, scene, evidence, occupancy.time
    )
    return Step(replace(memory, alert=alert, beginning=None), (alert.last,))


def _continue(
    rule: RuleSettings,
    memory: RuleMemory,
    alert: OpenAlert,
    occupancy: ZoneOccupancy,
    scene: Scene | None,
    value: float | None,
) -> Step:
    time, evidence = occupancy.time, _evidence(rule, memory, value, occupancy.model)
    end = _ending(rule, memory, time)
    if end is not None:
        reason, ended_at_s = end
        message = alerts.ended(alert.last, reason, ended_at_s, scene, evidence, time)
        quiet_until_s = time.camera_time_s + rule.cooldown_s
        rest = memory.trace.lead()
        memory = replace(memory, alert=None, ending=None, quiet_until_s=quiet_until_s, trace=rest)
        return Step(memory, (message,))
    if not _is_material(rule, alert, scene, value, time.camera_time_s):
        return Step(memory, ())
    extreme = alert.extreme
    if value is not None and (extreme is None or is_worse(rule, value, extreme, by=0.0)):
        extreme = value
    alert = alerts.updated(alert, scene, evidence, extreme, time)
    return Step(replace(memory, alert=alert), (alert.last,))


def _ending(rule: RuleSettings, memory: RuleMemory, time: FrameTime) -> tuple[str, float] | None:
    """Why the alert ends with this observation and since when (UTC), or None."""
    if not is_open(rule.hours, time.captured_at_s):
        return "hours", time.captured_at_s
    if not memory.known and rule.on_unknown == "end":
        return "unknown", time.captured_at_s
    since = memory.ending.since if memory.ending else None
    if since is not None and _has_held(since.camera_time_s, time.camera_time_s, rule.clear_s):
        return "cleared", since.captured_at_s
    return None


def _is_material(
    rule: RuleSettings, alert: OpenAlert, scene: Scene | None, value: float | None, now_s: float
) -> bool:
    """Whether there is news since the alert's last message, and that one is long enough ago."""
    if not _has_held(alert.sent_at_s, now_s, UPDATE_INTERVAL_S):
        return False
    if (scene is None) != (alert.last.after is None):
        return True
    if scene is None or value is None:
        return False
    if scene.dominant != alert.last.dominant_after:
        return True
    return alert.extreme is not None and is_worse(rule, value, alert.extreme, by=UPDATE_STEP)


def _evidence(rule: RuleSettings, memory: RuleMemory, value: float | None, model: str) -> Evidence:
    return Evidence(
        classes=compared(rule, memory.reference),
        value=value,
        threshold=rule.enter if memory.normal is None else memory.normal.threshold,
        for_s=rule.for_s,
        trace=memory.trace.points,
        model=model,
        ground_m2=rule.ground_m2,
    )


def _shown(rule: RuleSettings, memory: RuleMemory) -> RuleStateName:
    if _is_learning(rule, memory):
        return "unknown"
    if memory.known:
        return "OFF" if memory.alert is None else "ON"
    return "ON" if memory.alert is not None and rule.on_unknown == "raise" else "unknown"


def _is_learning(rule: RuleSettings, memory: RuleMemory) -> bool:
    """The zone is known, but not yet what is normal at this hour and light: nothing can begin."""
    if rule.unlike is None or not memory.known or memory.alert is not None:
        return False
    return memory.normal is None or memory.normal.threshold is None


def _has_held(since_s: float, now_s: float, duration_s: float) -> bool:
    return now_s - since_s >= duration_s - TOLERANCE_S
