"""Probe: reads a source for a few seconds and reports what it sends, in a confined process of its own that
may hang, crash or lie without harm.

    facts = probe(url, shown, Preprocess("stretch", (64, 48)), clock, threading.Event())
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from edgeseg.capture.events import NewFrame
from edgeseg.capture.messages import CaptureOrder, PicturePlacer
from edgeseg.capture.process import CaptureProcess
from edgeseg.clock import Clock
from edgeseg.errors import SourceError
from edgeseg.settings import DecodeName
from edgeseg.sources.open import is_finite

# Two windows of the measured rate, and the second keyframe of most cameras.
WATCH_S = 4.5
FIRST_PICTURE_WITHIN_S = 12.0
# From asking to knowing that nothing comes: the process's start and end included.
LIMIT_S = FIRST_PICTURE_WITHIN_S + WATCH_S + 8.0
_RATE_FPS = 2.0
_TICK_S = 0.25


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What a source sends.

    fps: pictures a second that arrived, None where too few arrived. codec: FFmpeg's name, None where
    GStreamer decodes and for pictures. keyframes_s: longest time between two keyframes; None where fewer
    than two came in ``watched_s``. clock_ahead_s: the camera's clock less ours, None where its stream does
    not carry the time (RTCP sender reports). notice: how the source works otherwise than configured.
    """

    width_px: int
    height_px: int
    fps: float | None
    codec: str | None
    keyframes_s: float | None
    clock_ahead_s: float | None
    watched_s: float
    notice: str | None


def probe(
    url: str,
    shown: str,
    preprocess: PicturePlacer,
    clock: Clock,
    stop: threading.Event,
    *,
    decode: DecodeName = "software",
    watch_s: float = WATCH_S,
) -> SourceFacts:
    """Watch for ``watch_s`` from the first picture; ``LIMIT_S`` bounds it all.

    url, shown: the source, and how messages may name it. preprocess: pictures are placed by it and thrown
    away. stop: ends it early, with what is known. Raises SourceError: what it would raise in the daemon, and
    ``timeout`` where no picture comes.
    """
    capture = CaptureProcess(
        "probe",
        CaptureOrder(url, shown, preprocess, _RATE_FPS, decode=decode),
        clock=clock,
        stall_after_s=watch_s + 1,
        first_picture_within_s=FIRST_PICTURE_WITHIN_S,
    )
    with capture:
        return _watch(capture, url, shown, clock, stop, watch_s)


def _watch(
    capture: CaptureProcess, url: str, shown: str, clock: Clock, stop: threading.Event, watch_s: float
) -> SourceFacts:
    first_s: float | None = None
    ahead_s: float | None = None
    while not stop.is_set():
        try:
            events = capture.receive(_TICK_S)
        except SourceError as error:
            if first_s is None or error.reason != "ended" or not is_finite(url):
                raise
            break
        now_s = clock.monotonic_s()
        for event in events:
            if not isinstance(event, NewFrame):
                continue
            first_s = now_s if first_s is None else first_s
            if event.time.sender_utc_s is not None:
                ahead_s = event.time.sender_utc_s - event.time.captured_at_s
            with capture.take():
                # Given back at once: what counts is that it came.
                pass
        if first_s is not None and now_s - first_s >= watch_s:
            break
    size_px = capture.picture_size_px
    if first_s is None or size_px is None:
        raise SourceError("timeout", f"{shown}: stopped before the first picture")
    stream = capture.stream
    return SourceFacts(
        *size_px,
        fps=capture.source_fps,
        codec=stream.codec if stream else None,
        keyframes_s=stream.keyframes_s if stream else None,
        clock_ahead_s=ahead_s,
        watched_s=clock.monotonic_s() - first_s,
        notice=capture.notice,
    )
