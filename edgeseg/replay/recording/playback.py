"""Recording playback: runs the rules over recorded occupancies, and publishes their events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from edgeseg.clock import ManualClock
from edgeseg.errors import EdgesegError
from edgeseg.events import CameraState, CameraStatus, Event, ZoneOccupancy
from edgeseg.models.model import Model
from edgeseg.publish.base import Publisher
from edgeseg.replay.recording.reader import header_of, occupancies, refusal
from edgeseg.rules import CameraAlert, ZoneRules
from edgeseg.settings import CameraSettings, PipelineSettings


def play(
    path: Path,
    settings: PipelineSettings,
    camera: CameraSettings,
    model: Model,
    publisher: Publisher,
    clock: ManualClock,
) -> Iterator[ZoneOccupancy]:
    """Publish what the daemon would have published of the zones; yield the first zone's occupancies.

    Args:
        path: the recording.
        settings: of the pipeline file.
        camera: whose rules run.
        model: of the camera.
        publisher: of the events.
        clock: the publisher's.

    A recording has nothing of the camera itself (status, rate, stats).

    Raises EdgesegError where the recording does not fit the file or is damaged.
    """
    against = refusal(header_of(path), camera, model)
    if against is not None:
        raise EdgesegError(f"{path}: cannot be played to {settings.file}: {against}")
    rules = {zone.name: ZoneRules(settings.node, camera.name, zone) for zone in camera.zones}
    away = CameraAlert(settings.node, camera.name)
    for moment in occupancies(path, camera, settings.groups):
        clock.set(moment[0].time.camera_time_s, moment[0].time.captured_at_s)
        for occupancy in moment:
            if occupancy.seq:
                publisher.send(occupancy)
            _send(publisher, rules[occupancy.zone].observe(occupancy))
        _send(publisher, away.observe(_status(moment[0]), moment[0].time))
        yield moment[0]


def _send(publisher: Publisher, events: Sequence[Event]) -> None:
    for event in events:
        publisher.send(event)


def _status(occupancy: ZoneOccupancy) -> CameraStatus:
    state: CameraState = "live"
    for known in get_args(CameraState):
        if occupancy.reason == known:
            state = known
    return CameraStatus(occupancy.camera, state, None, occupancy.time.captured_at_s, None, None)
