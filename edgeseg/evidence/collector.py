"""Watches one camera for its alerts: keeps what they will need, and nothing while they need nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from edgeseg.drawing.snapshot import Snapshot
from edgeseg.events import Alert, Event
from edgeseg.frames import Frame, FrameTime, LabelMap
from edgeseg.rules import Dwell

# Of one camera, about a megabyte each. Rules whose conditions began with the same picture share one.
MOST_KEPT = 16


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Pictures that a new alert asks for; None where there was no picture."""

    alert: Alert
    before: Snapshot | None
    after: Snapshot | None


@dataclass(frozen=True, slots=True)
class Names:
    """Of the files of an alert, that are there or will be."""

    pictures: tuple[str, ...] = ()
    clip: str | None = None


Keep = Callable[[Request], Names]
"""Takes a request, and returns at once."""
Kept = Callable[[str], Names]
"""Alert id -> what is there."""


@dataclass(frozen=True, slots=True, eq=False)
class _Begun:
    since: FrameTime
    shot: Snapshot


class CameraEvidence:
    """Keeps the picture in which each rule's condition began, and the newest, while conditions hold that have
    not raised an alert yet. Belongs to its camera's lock.

    pictures: whether any are wanted. always: keep the newest at all times, for rules whose condition can
    begin between two pictures.
    """

    def __init__(self, keep: Keep, kept: Kept, *, pictures: bool = True, always: bool = False) -> None:
        self._keep = keep
        self._kept = kept
        self._pictures = pictures
        self._always = always
        self._newest: Snapshot | None = None
        self._begun: dict[tuple[str, str], _Begun] = {}

    def on_observation(
        self,
        dwells: Sequence[Dwell],
        events: Collection[Event],
        frame: Frame | None,
        label_map: LabelMap | None,
    ) -> None:
        """See ``observer.EvidenceCollector``."""
        if not self._pictures:
            return
        raised = {
            (event.zone, event.rule) for event in events if isinstance(event, Alert) and event.event == "new"
        }
        if not (dwells or raised or self._always):
            self._newest = None
            self._begun.clear()
            return
        if frame is not None and label_map is not None:
            self._newest = Snapshot.of(frame, label_map)
        begun: dict[tuple[str, str], _Begun] = {}
        for dwell in dwells:
            place = (dwell.zone, dwell.rule)
            known = self._begun.get(place)
            if known is not None and known.since == dwell.since:
                begun[place] = known
            elif self._newest is not None:
                begun[place] = _Begun(dwell.since, self._newest)
        begun.update({place: known for place, known in self._begun.items() if place in raised})
        self._begun = _newest_shots(begun)

    def annotate(self, events: Sequence[Event]) -> tuple[Event, ...]:
        """See ``observer.EvidenceCollector``."""
        return tuple(
            self._attested(event) if isinstance(event, Alert) and event.evidence is not None else event
            for event in events
        )

    def _attested(self, alert: Alert) -> Alert:
        if alert.evidence is None or alert.zone is None:
            return alert
        if alert.event == "new":
            known = self._begun.pop((alert.zone, alert.rule), None)
            before = known.shot if known and known.since.captured_at_s == alert.began_at_s else None
            if before is None and alert.began_at_s == alert.at_s:
                before = self._newest
            # Nobody has seen what raised an alert of an unknown zone: there is only what went before.
            after = self._newest if alert.after is not None else None
            names = self._keep(Request(alert, before, after))
        else:
            names = self._kept(alert.id)
        evidence = replace(alert.evidence, pictures=names.pictures or None, clip=names.clip)
        return replace(alert, evidence=evidence)


def _newest_shots(begun: Mapping[tuple[str, str], _Begun]) -> dict[tuple[str, str], _Begun]:
    """Without those that began first where there are too many pictures among them."""
    shots = sorted({known.since.camera_time_s for known in begun.values()})
    if len(shots) <= MOST_KEPT:
        return dict(begun)
    since_s = shots[-MOST_KEPT]
    return {place: known for place, known in begun.items() if known.since.camera_time_s >= since_s}
