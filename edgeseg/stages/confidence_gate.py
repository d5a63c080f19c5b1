"""Confidence gate: a zone of which too much is uncertain is unknown, ``low_confidence``.

It is unknown while more of it is uncertain than allowed, and known again when that share is a fifth lower.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from edgeseg.events import ZoneOccupancy
from edgeseg.settings import ZoneSettings

REASON = "low_confidence"
_HYSTERESIS = 0.8


class ConfidenceGate:
    """Gates the zones of one camera, with hysteresis. Single-threaded."""

    def __init__(self, zones: Sequence[ZoneSettings]) -> None:
        self._limits = {zone.name: zone.max_uncertain for zone in zones}
        self._uncertain: set[str] = set()

    def apply(self, occupancies: Iterable[ZoneOccupancy]) -> tuple[ZoneOccupancy, ...]:
        """Return the occupancies, unknown where too uncertain."""
        return tuple(self._checked(occupancy) for occupancy in occupancies)

    def _checked(self, occupancy: ZoneOccupancy) -> ZoneOccupancy:
        zone, uncertain = occupancy.zone, occupancy.uncertain
        if uncertain is None:
            return occupancy
        limit = self._limits[zone]
        if uncertain > (_HYSTERESIS * limit if zone in self._uncertain else limit):
            self._uncertain.add(zone)
            return replace(
                occupancy,
                state="unknown",
                reason=REASON,
                coverage=None,
                uncertain=None,
                dominant=None,
                confidence=None,
                ground=None,
            )
        self._uncertain.discard(zone)
        return occupancy
