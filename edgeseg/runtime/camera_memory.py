"""What an earlier process kept of a camera, made fit for this one."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgeseg.events import Alert
from edgeseg.frames import FrameTime
from edgeseg.rules import AwayMemory, CameraAlert, RuleMemory, carried_over, state_machine
from edgeseg.rules.serialization import Fingerprints, StoredCamera, decode
from edgeseg.state.node_state import Moment, State

log = logging.getLogger(__name__)

# A restart, with the time that a network takes to load on a small board. Whoever was away for longer did not
# see what happened meanwhile.
BRIDGE_S = 60.0


@dataclass(frozen=True, slots=True)
class RestoredState:
    """memories: zone -> rule -> what it knows, in this process's camera time. away: of the camera's absence.
    bridge_until_s: see ``CameraPipeline``. ends: of alerts whose rule is gone or another one now.
    """

    memories: Mapping[str, Mapping[str, RuleMemory]] = field(default_factory=dict)
    away: AwayMemory = field(default_factory=AwayMemory)
    bridge_until_s: float | None = None
    ends: Sequence[Alert] = ()


def recall(state: State, camera: str, text: str | None, prints: Fingerprints | None) -> RestoredState:
    """text: what was kept of the camera, if anything. prints: its rules' fingerprints now; None where the
    camera is gone from the file: then everything that was on ends."""
    if text is None:
        return RestoredState()
    try:
        stored = decode(text)
    except ValueError as error:
        log.error("camera %s: what its rules knew cannot be read, they begin anew: %s", camera, error)
        return RestoredState()
    now = state.now()
    down = state.since(Moment(stored.boot, stored.monotonic_s, stored.utc_s))
    # What was kept is in the time of another clock where the machine has been started since.
    shift_s = 0.0
    if stored.boot != now.boot or now.monotonic_s < stored.monotonic_s:
        shift_s = now.monotonic_s - down.duration_s - stored.monotonic_s
    if not down.trusted:
        log.warning(
            "camera %s: no clock tells for how long edgeseg was away; its rules' dwells begin anew", camera
        )
    time = FrameTime(now.monotonic_s, now.utc_s)
    same = _same(stored, prints or {})
    before: dict[str, dict[str, RuleMemory]] = {}
    ends: list[Alert] = []
    for rule in stored.rules:
        memory = rule.memory.shifted(shift_s)
        before.setdefault(rule.zone, {})[rule.rule] = memory
        if (rule.zone, rule.rule) not in same:
            ends += [event for event in state_machine.retire(memory, time).events if isinstance(event, Alert)]
    away = stored.away.shifted(shift_s)
    if prints is None:
        ends += CameraAlert("", camera, away).retire(time)
    return RestoredState(
        carried_over(before, same),
        away,
        now.monotonic_s - down.duration_s + BRIDGE_S if down.trusted else None,
        tuple(ends),
    )


def _same(stored: StoredCamera, prints: Fingerprints) -> set[tuple[str, str]]:
    return {
        (rule.zone, rule.rule)
        for rule in stored.rules
        if prints.get((rule.zone, rule.rule)) == rule.fingerprint
    }
