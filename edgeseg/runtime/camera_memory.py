"""Camera memory: saves what a camera's rules know, and restores it in the next process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edgeseg.events import Alert
from edgeseg.frames import FrameTime
from edgeseg.pipeline import CameraPipeline
from edgeseg.rules import AwayMemory, CameraAlert, RuleId, RuleMemory, carried_over, state_machine
from edgeseg.rules.serialization import Fingerprints, StoredCamera, decode, encode
from edgeseg.state.node_state import CameraStateView, Moment, NodeState

log = logging.getLogger(__name__)

# A restart, with the time that a network takes to load on a small board. Longer than that, too much may have
# happened unseen.
BRIDGE_S = 60.0
# How often what rules know is saved although nothing happened to it: scenes and traces.
_SAVE_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class RestoredState:
    """What an earlier process knew of a camera.

    memories: zone -> rule -> what it knows, in this process's camera time. away: of the camera's absence.
    bridge_until_s: see ``CameraPipeline``. ends: of alerts whose rule is gone or another one now.
    """

    memories: Mapping[str, Mapping[str, RuleMemory]] = field(default_factory=dict)
    away: AwayMemory = field(default_factory=AwayMemory)
    bridge_until_s: float | None = None
    ends: Sequence[Alert] = ()


def restore(state: NodeState, camera: str, text: str | None, prints: Fingerprints | None) -> RestoredState:
    """Return what an earlier process saved of a camera, in the terms of this one.

    Args:
        text: what was saved of the camera, if anything.
        prints: its rules' fingerprints now; None where the camera is gone from the file: then every alert
            that was on ends.
    """
    if text is None:
        return RestoredState()
    try:
        stored = decode(text)
    except ValueError as error:
        log.error(
            "camera %s: the saved state of its rules cannot be read, they begin anew: %s", camera, error
        )
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
        if RuleId(rule.zone, rule.rule) not in same:
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


def _same(stored: StoredCamera, prints: Fingerprints) -> set[RuleId]:
    return {
        RuleId(rule.zone, rule.rule)
        for rule in stored.rules
        if prints.get(RuleId(rule.zone, rule.rule)) == rule.fingerprint
    }


class CameraMemory:
    """Saves what the rules of one camera know for the next process.

    Args:
        view: where it is stored.
        prints: the rules' fingerprints.
    """

    def __init__(
        self, view: CameraStateView, prints: Fingerprints, pipeline: CameraPipeline, away_alert: CameraAlert
    ) -> None:
        self._view = view
        self._prints = prints
        self._pipeline = pipeline
        self._away_alert = away_alert
        self._saved_key: object = None
        self._due_s = 0.0

    def save_with(self, publish: Callable[[], None]) -> None:
        """Publish alerts and store what their rules know in one transaction: killed in between, the next
        process would forget the one or raise it twice."""
        with self._view.together():
            publish()
            self._saved_key = self._change_key()
            self._view.keep(self._encoded())

    def save_if_due(self, now_s: float, *, always: bool = False) -> None:
        """Save where something happened to the rules, and now and then the rest. now_s: camera time."""
        key = self._change_key()
        if always or key != self._saved_key or now_s >= self._due_s:
            self._saved_key = key
            self._due_s = now_s + _SAVE_EVERY_S
            self._view.note(self._encoded())

    def _change_key(self) -> object:
        return self._pipeline.change_key, self._away_alert.memory.change_key

    def _encoded(self) -> str:
        now = self._view.now()
        return encode(
            self._pipeline.memory,
            self._away_alert.memory,
            self._prints,
            now.boot,
            now.monotonic_s,
            now.utc_s,
        )
