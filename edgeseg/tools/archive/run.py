"""An archive from its beginning to its end: find, plan, measure, conclude. What is known already is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path

import numpy as np

from edgeseg.errors import EdgesegError
from edgeseg.models import registry
from edgeseg.settings import CameraSettings, PipelineSettings
from edgeseg.system.atomic_files import INTACT, atomic_write
from edgeseg.tools.archive.heatmap import COLUMNS, ROWS
from edgeseg.tools.archive.measure import SegmentJob, measure, read
from edgeseg.tools.archive.plan import Clip, PlanJob, Segment, SegmentPlan, Undecodable, plan
from edgeseg.tools.archive.progress import Done
from edgeseg.tools.archive.recordings import Found
from edgeseg.tools.archive.settings_digest import Measuring, measuring_of
from edgeseg.tools.archive.start_times import SAID, Beginning, beginning
from edgeseg.tools.archive.store import ArchiveStore
from edgeseg.tools.archive.tables import Tables, arrow
from edgeseg.tools.archive.timeline import TimelineBuilder, TimelineClip
from edgeseg.tools.archive.workers import Crashed, Workers

HEAT = "heat"


@dataclass(frozen=True, slots=True)
class ArchiveJob:
    """What to make. archive: the folder. patterns, zone: of times in file names; zone is that of days, too.
    segment_s: how long segments are at least."""

    archive: Path
    settings: PipelineSettings
    found: Found
    patterns: tuple[str, ...]
    zone: tzinfo
    segment_s: float


@dataclass(slots=True)
class Outcome:
    """problems: one line each, of what is missing and why. said: what people should know."""

    clips: int = 0
    segments: int = 0
    kept: int = 0
    pictures: int = 0
    rows: int = 0
    alerts: int = 0
    problems: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class _Camera:
    settings: CameraSettings
    measuring: Measuring
    shelf: ArchiveStore


Say = Callable[[str], None]
Advance = Callable[[Done], None]


def make(order: ArchiveJob, workers: Workers, say: Say, advance: Advance) -> Outcome:
    """Bring an archive up to date. say: is told what goes on. advance: how far it is.

    Broken recordings become problems; what can be read of them is kept. Raises EdgesegError for what concerns
    all of them: no pyarrow, a full disk, workers that see other files or have another model.
    """
    # Before hours of work, not after.
    arrow()
    outcome = Outcome(clips=len(order.found.clips))
    outcome.problems += [
        f"{name}: belongs to no camera of {order.settings.file}; name its folder, or the file's beginning, "
        "like one, or use --camera"
        for name in order.found.strangers
    ]
    with ExitStack() as opened:
        cameras = {}
        named = {clip.camera for clip in order.found.clips}
        for settings in order.settings.cameras:
            if settings.name in named:
                cameras[settings.name] = _begin(order, settings, opened, outcome)
        for line in outcome.said:
            say(line)
        opened.enter_context(workers)
        plans = _plan(order, cameras, workers, say, outcome)
        _measure(plans, cameras, workers, say, advance, outcome)
        for camera in cameras.values():
            say(f"camera {camera.settings.name}: rules and tables")
            _conclude(order, camera, say, outcome)
    return outcome


def _begin(order: ArchiveJob, settings: CameraSettings, opened: ExitStack, outcome: Outcome) -> _Camera:
    if not settings.zones:
        raise EdgesegError(
            f"{order.settings.file}: the camera {settings.name} has no zones, so there is nothing to "
            "measure; draw one first"
        )
    measuring = measuring_of(settings, order.settings.groups)
    shelf = opened.enter_context(ArchiveStore(order.archive, settings.name, measuring.digest))
    if shelf.fresh and shelf.others:
        outcome.said.append(
            f"camera {settings.name}: model, zones, rate or edgeseg itself are not what they were, so "
            f"everything is measured anew; what was measured before stays in {shelf.others[-1].parent}"
        )
    if settings.steady:
        outcome.said.append(
            f"camera {settings.name}: steady has no part in archives, whose segments know nothing of each "
            "other"
        )
    return _Camera(settings, measuring, shelf)


def _plan(
    order: ArchiveJob, cameras: Mapping[str, _Camera], workers: Workers, say: Say, outcome: Outcome
) -> list[tuple[Clip, SegmentPlan]]:
    plans: dict[str, SegmentPlan] = {}
    jobs = []
    for clip in order.found.clips:
        known = cameras[clip.camera].shelf.plan_of(clip)
        if known is None:
            jobs.append(PlanJob(clip, cameras[clip.camera].settings.rate_fps, order.segment_s))
        else:
            plans[clip.name] = known
    if jobs:
        say(f"reading {len(jobs)} recordings on {workers.shown}")
    for job, made in workers.run(plan, jobs):
        if isinstance(made, (Undecodable, Crashed)):
            outcome.problems.append(_of(job.clip, made.message))
            continue
        cameras[job.clip.camera].shelf.keep_plan(made)
        plans[job.clip.name] = made
    for name, known in plans.items():
        if known.broken is not None:
            outcome.problems.append(f"{name}: incomplete: {known.broken}; what can be read of it counts")
    return [(clip, plans[clip.name]) for clip in order.found.clips if clip.name in plans]


def _measure(
    plans: Sequence[tuple[Clip, SegmentPlan]],
    cameras: Mapping[str, _Camera],
    workers: Workers,
    say: Say,
    advance: Advance,
    outcome: Outcome,
) -> None:
    jobs = []
    due = kept = 0
    seconds = 0.0
    for clip, known in plans:
        camera = cameras[clip.camera]
        for segment in known.segments:
            outcome.segments += 1
            path = camera.shelf.path_of(known, segment)
            expected = _pictures(segment, camera.settings.rate_fps)
            due += expected
            if camera.shelf.done(path) is not None:
                outcome.kept += 1
                kept += expected
            else:
                jobs.append(SegmentJob(clip, segment, camera.measuring, str(path)))
    if outcome.kept:
        say(f"{outcome.kept} of {outcome.segments} segments are measured already")
    if jobs:
        say(f"measuring {len(jobs)} segments, {due - kept} pictures, on {workers.shown}")
    pictures = kept
    for job, result in workers.run(measure, jobs):
        camera = cameras[job.clip.camera]
        if isinstance(result, (Undecodable, Crashed)):
            outcome.problems.append(_of(job.clip, f"segment {job.segment.number}: {result.message}"))
        else:
            camera.shelf.note(Path(job.path), result)
            outcome.pictures += result.pictures
        pictures += _pictures(job.segment, camera.settings.rate_fps)
        seconds += job.segment.seconds
        advance(Done(pictures, due, kept, seconds))
    for clip, known in plans:
        shelf = cameras[clip.camera].shelf
        for segment in known.segments:
            done = shelf.done(shelf.path_of(known, segment))
            if done is not None and done.broken is not None:
                outcome.problems.append(_of(clip, f"incomplete: {done.broken}"))
            elif done is not None and done.missing:
                outcome.problems.append(
                    _of(clip, f"segment {segment.number}: {done.missing} pictures do not decode")
                )


def _conclude(order: ArchiveJob, camera: _Camera, say: Say, outcome: Outcome) -> None:
    settings, shelf = order.settings, camera.shelf
    model = registry.find(camera.settings.model)
    reels, began = [], []
    for known in shelf.plans():
        start = beginning(known.name, known, order.patterns, order.zone)
        files = [shelf.path_of(known, segment) for segment in known.segments]
        done = tuple(path for path in files if shelf.done(path) is not None)
        if done:
            reels.append(TimelineClip(known.name, start.utc_s, done))
            began.append(start)
    if not reels:
        return
    say(f"camera {camera.settings.name}: times are from {_times(began)}")
    reels.sort(key=lambda reel: (reel.began_at_s, reel.name))
    # Of all cameras, so that their tables fit together.
    classes = [name for one in settings.cameras for name in registry.find(one.model).classes]
    shares = tuple(dict.fromkeys((*classes, *settings.groups)))
    groups = {name for name, members in settings.groups.items() if set(members) & set(model.classes)}
    conclusion = TimelineBuilder(settings.node, camera.settings, model, settings.groups)
    with Tables(order.archive, camera.settings.name, shares, {*model.classes, *groups}, order.zone) as tables:
        for moment in conclusion.moments(reels):
            tables.add(moment)
    outcome.rows += tables.rows
    outcome.alerts += tables.alerts
    if conclusion.overlapping:
        say(
            f"camera {camera.settings.name}: recordings overlap; {conclusion.overlapping} pictures left out, "
            "whose time others cover"
        )
    _keep_heat(order.archive, camera, model.classes, reels)


def _keep_heat(archive: Path, camera: _Camera, classes: Sequence[str], reels: Sequence[TimelineClip]) -> None:
    """Where each class was, of all segments together, and a picture of the view."""
    total, view = np.zeros((len(classes), ROWS, COLUMNS), np.uint64), b""
    for path in (path for reel in reels for path in reel.files):
        contents = read(path)
        total += contents.heat
        view = view or contents.view
    place = archive / HEAT / f"{camera.settings.name}.npz"
    with atomic_write(place, INTACT) as partial, partial.open("wb") as stream:
        np.savez_compressed(
            stream, counts=total, classes=np.array(classes), view=np.frombuffer(view, np.uint8)
        )


def _times(began: Sequence[Beginning]) -> str:
    """``file names (12), what the containers say (1)``"""
    counts = Counter(one.source for one in began)
    return ", ".join(f"{SAID[source]} ({count})" for source, count in counts.most_common())


def _of(clip: Clip, message: str) -> str:
    """Begins with the recording, as people named it."""
    return message if message.startswith(clip.path) else f"{clip.name}: {message}"


def _pictures(segment: Segment, rate_fps: float) -> int:
    return len(segment.due) if segment.due is not None else max(1, round(segment.seconds * rate_fps))
