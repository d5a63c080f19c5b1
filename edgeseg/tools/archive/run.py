"""Archive run: find, plan, measure and conclude; segments that are measured already are reused."""

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
from edgeseg.tools.archive.progress import ArchiveProgress
from edgeseg.tools.archive.recordings import FoundRecordings
from edgeseg.tools.archive.settings_digest import Measuring, measuring_of
from edgeseg.tools.archive.start_times import SOURCE_TEXTS, Beginning, beginning
from edgeseg.tools.archive.store import ArchiveStore
from edgeseg.tools.archive.tables import Tables, arrow
from edgeseg.tools.archive.timeline import TimelineBuilder, TimelineClip
from edgeseg.tools.archive.workers import Crashed, Workers

HEAT = "heat"


@dataclass(frozen=True, slots=True)
class ArchiveJob:
    """An archive to make. archive: the folder. patterns, zone: of times in file names; zone also splits days.

    segment_s: the least length of a segment.
    """

    archive: Path
    settings: PipelineSettings
    found: FoundRecordings
    patterns: tuple[str, ...]
    zone: tzinfo
    segment_s: float


@dataclass(slots=True)
class Outcome:
    """The result of a run. problems: one line each, of what is missing and why. notes: for the user."""

    clips: int = 0
    segments: int = 0
    reused: int = 0
    pictures: int = 0
    rows: int = 0
    alerts: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class _Camera:
    settings: CameraSettings
    measuring: Measuring
    store: ArchiveStore


Report = Callable[[str], None]
Advance = Callable[[ArchiveProgress], None]


def make(job: ArchiveJob, workers: Workers, report: Report, advance: Advance) -> Outcome:
    """Bring an archive up to date.

    Broken recordings become problems; what can be read of them is used.

    Args:
        job: what to make.
        workers: entered and left here.
        report: called with a line for each step.
        advance: called with the progress.

    Raises EdgesegError for what concerns
    all of them: no pyarrow, a full disk, workers that see other files or have another model.
    """
    # Before hours of work, not after.
    arrow()
    outcome = Outcome(clips=len(job.found.clips))
    outcome.problems += [
        f"{name}: belongs to no camera of {job.settings.file}; name its folder, or the file's beginning, "
        "like one, or use --camera"
        for name in job.found.unassigned
    ]
    with ExitStack() as opened:
        cameras = {}
        named = {clip.camera for clip in job.found.clips}
        for settings in job.settings.cameras:
            if settings.name in named:
                cameras[settings.name] = _begin(job, settings, opened, outcome)
        for line in outcome.notes:
            report(line)
        opened.enter_context(workers)
        plans = _plan(job, cameras, workers, report, outcome)
        _measure(plans, cameras, workers, report, advance, outcome)
        for camera in cameras.values():
            report(f"camera {camera.settings.name}: rules and tables")
            _conclude(job, camera, report, outcome)
    return outcome


def _begin(job: ArchiveJob, settings: CameraSettings, opened: ExitStack, outcome: Outcome) -> _Camera:
    if not settings.zones:
        raise EdgesegError(
            f"{job.settings.file}: the camera {settings.name} has no zones, so there is nothing to "
            "measure; draw one first"
        )
    measuring = measuring_of(settings, job.settings.groups)
    store = opened.enter_context(ArchiveStore(job.archive, settings.name, measuring.digest))
    if store.fresh and store.others:
        outcome.notes.append(
            f"camera {settings.name}: model, zones, rate or edgeseg itself changed, so "
            f"everything is measured again; the earlier measurements stay in {store.others[-1].parent}"
        )
    if settings.steady:
        outcome.notes.append(
            f"camera {settings.name}: steady has no effect in an archive, whose segments are measured "
            "independently"
        )
    return _Camera(settings, measuring, store)


def _plan(
    job: ArchiveJob,
    cameras: Mapping[str, _Camera],
    workers: Workers,
    report: Report,
    outcome: Outcome,
) -> list[tuple[Clip, SegmentPlan]]:
    plans: dict[str, SegmentPlan] = {}
    jobs = []
    for clip in job.found.clips:
        known = cameras[clip.camera].store.plan_of(clip)
        if known is None:
            jobs.append(PlanJob(clip, cameras[clip.camera].settings.rate_fps, job.segment_s))
        else:
            plans[clip.name] = known
    if jobs:
        report(f"reading {len(jobs)} recordings on {workers.description}")
    for planned, made in workers.run(plan, jobs):
        if isinstance(made, (Undecodable, Crashed)):
            outcome.problems.append(_message(planned.clip, made.message))
            continue
        cameras[planned.clip.camera].store.save_plan(made)
        plans[planned.clip.name] = made
    for name, known in plans.items():
        if known.broken is not None:
            outcome.problems.append(f"{name}: incomplete: {known.broken}; the readable part is used")
    return [(clip, plans[clip.name]) for clip in job.found.clips if clip.name in plans]


