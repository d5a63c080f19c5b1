"""Clip observations: the occupancies of a clip, from a recording, the cache, or by segmenting it once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edgeseg import __version__
from edgeseg.errors import EdgesegError
from edgeseg.events import ZoneOccupancy
from edgeseg.models import registry
from edgeseg.replay.clip import Replay
from edgeseg.replay.recording.lines import header_for
from edgeseg.replay.recording.reader import header_of, is_recording, occupancies, refusal
from edgeseg.replay.recording.writer import RecordingWriter
from edgeseg.screening.motion_gate import motion_gate_settings
from edgeseg.settings import CameraSettings, PipelineSettings
from edgeseg.system.atomic_files import atomic_write
from edgeseg.system.paths import cache_dir

_FOLDER = "tuning"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ClipObservations:
    """The observations of one clip. moments: occupancies in the order of the camera's zones.

    cached: whether an earlier run saved them.
    """

    clip: Path
    moments: tuple[tuple[ZoneOccupancy, ...], ...]
    cached: bool


def observe_clip(
    clip: Path, settings: PipelineSettings, camera: CameraSettings, advance: Callable[[float], None]
) -> ClipObservations:
    """Segment a clip, or read its observations from the cache or from a recording.

    The cache key is a digest of the clip and of everything that decides what is measured in it. advance:
    called with the share that is done, 0-1. Raises EdgesegError and what a replay raises.
    """
    model = registry.find(camera.model)
    if is_recording(clip):
        against = refusal(header_of(clip), camera, model)
        if against is not None:
            raise EdgesegError(f"{clip}: cannot be tuned with: {against}")
        return _read(clip, clip, settings, camera, cached=False)
    if not clip.exists():
        raise EdgesegError(f"{clip}: no such clip, folder or recording")
    path = cache_dir() / _FOLDER / f"{_digest(clip, settings, camera)}.jsonl"
    if is_recording(path):
        return _read(clip, path, settings, camera, cached=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    header = header_for(camera, model.name, model.classes, settings.groups)
    with atomic_write(path, "name another folder in EDGESEG_CACHE") as partial:
        with (
            RecordingWriter(partial, header) as writer,
            Path(os.devnull).open("w", encoding="utf-8") as nowhere,
            Replay(settings, camera, nowhere, observer=writer.on_observation) as replay,
        ):
            for frame, _ in replay.run(clip):
                advance(frame.done_share)
        if writer.failure is not None:
            raise writer.failure
    return _read(clip, path, settings, camera, cached=False)


def _read(
    clip: Path, path: Path, settings: PipelineSettings, camera: CameraSettings, *, cached: bool
) -> ClipObservations:
    moments = tuple(occupancies(path, camera, settings.groups))
    if not moments:
        raise EdgesegError(f"{clip}: has no pictures; expected at least one")
    return ClipObservations(clip, moments, cached)


def _digest(clip: Path, settings: PipelineSettings, camera: CameraSettings) -> str:
    model = registry.find(camera.model)
    measured = replace(
        camera,
        name="",
        priority=0,
        zones=tuple(replace(zone, title="", rules=()) for zone in camera.zones),
    )
    parts = (
        __version__,
        sorted(blob.sha256 for artefact in model.artefacts for blob in artefact.blobs),
        model.classes,
        measured,
        # Rules decide how far apart keyframes may be.
        order.keyframes_within_s if (order := motion_gate_settings(camera)) else None,
        sorted(settings.groups.items()),
    )
    digest = hashlib.sha256(repr(parts).encode())
    for path in sorted(clip.iterdir()) if clip.is_dir() else [clip]:
        digest.update(f"\0{path.name if clip.is_dir() else ''}\0".encode())
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()[:32]
