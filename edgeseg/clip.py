"""A clip in this process: every picture that is due, nothing dropped, the same every time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeseg.camera import Camera
from edgeseg.clock import ManualClock
from edgeseg.engines.base import Engine
from edgeseg.errors import SourceError
from edgeseg.frames import Frame, Picture
from edgeseg.pipeline import Analysis
from edgeseg.preprocess import Preprocess
from edgeseg.sources.open import open_source
from edgeseg.sources.pacer import Pacer

# The daemon's own tick.
_TICK_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class ClipFrame:
    """One picture that was due and its frame. ``done_share``: how much of the clip is behind, 0-1."""

    picture: Picture
    frame: Frame
    done_share: float


def frames(
    path: Path, camera: str, preprocess: Preprocess, rate_fps: float, epoch_s: float | None = None
) -> Iterator[ClipFrame]:
    """Decode a clip, a picture or a folder of pictures and place what is due at ``rate_fps``.

    epoch_s: UTC of the first picture; None takes the recording's own time, or else 1970. The picture is
    valid until the next step. Raises SourceError.
    """
    with open_source(str(path), epoch_s=epoch_s) as source:
        pacer, seq, duration_s = Pacer(rate_fps), 0, source.duration_s
        for picture in source:
            time_s = picture.time.camera_time_s
            if not pacer.takes(time_s):
                continue
            fit, views = preprocess(picture)
            done_share = min(time_s / duration_s, 1.0) if duration_s else 0.0
            yield ClipFrame(picture, Frame(camera, seq, views, fit, picture.time), done_share)
            seq += 1


def replay(
    clip: Iterator[ClipFrame], camera: Camera, engine: Engine, clock: ManualClock
) -> Iterator[tuple[ClipFrame, Analysis]]:
    """What the daemon would have published had the clip been a live camera; ``camera`` publishes it.

    ``clock`` is the camera's; it follows the clip's own time and ticks in its gaps as the daemon does.
    Raises SourceError, EngineError.
    """
    for clip_frame in clip:
        time = clip_frame.frame.time
        if camera.analysed == 0:
            clock.set(time.camera_time_s, time.captured_at_s)
            camera.connecting()
        while time.camera_time_s - clock.monotonic_s() > _TICK_S:
            clock.advance(_TICK_S)
            camera.tick()
        clock.set(time.camera_time_s, time.captured_at_s)
        yield clip_frame, camera.analyse(clip_frame.frame, engine)
        camera.tick()
    camera.offline(SourceError("ended", "the clip ended"))