def _measure(
    plans: Sequence[tuple[Clip, SegmentPlan]],
    cameras: Mapping[str, _Camera],
    workers: Workers,
    report: Report,
    advance: Advance,
    outcome: Outcome,
) -> None:
    jobs = []
    due = reused = 0
    seconds = 0.0
    for clip, known in plans:
        camera = cameras[clip.camera]
        for segment in known.segments:
            outcome.segments += 1
            path = camera.store.path_of(known, segment)
            expected = _pictures(segment, camera.settings.rate_fps)
            due += expected
            if camera.store.done(path) is not None:
                outcome.reused += 1
                reused += expected
            else:
                jobs.append(SegmentJob(clip, segment, camera.measuring, str(path)))
    if outcome.reused:
        report(f"{outcome.reused} of {outcome.segments} segments are measured already")
    if jobs:
        report(f"measuring {len(jobs)} segments, {due - reused} pictures, on {workers.description}")
    pictures = reused
    for job, result in workers.run(measure, jobs):
        camera = cameras[job.clip.camera]
        if isinstance(result, (Undecodable, Crashed)):
            outcome.problems.append(_message(job.clip, f"segment {job.segment.number}: {result.message}"))
        else:
            camera.store.add_measured(Path(job.path), result)
            outcome.pictures += result.pictures
        pictures += _pictures(job.segment, camera.settings.rate_fps)
        seconds += job.segment.seconds
        advance(ArchiveProgress(pictures, due, reused, seconds))
    for clip, known in plans:
        store = cameras[clip.camera].store
        for segment in known.segments:
            done = store.done(store.path_of(known, segment))
            if done is not None and done.broken is not None:
                outcome.problems.append(_message(clip, f"incomplete: {done.broken}"))
            elif done is not None and done.missing:
                outcome.problems.append(
                    _message(clip, f"segment {segment.number}: {done.missing} pictures do not decode")
                )


def _conclude(job: ArchiveJob, camera: _Camera, report: Report, outcome: Outcome) -> None:
    settings, store = job.settings, camera.store
    model = registry.find(camera.settings.model)
    clips, began = [], []
    for known in store.plans():
        start = beginning(known.name, known, job.patterns, job.zone)
        files = [store.path_of(known, segment) for segment in known.segments]
        done = tuple(path for path in files if store.done(path) is not None)
        if done:
            clips.append(TimelineClip(known.name, start.utc_s, done))
            began.append(start)
    if not clips:
        return
    report(f"camera {camera.settings.name}: times are from {_times(began)}")
    clips.sort(key=lambda clip: (clip.began_at_s, clip.name))
    # Of all cameras, so that their tables fit together.
    classes = [name for one in settings.cameras for name in registry.find(one.model).classes]
    shares = tuple(dict.fromkeys((*classes, *settings.groups)))
    groups = {name for name, members in settings.groups.items() if set(members) & set(model.classes)}
    timeline = TimelineBuilder(settings.node, camera.settings, model, settings.groups)
    with Tables(job.archive, camera.settings.name, shares, {*model.classes, *groups}, job.zone) as tables:
        for entry in timeline.entries(clips):
            tables.add(entry)
    outcome.rows += tables.rows
    outcome.alerts += tables.alerts
    if timeline.overlapping:
        report(
            f"camera {camera.settings.name}: recordings overlap; {timeline.overlapping} pictures are left "
            "out, whose time other recordings cover"
        )
    _save_heatmap(job.archive, camera, model.classes, clips)


def _save_heatmap(
    archive: Path, camera: _Camera, classes: Sequence[str], clips: Sequence[TimelineClip]
) -> None:
    """Save where each class was, of all segments together, and a picture of the view."""
    total, view = np.zeros((len(classes), ROWS, COLUMNS), np.uint64), b""
    for path in (path for clip in clips for path in clip.files):
        contents = read(path)
        total += contents.heat
        view = view or contents.view
    place = archive / HEAT / f"{camera.settings.name}.npz"
    with atomic_write(place, INTACT) as partial, partial.open("wb") as stream:
        np.savez_compressed(
            stream, counts=total, classes=np.array(classes), view=np.frombuffer(view, np.uint8)
        )


def _times(began: Sequence[Beginning]) -> str:
    """Return such as ``file names (12), the containers (1)``."""
    counts = Counter(one.source for one in began)
    return ", ".join(f"{SOURCE_TEXTS[source]} ({count})" for source, count in counts.most_common())


def _message(clip: Clip, message: str) -> str:
    """Return the message, beginning with the recording's name."""
    return message if message.startswith(clip.path) else f"{clip.name}: {message}"


def _pictures(segment: Segment, rate_fps: float) -> int:
    return len(segment.due) if segment.due is not None else max(1, round(segment.seconds * rate_fps))
