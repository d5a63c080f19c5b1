"""Clips for the fault suite: a zone that becomes occupied and free again, by the clock."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

FPS = 10
BLINK_S = 2.0


def blinking_clip(
    path: Path,
    *,
    codec: str = "libx264",
    size: tuple[int, int] = (64, 48),
    noise: int = 0,
    on_s: float = BLINK_S / 2,
    period_s: float = BLINK_S,
    periods: int = 1,
    fps: int = FPS,
) -> Path:
    """A red square in the right half for ``on_s`` of each ``period_s``, a keyframe each second. Looped, it
    goes on evenly. noise: 0-30; grain that spreads a picture over several packets."""
    width, height = size
    grain = np.random.default_rng(0)
    # HEVC's parameter sets must stand in the stream, as H.264's do.
    private = {"x265-params": "log-level=none:keyint=10:bframes=0"} if codec == "libx265" else {"bf": "0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options={"g": str(fps), **private})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(round(period_s * fps * periods)):
            picture = np.full((height, width, 3), 32, np.uint8)
            if noise:
                picture += grain.integers(0, noise, picture.shape, np.uint8)
            if index % round(period_s * fps) < round(on_s * fps):
                picture[height // 4 : 3 * height // 4, 5 * width // 8 : 7 * width // 8] = (224, 0, 0)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def still_clip(path: Path) -> Path:
    """The same picture for ever, with the zone free."""
    return blinking_clip(path, on_s=0.0)


def coloured_clip(path: Path, colour: tuple[int, int, int]) -> Path:
    """A clip of one colour, 64 x 48."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"g": str(FPS), "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(2 * FPS):
            picture = np.full((48, 64, 3), colour, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path
