"""Segment plan: cuts a clip into the segments in which it is measured."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

from edgeseg.errors import EdgesegError, SourceError
from edgeseg.tools.archive.clip_segments import ClipCuts, Due

# Segments are numbered with so many digits in file names.
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording of one camera. name: unique, shown to the user. path: absolute,
    the same on every machine that works on it."""

    name: str
    path: str
    camera: str


@dataclass(frozen=True, slots=True)
class Segment:
    """From one keyframe to another, in the stream's units; None: the clip's beginning, its end.

    due: (presentation time, camera time) of each picture to analyse; None where only decoding the whole clip
    shows them. seconds: how long it is.
    """

    number: int
    begin_pts: int | None
    end_pts: int | None
    due: tuple[tuple[int, float], ...] | None
    seconds: float

    @property
    def stem(self) -> str:
        return f"{self.number:0{_DIGITS}d}"


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """name: the clip's. size_bytes, mtime_ns: of the file that was planned; another one is planned anew.

    created_at_s: of the container, UTC. broken: why not all that the clip promises is there.
    """

    name: str
    size_bytes: int
    mtime_ns: int
    duration_s: float
    created_at_s: float | None
    broken: str | None
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class PlanJob:
    """A clip to plan. segment_s: how long its segments are to be, at least."""

    clip: Clip
    rate_fps: float
    segment_s: float


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A clip, or a part of one, that cannot be decoded, and why."""

    message: str


def plan(job: PlanJob) -> SegmentPlan | Undecodable:
    """Read the clip's packets and cut it into segments; ``Undecodable`` where none of it can be read.

    Raises EdgesegError where this machine does not see the clip.
    """
    path = Path(job.clip.path)
    try:
        stat = path.stat()
    except OSError as error:
        raise EdgesegError(
            f"{path}: cannot be seen where it is to be read: {error.strerror}; every worker needs the "
            "recordings under the same path"
        ) from None
    try:
        with ClipCuts(path) as clip:
            found = clip.contents(job.rate_fps)
    except SourceError as error:
        return Undecodable(str(error))
    if found.due is None:
        segments: tuple[Segment, ...] = (Segment(0, None, None, None, found.duration_s),)
    else:
        segments = _cut(found.due, found.keys, found.duration_s, job.segment_s)
    return SegmentPlan(
        job.clip.name,
        stat.st_size,
        stat.st_mtime_ns,
        found.duration_s,
        found.created_at_s,
        found.broken,
        segments,
    )


def _cut(
    due: tuple[Due, ...], keys: tuple[int, ...], duration_s: float, segment_s: float
) -> tuple[Segment, ...]:
    """Each segment ends at the first keyframe that makes it long enough; the last may be shorter."""
    at = [one.pts for one in due]
    begins: list[tuple[int | None, int, float]] = [(None, 0, 0.0)]
    for key in keys:
        index = bisect_left(at, key)
        # A keyframe need not be due itself: what is due first after it stands for its time.
        if index < len(due) and due[index].time_s - begins[-1][2] >= segment_s:
            begins.append((key, index, due[index].time_s))
    ends = [*begins[1:], (None, len(due), duration_s)]
    return tuple(
        Segment(
            number,
            begin_pts,
            end_pts,
            tuple((one.pts, one.time_s) for one in due[first:last]),
            end_s - begin_s,
        )
        for number, ((begin_pts, first, begin_s), (end_pts, last, end_s)) in enumerate(
            zip(begins, ends, strict=True)
        )
    )
