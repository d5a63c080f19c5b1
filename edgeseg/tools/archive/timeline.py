"""Timeline: joins what was measured in a camera's clips, and runs the rules over it.

The rules run once, over everything, in order: a car that stands from one clip into the next is one alert,
and how the clips were cut changes nothing. Where nothing was recorded for longer than the daemon would wait
for a picture, zones are unknown (``stale``), and the rules see the time pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgeseg.errors import EdgesegError
from edgeseg.events import Alert, RuleState, ZoneOccupancy
from edgeseg.frames import FrameTime
from edgeseg.models.model import Model
from edgeseg.replay.recording.lines import header_for
from edgeseg.replay.recording.reader import RecordedOccupancies
from edgeseg.rules import ZoneRules
from edgeseg.runtime.camera_status import stale_after_s
from edgeseg.settings import CameraSettings
from edgeseg.stages.confidence_gate import ConfidenceGate
from edgeseg.tools.archive.measure import read

STALE = "stale"
# The daemon's own tick.
_TICK_S = 1.0


@dataclass(frozen=True, slots=True)
class TimelineClip:
    """A clip on the timeline. began_at_s: UTC. files: of its segments, in their order."""

    name: str
    began_at_s: float
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One observation and its alerts. clip: None where there was no picture."""

    clip: str | None
    occupancies: tuple[ZoneOccupancy, ...]
    alerts: tuple[Alert, ...]


class TimelineBuilder:
    """Joins a camera's clips, once. overlapping: pictures left out because other clips cover their time.

    Args:
        node: its name.
        camera: whose zones and rules apply.
        model: of the camera.
        groups: of classes, by name.
    """

    def __init__(
        self, node: str, camera: CameraSettings, model: Model, groups: Mapping[str, tuple[str, ...]]
    ) -> None:
        self.overlapping = 0
        header = header_for(camera, model.name, model.classes, groups)
        self._camera = camera
        self._occupancies = RecordedOccupancies(header, camera, groups)
        self._confidence_gate = ConfidenceGate(camera.zones)
        self._rules = {zone.name: ZoneRules(node, camera.name, zone) for zone in camera.zones}
        self._model = model.name
        self._stale_after_s = stale_after_s(camera.rate_fps)

    def entries(self, clips: Iterable[TimelineClip]) -> Iterator[TimelineEntry]:
        """Yield an entry for each picture and the first of each gap, others only where an alert changed.

        clips: in the order in which they began. Raises EdgesegError where a file is damaged.
        """
        origin_s: float | None = None
        newest: FrameTime | None = None
        for clip in clips:
            origin_s = clip.began_at_s if origin_s is None else origin_s
            for measured in self._recorded(clip):
                shift_s = clip.began_at_s - origin_s
                in_clip_s = measured[0].time.camera_time_s
                time = FrameTime(shift_s + in_clip_s, clip.began_at_s + in_clip_s)
                if newest is not None:
                    if time.camera_time_s <= newest.camera_time_s:
                        self.overlapping += 1
                        continue
                    yield from self._gap(newest, time, measured)
                newest = time
                occupancies = self._confidence_gate.apply(replace(one, time=time) for one in measured)
                yield TimelineEntry(clip.name, occupancies, self._alerts(occupancies))

    def _recorded(self, clip: TimelineClip) -> Iterator[tuple[ZoneOccupancy, ...]]:
        for path in clip.files:
            try:
                for line in read(path).lines:
                    yield self._occupancies.moment(line)
            except ValueError as error:
                raise EdgesegError(f"{path}: {error}; delete it, and run again") from None

    def _gap(
        self, since: FrameTime, until: FrameTime, zones: tuple[ZoneOccupancy, ...]
    ) -> Iterator[TimelineEntry]:
        gap_s = until.camera_time_s - since.camera_time_s
        after_s, first = self._stale_after_s, True
        while after_s < gap_s:
            time = FrameTime(since.camera_time_s + after_s, since.captured_at_s + after_s)
            unknown = tuple(self._unknown(one, time) for one in zones)
            alerts = self._alerts(unknown)
            if first or alerts:
                yield TimelineEntry(None, unknown, alerts)
            first = False
            after_s += _TICK_S

    def _unknown(self, zone: ZoneOccupancy, time: FrameTime) -> ZoneOccupancy:
        return ZoneOccupancy(
            camera=self._camera.name,
            zone=zone.zone,
            seq=0,
            time=time,
            state="unknown",
            reason=STALE,
            coverage=None,
            uncertain=None,
            dominant=None,
            confidence=None,
            model=self._model,
        )

    def _alerts(self, occupancies: tuple[ZoneOccupancy, ...]) -> tuple[Alert, ...]:
        events: list[Alert | RuleState] = []
        for one in occupancies:
            events.extend(self._rules[one.zone].observe(one))
        return tuple(event for event in events if isinstance(event, Alert))
