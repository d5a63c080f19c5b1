"""Alert audit: every alert arrived, once and in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from edgeseg.clock import parse_utc


@dataclass(frozen=True, slots=True)
class Audit:
    """lost: holes in the alerts' numbering, and blinks without an alert. unmarked: came twice, the later not
    marked as replayed. reused: ids that name two alerts. disordered: earlier than one already received."""

    received: int
    lost: int
    unmarked: int
    reused: int
    disordered: int

    @property
    def clean(self) -> bool:
        return not (self.lost or self.unmarked or self.reused or self.disordered)


def audit(alerts: Sequence[Mapping[str, Any]], blink_s: float | None = None) -> Audit:
    """alerts: payloads as they came. blink_s: how often each camera's square appears, where all of the
    time its camera was watched: then an alert that is missing altogether shows as a gap."""
    seen: dict[tuple[str, int], Mapping[str, Any]] = {}
    unmarked = 0
    for alert in alerts:
        key = (alert["id"], alert["seq"])
        unmarked += key in seen and not alert["replayed"]
        seen.setdefault(key, alert)
    lost = reused = disordered = 0
    by_id: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for (id_, _), alert in seen.items():
        by_id[id_].append(alert)
    for mine in by_id.values():
        lost += max(alert["seq"] for alert in mine) + 1 - len(mine)
        reused += len({(alert["camera"], alert["began_at"]) for alert in mine}) > 1
    for camera in {alert["camera"] for alert in seen.values()}:
        firsts = [alert for alert in seen.values() if alert["camera"] == camera]
        disordered += sum(one["at"] > two["at"] for one, two in pairwise(firsts))
        if blink_s is not None:
            began = sorted(parse_utc(alert["began_at"]) for alert in firsts if alert["event"] == "new")
            lost += sum(max(0, round((two - one) / blink_s) - 1) for one, two in pairwise(began))
    return Audit(len(seen), lost, unmarked, reused, disordered)
