"""Clip segments: decodes a part of a clip, from one keyframe to another, so that several workers share it.

Reading the packets without decoding them gives every picture's time, so that the due pictures are known
before anything is decoded; a worker then needs nothing from the parts before its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.errors import SourceError
from edgeseg.frames import FrameTime, Picture
from edgeseg.sources.decode import Decoded, Decoder
from edgeseg.sources.file import FileSource
from edgeseg.sources.pacer import Pacer
from edgeseg.sources.timestamps import ClipTimes
from edgeseg.sources.video_source import USUAL_RATE_FPS

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# As far apart as pictures of one timeline can be; see ``times``.
_DISORDER_S = 1.0
_LEAP_S = 3600.0


@dataclass(frozen=True, slots=True)
class Due:
    """A picture to analyse. pts: in the stream's own units. time_s: camera time, from the clip's begin."""

    pts: int
    time_s: float


@dataclass(frozen=True, slots=True)
class ClipIndex:
    """What is in a clip, as far as it can be known without decoding.

    due: the pictures to analyse, in order; None where the clip cannot be cut: its timestamps are missing,
        repeat or leap, so that only decoding all of it shows them. keys: presentation times of its
        keyframes, in the stream's units, rising. duration_s: of the pictures that are there. created_at_s:
        UTC, of the container. broken: why not all that the clip promises is there; None where it is.
    """

    due: tuple[Due, ...] | None
    keys: tuple[int, ...]
    duration_s: float
    created_at_s: float | None
    broken: str | None


class ClipCuts(FileSource):
    """A clip on disk, to be cut at its keyframes. Open it first, as any source."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._decoder = self._cuts = _CuttingDecoder(self._decoder.opening)

    def __enter__(self) -> ClipCuts:
        super().__enter__()
        return self

    def contents(self, rate_fps: float) -> ClipIndex:
        """Read all packets, decode none. The due pictures are those that ``Pacer`` picks of the whole clip.

        Raises SourceError where not one packet can be read.
        """
        broken = None
        marks: list[_Mark] = []
        try:
            for mark in self._cuts.marks():
                marks.append(mark)
        except SourceError as error:
            broken = str(error)
        first = next((number for number, mark in enumerate(marks) if mark.keyframe), None)
        if first is None:
            raise SourceError("codec", broken or f"{self.shown}: not one keyframe in it")
        marks = marks[first:]
        rate = self.rate_fps or USUAL_RATE_FPS
        pts = _presentation(marks, self._cuts.unit)
        if pts is None:
            return ClipIndex(None, (), self.duration_s or len(marks) / rate, self._cuts.created_at_s, broken)
        times, pacer = ClipTimes(rate, 0.0), Pacer(rate_fps)
        due, last_s = [], 0.0
        for one in pts:
            last_s = times.stamp(float(one * self._cuts.unit), None).camera_time_s
            if pacer.is_due(last_s):
                due.append(Due(one, last_s))
        if broken is None:
            try:
                self._check_complete(last_s)
            except SourceError as error:
                broken = str(error)
        keys = sorted(mark.pts for mark in marks if mark.keyframe and mark.pts is not None and mark.shown)
        return ClipIndex(tuple(due), tuple(keys), last_s + 1 / rate, self._cuts.created_at_s, broken)

    def pictures_due(
        self, begin_pts: int | None, end_pts: int | None, due: Sequence[Due]
    ) -> Iterator[Picture]:
        """Decode from the keyframe at ``begin_pts`` (None: from the beginning) up to ``end_pts`` (None: to
        the end); yields those due.

        Where decoding cannot begin there, for the keyframe needs what is before it or cannot be found, it
        begins at the clip's own beginning: slower, the same pictures. Due pictures that do not decode are
        missing. Times are the clip's own, from 0. Raises SourceError.
        """
        times = {one.pts: one.time_s for one in due}
        for pts, decoded in self._cuts.between(begin_pts, end_pts, times):
            time = FrameTime(times[pts], times[pts], decoded.pts_s)
            yield Picture(decoded.planes, decoded.layout, decoded.full_range, decoded.matrix, time)


@dataclass(frozen=True, slots=True)
class _Mark:
    """One packet. shown: whether its picture is, which an edit list may forbid."""

    pts: int | None
    keyframe: bool
    shown: bool


def _presentation(marks: Sequence[_Mark], unit: Fraction) -> list[int] | None:
    """The times of the pictures in the order in which they are shown; None where that is no telling.

    Pictures before the first keyframe's cannot be decoded, although they come after it in the file.
    """
    first_pts = marks[0].pts
    if first_pts is None:
        return None
    before = first_pts
    pts = []
    for mark in marks:
        if mark.pts is None or not -_DISORDER_S < (mark.pts - before) * unit < _LEAP_S:
            return None
        before = mark.pts
        if mark.shown and mark.pts >= first_pts:
            pts.append(mark.pts)
    if not pts or len(set(pts)) < len(pts):
        return None
    return sorted(pts)


class _CuttingDecoder(Decoder):
    """A decoder that begins and ends at given times."""

    @property
    def unit(self) -> Fraction:
        """Of presentation times, in seconds."""
        _, stream = self._opened()
        assert stream.time_base is not None, "libav gives every stream a time base"
        return stream.time_base

    def marks(self) -> Iterator[_Mark]:
        """Each packet that holds something. Raises SourceError."""
        for packet, _ in self._arrivals():
            if packet.size:
                yield _Mark(packet.pts, packet.is_keyframe, not packet.is_discard)

    def between(
        self, begin_pts: int | None, end_pts: int | None, wanted: Collection[int]
    ) -> Iterator[tuple[int, Decoded]]:
        """The wanted pictures from ``begin_pts`` up to ``end_pts``. Raises SourceError."""
        frames = self._from_keyframe(begin_pts) if begin_pts is not None else None
        if frames is None:
            # The decoder may have seen what it should not have.
            self.close()
            self.open()
            frames = self._frames_from(self._arrivals())
        for frame in frames:
            if frame.pts is None or (begin_pts is not None and frame.pts < begin_pts):
                continue
            if end_pts is not None and frame.pts >= end_pts:
                return
            if frame.pts in wanted:
                yield frame.pts, self._decoded(frame)

    def _from_keyframe(self, begin_pts: int) -> Iterator[VideoFrame] | None:
        """What decodes from there on; None where the decoder cannot begin there."""
        container, stream = self._opened()
        try:
            container.seek(begin_pts, stream=stream, backward=True)
        except (OSError, ValueError):
            return None
        arrivals = self._arrivals()
        found = next((one for one in arrivals if one[0].pts == begin_pts and one[0].is_keyframe), None)
        if found is None:
            return None
        frames = self._frames_from(chain([found], arrivals))
        # Pictures that come before it in time, though after it in the file, need what lies before it.
        first = next((frame for frame in frames if frame.pts is not None and frame.pts >= begin_pts), None)
        if first is None or first.pts != begin_pts or not first.key_frame:
            return None
        return chain([first], frames)

    def _frames_from(self, arrivals: Iterable[tuple[Packet[VideoStream], float]]) -> Iterator[VideoFrame]:
        for packet, _ in arrivals:
            yield from self._frames_of(packet)
