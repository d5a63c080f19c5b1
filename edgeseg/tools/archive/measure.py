"""Measurement: segments one cut of a clip and saves what its zones showed and where each class was.

Workers run this. The file gets its name when it is complete, and every try writes the same: a segment counts
once, however often workers died over it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from edgeseg import __version__
from edgeseg.drawing import overlay
from edgeseg.engines.base import Engine
from edgeseg.engines.select import choose, open_engine
from edgeseg.errors import EdgesegError, SourceError
from edgeseg.frames import Frame
from edgeseg.models import registry
from edgeseg.replay.clip import frames
from edgeseg.replay.recording.lines import moment_line
from edgeseg.stages import postprocess
from edgeseg.stages.preprocess import Preprocess
from edgeseg.stages.zones import ZoneMeter
from edgeseg.system.atomic_files import INTACT, atomic_write
from edgeseg.tools.archive.clip_segments import ClipCuts, Due
from edgeseg.tools.archive.heatmap import Counts, Heat
from edgeseg.tools.archive.plan import Clip, Segment, Undecodable
from edgeseg.tools.archive.settings_digest import Measuring, digest

# By digest; a worker keeps what it has loaded until it ends.
_engines: dict[str, Engine] = {}
_opening = threading.Lock()


@dataclass(frozen=True, slots=True)
class SegmentJob:
    """A segment to measure, and the file that it becomes: an absolute path, the same on every machine."""

    clip: Clip
    segment: Segment
    measuring: Measuring
    path: str


@dataclass(frozen=True, slots=True)
class Measured:
    """pictures: that were analysed. missing: that were due and did not decode. broken: why the rest of the
    clip is missing. bytes: of the file."""

    pictures: int
    missing: int
    broken: str | None
    bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class SegmentData:
    """What a segment's file holds. lines: moments of a recording in the clip's own time. view: JPEG of the
    first picture, empty where there is none."""

    lines: list[str]
    heat: Counts
    view: bytes


def measure(job: SegmentJob) -> Measured | Undecodable:
    """Refuses what cannot be decoded. Raises EdgesegError (EngineError, ModelError) where this machine is not
    fit for the work, or the file cannot be written."""
    measuring = job.measuring
    engine, model = _engine(measuring), registry.find(measuring.camera.model)
    meter = ZoneMeter(
        measuring.camera.name, measuring.camera.zones, measuring.groups, model.name, model.classes
    )
    preprocess = Preprocess(measuring.camera.fit or model.fit, engine.input_size_px)
    heat, view, broken = Heat(len(model.classes)), b"", None
    lines: list[str] = []
    named: dict[str, set[str]] = {}
    seq = count(1)
    pictures = 0
    try:
        for frame in _frames(job, preprocess):
            label_map = postprocess.label_map(engine.run(frame.views), frame.fit, model)
            lines.append(moment_line(meter.measure(label_map, next(seq), frame.time), named))
            heat.add(label_map)
            pictures += 1
            if not view:
                view = overlay.encode_jpeg(overlay.picture_of(frame))
    except SourceError as error:
        if not pictures:
            return Undecodable(str(error))
        broken = str(error)
    path = Path(job.path)
    with atomic_write(path, INTACT) as partial, partial.open("wb") as stream:
        np.savez_compressed(
            stream,
            lines=np.frombuffer("\n".join(lines).encode(), np.uint8),
            heat=heat.counts,
            view=np.frombuffer(view, np.uint8),
        )
    missing = 0 if job.segment.due is None else len(job.segment.due) - pictures
    return Measured(pictures, missing, broken, path.stat().st_size)


def read(path: Path) -> SegmentData:
    """What ``measure`` wrote. Raises EdgesegError where the file is damaged."""
    try:
        with np.load(path) as arrays:
            text = arrays["lines"].tobytes().decode()
            return SegmentData(text.split("\n") if text else [], arrays["heat"], arrays["view"].tobytes())
    except (OSError, ValueError, KeyError) as error:
        raise EdgesegError(f"{path}: cannot be read: {error}; delete it, and run again") from None


def _frames(job: SegmentJob, preprocess: Preprocess) -> Iterator[Frame]:
    clip, segment, camera = job.clip, job.segment, job.measuring.camera
    if segment.due is None:
        for one in frames(Path(clip.path), clip.camera, preprocess, camera.rate_fps, epoch_s=0.0):
            yield one.frame
        return
    due = [Due(pts, time_s) for pts, time_s in segment.due]
    with ClipCuts(Path(clip.path)) as source:
        for number, picture in enumerate(source.pictures_due(segment.begin_pts, segment.end_pts, due)):
            fit, views = preprocess(picture)
            yield Frame(clip.camera, number, views, fit, picture.time)


def _engine(measuring: Measuring) -> Engine:
    # Two threads of a worker that ask at once would load it twice.
    with _opening:
        if measuring.digest not in _engines:
            _engines[measuring.digest] = _open(measuring)
        return _engines[measuring.digest]


def _open(measuring: Measuring) -> Engine:
    camera = measuring.camera
    model = registry.find(camera.model)
    _, artefact = choose(model, camera.engine, measuring.input_size_px, measuring.precision)
    if digest(camera, measuring.groups, model, artefact) != measuring.digest:
        raise EdgesegError(
            f"{socket.gethostname()}: has another edgeseg than {__version__}, or another model "
            f"{camera.model}, than where the archive was begun; install the same there"
        )
    # One thread for each inference: as many run at once as there are workers.
    cv2.setNumThreads(1)
    return open_engine(model, camera.engine, measuring.input_size_px, 1, measuring.precision)
