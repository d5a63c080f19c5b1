"""The rules of one zone. The semantics stand in ``edgeseg.rules``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from edgeseg.events import Alert, RuleState, ZoneOccupancy
from edgeseg.frames import FrameTime
from edgeseg.rules import state_machine
from edgeseg.rules.memory import Dwell, RuleId, RuleMemory
from edgeseg.settings import ZoneSettings


def unchanged(before: Collection[ZoneSettings], after: Collection[ZoneSettings]) -> frozenset[RuleId]:
    """Return the rules that did not change in zones that cover the same."""
    old = {zone.name: zone for zone in before}
    return frozenset(
        RuleId(zone.name, rule.name)
        for zone in after
        if zone.name in old
        and replace(old[zone.name], rules=(), title="") == replace(zone, rules=(), title="")
        for rule in zone.rules
        if rule in old[zone.name].rules
    )


def carried_over(
    memory: Mapping[str, Mapping[str, RuleMemory]], same: Collection[RuleId]
) -> dict[str, dict[str, RuleMemory]]:
    """Return what the rules in ``same`` know, by zone and rule, for a camera that begins anew.

    States are published again, since what was retained of the camera went with its old settings.
    """
    return {
        zone: {rule: replace(known, shown=None) for rule, known in rules.items() if (zone, rule) in same}
        for zone, rules in memory.items()
    }


class ZoneRules:
    """All rules of one zone. Single-threaded, without a clock: time comes with the occupancies.

    memory: what the rules of that name knew before, to go on from there.
    """

    def __init__(
        self, node: str, camera: str, zone: ZoneSettings, memory: Mapping[str, RuleMemory] | None = None
    ) -> None:
        self._node = node
        self._camera = camera
        self._zone = zone
        self._memory = {rule.name: (memory or {}).get(rule.name, RuleMemory()) for rule in zone.rules}

    @property
    def memory(self) -> Mapping[str, RuleMemory]:
        """Rule name -> what it knows now: frozen, fit to be stored."""
        return dict(self._memory)

    @property
    def dwells(self) -> list[Dwell]:
        """The dwells towards new alerts that are under way."""
        return [
            Dwell(self._zone.name, rule, memory.beginning.since)
            for rule, memory in self._memory.items()
            if memory.beginning is not None
        ]

    def observe(self, occupancy: ZoneOccupancy) -> list[Alert | RuleState]:
        """What the rules have to say about one more occupancy; a state comes before its alert."""
        events: list[Alert | RuleState] = []
        for rule in self._zone.rules:
            step = state_machine.observe(self._node, rule, self._memory[rule.name], occupancy)
            self._memory[rule.name] = step.memory
            events.extend(step.events)
        return events

    def retire(self, time: FrameTime, but: Collection[str] = ()) -> list[Alert | RuleState]:
        """The zone is gone from the configuration: its alerts end for the reason ``config``.

        but: rules whose memory lives on elsewhere.
        """
        events: list[Alert | RuleState] = []
        for name, memory in self._memory.items():
            if name in but:
                continue
            step = state_machine.retire(memory, time)
            self._memory[name] = step.memory
            events.extend(step.events)
        return events
