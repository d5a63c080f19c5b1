"""A zone of which the network is not sure is unknown: ``low_confidence``.

It is unknown while more of it is uncertain than allowed, and known again when that share is a fifth lower.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from edgeseg.events import ZoneOccupancy
from edgeseg.settings import ZoneSettings

REASON = "low_confidence"
_BACK = 0.8


class ConfidenceGate:
    """Judges the zones of one camera. Single-threaded."""

    def __init__(self, zones: Sequence[ZoneSettings]) -> None:
        self._limits = {zone.name: zone.max_uncertain for zone in zones}
        self._doubted: set[str] = set()

    def judge(self, occupancies: Iterable[ZoneOccupancy]) -> tuple[ZoneOccupancy, ...]:
        """The occupancies as they may be published."""
        return tuple(self._judged(occupancy) for occupancy in occupancies)

    def _judged(self, occupancy: ZoneOccupancy) -> ZoneOccupancy:
        zone, uncertain = occupancy.zone, occupancy.uncertain
        if uncertain is None:
            return occupancy
        limit = self._limits[zone]
        if uncertain > (_BACK * limit if zone in self._doubted else limit):
            self._doubted.add(zone)
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
        self._doubted.discard(zone)
        return occupancy
