"""Rule run: what a zone showed during a clip, and the alerts that a rule raises on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.events import Alert, ZoneOccupancy
from edgeseg.rules import state_machine
from edgeseg.rules.condition import read, shares
from edgeseg.rules.hours import is_open
from edgeseg.rules.memory import RuleMemory
from edgeseg.settings import RuleSettings

F64 = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class AlertSpan:
    """One alert, all in seconds UTC. began_s, ended_s: when its condition began and ceased to hold.
    raised_s, over_s: of the messages; both ends None where the clip ended before."""

    began_s: float
    raised_s: float
    ended_s: float | None
    over_s: float | None


class Track:
    """One rule's zone during one clip: observations in their order, at least one.

    ``play`` runs every observation; ``skim`` leaves out those at which nothing can change, because the rule
    reads the same value as before and no dwell or cooldown ends. Both run the rules' own code, and agree;
    skimming runs one or two observations for each change instead of one for each picture.
    """

    def __init__(self, rule: RuleSettings, observations: Sequence[ZoneOccupancy]) -> None:
        self.observations = observations
        self.times_s: F64 = np.array([one.time.camera_time_s for one in observations])
        self._known = np.array([shares(rule, one) is not None for one in observations])
        self._open = np.array([is_open(rule.hours, one.time.captured_at_s) for one in observations])
        self._rewound = np.flatnonzero(np.diff(self.times_s, prepend=self.times_s[0]) < 0)
        # What decides a reading: the share compared, or where none is, the dominant class.
        looks: list[object] = [_look(rule, one) for one in observations]
        numbers = {look: number for number, look in enumerate(dict.fromkeys(looks))}
        self._look_of: Int = np.array([numbers[look] for look in looks])
        first = {number: index for index, number in reversed(list(enumerate(self._look_of.tolist())))}
        self._examples = [observations[first[number]] for number in range(len(numbers))]
        self._runs: tuple[tuple[float | None, float | None], Int] | None = None

    @property
    def watched_s(self) -> float:
        return self.observations[-1].time.captured_at_s - self.observations[0].time.captured_at_s

    @property
    def ends_at_s(self) -> float:
        """UTC of the last observation."""
        return self.observations[-1].time.captured_at_s

    def values(self, rule: RuleSettings) -> list[float]:
        """The shares the rule compared, each once, from the smallest."""
        found = (
            read(rule, rule.reference_classes, compares, one.dominant).value
            for one in self._examples
            if (compares := shares(rule, one)) is not None
        )
        return sorted({value for value in found if value is not None})

    def play(self, rule: RuleSettings) -> tuple[AlertSpan, ...]:
        """Return the alerts, with every observation as in the daemon."""
        memory, spans = RuleMemory(), _Spans()
        for occupancy in self.observations:
            memory = spans.step(rule, memory, occupancy)
        return spans.done

    def skim(self, rule: RuleSettings) -> tuple[AlertSpan, ...]:
        """The same spans as ``play``. rule: of the kind and hours the track was made for."""
        memory, spans = RuleMemory(), _Spans()
        starts = self._starts(rule)
        for start, end in zip(starts.tolist(), [*starts.tolist()[1:], len(self.observations)], strict=True):
            index = start
            while index < end:
                memory = spans.step(rule, memory, self.observations[index])
                due_s = _due_s(rule, memory)
                if due_s is None:
                    break
                later = self.times_s[index + 1 : end]
                index += 1 + int(np.searchsorted(later, due_s - state_machine.TOLERANCE_S))
        return spans.done

    def _starts(self, rule: RuleSettings) -> Int:
        """Indices at which what the rule reads may be another than just before."""
        thresholds = rule.enter, rule.leave
        if self._runs is None or self._runs[0] != thresholds:
            readings = np.array([_reading(rule, one) for one in enumerate(self._examples)])
            changed = np.diff(readings[self._look_of], prepend=-1) != 0
            for also in (self._known, self._open):
                changed |= np.diff(also, prepend=also[0])
            # The last one before camera time goes back is what the rule measures that from.
            changed[self._rewound] = True
            changed[self._rewound - 1] = True
            self._runs = thresholds, np.flatnonzero(changed)
        return self._runs[1]


class _Spans:
    """Takes a rule's steps and notes its alerts."""

    def __init__(self) -> None:
        self._done: list[AlertSpan] = []

    @property
    def done(self) -> tuple[AlertSpan, ...]:
        return tuple(self._done)

    def step(self, rule: RuleSettings, memory: RuleMemory, occupancy: ZoneOccupancy) -> RuleMemory:
        step = state_machine.observe("", rule, memory, occupancy)
        for event in step.events:
            if not isinstance(event, Alert) or event.event == "update":
                continue
            if event.event == "new":
                self._done.append(AlertSpan(event.began_at_s, event.at_s, None, None))
            else:
                last = self._done[-1]
                self._done[-1] = AlertSpan(last.began_s, last.raised_s, event.ended_at_s, event.at_s)
        return step.memory


def _look(rule: RuleSettings, occupancy: ZoneOccupancy) -> object:
    compares = shares(rule, occupancy)
    if compares is None:
        return None
    if rule.unlike is not None:
        # What it is compared with is another thing each time.
        return object()
    if rule.enter is None:
        return occupancy.dominant, "dominant"
    return read(rule, (), compares, occupancy.dominant).value


def _reading(rule: RuleSettings, example: tuple[int, ZoneOccupancy]) -> int:
    """A number for what the rule makes of the observation."""
    number, occupancy = example
    compares = shares(rule, occupancy)
    if compares is None:
        return 0
    if rule.enter is None:
        # The reference may be learned on the way: each dominant class is a reading of its own.
        return 1 + number
    reading = read(rule, (), compares, occupancy.dominant)
    return 1 + reading.begins + 2 * reading.ends


def _due_s(rule: RuleSettings, memory: RuleMemory) -> float | None:
    """Camera time at which something can happen to the rule although it reads the same."""
    due_s: list[float] = []
    if memory.candidate is not None and rule.enter is None:
        due_s.append(memory.candidate.since_s + rule.for_s)
    if memory.alert is None and memory.beginning is not None:
        held_s = memory.beginning.since.camera_time_s + rule.for_s
        due_s.append(max(held_s, held_s if memory.quiet_until_s is None else memory.quiet_until_s))
    if memory.alert is not None and memory.ending is not None:
        due_s.append(memory.ending.since.camera_time_s + rule.clear_s)
    return min(due_s, default=None)
