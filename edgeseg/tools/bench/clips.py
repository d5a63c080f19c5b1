"""Bench clips: 1280 x 720 in H.264 as cameras send it, made once from a real clip.

A GOP of 2 s, no B-frames, 3 Mbit/s at 25 pictures a second; grain of a fixed seed is added, for no sensor is
without noise. ``busy`` moves all the time, ``quarter`` a quarter of it: the 4 s in which most moves, and then
12 s of grain alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.bitstream import BitStreamFilterContext
from av.video.stream import VideoStream

from edgeseg.errors import EdgesegError
from edgeseg.frames import U8
from edgeseg.models.registry import sha256
from edgeseg.sources.open import open_source
from edgeseg.stages.preprocess import Preprocess
from edgeseg.system.atomic_files import atomic_write
from edgeseg.tools.bench.workload import SEED

SIZE_PX = (1280, 720)
PERIOD_S = 16
MOVES_S = 4
_SOURCE_FPS = 25
_GOP_S = 2
_BITS_PER_S = {25: 3_000_000, 5: 1_000_000}
_GRAIN = 2.0
_LOOKS_PER_S = 5
_LUMA_PX = (160, 90)
_KEEP = "name a folder for it in EDGESEG_CACHE"
_VERSION = "2"


@dataclass(frozen=True, slots=True)
class Clips:
    """Paths by what they show and at how many pictures a second they are sent."""

    busy_5: Path
    busy_25: Path
    quarter_5: Path
    quarter_25: Path


def prepare(origin: Path, cache: Path, advance: Callable[[], None] = lambda: None) -> Clips:
    """The clips made of ``origin``, from the cache where they were made before. Raises SourceError,
    EdgesegError."""
    found = paths(origin, cache)
    for path, fps, quarter in (
        (found.busy_5, 5, False),
        (found.busy_25, 25, False),
        (found.quarter_5, 5, True),
        (found.quarter_25, 25, True),
    ):
        if not path.is_file():
            _encode(path, origin, fps, quarter)
        advance()
    return found


def paths(origin: Path, cache: Path) -> Clips:
    """Where the clips made of ``origin`` are, or will be: their names tell what they were made of."""
    key = f"{_VERSION}-{sha256(origin)[:12]}"
    return Clips(*(cache / f"{kind}-{fps}-{key}.mp4" for kind in ("busy", "quarter") for fps in (5, 25)))


def access_units(clip: Path, folder: Path) -> dict[str, Any]:
    """A clip's H.264 as the RTSP server is fed with it: one file in Annex B, and where each unit lies."""
    data = folder / f"{clip.stem}.h264"
    units: list[list[int]] = []
    offset = 0
    with av.open(str(clip)) as container, data.open("wb") as stream_out:
        stream = container.streams.video[0]
        annex_b = BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in container.demux(stream):
            for unit in annex_b.filter(packet):
                if unit.size:
                    stream_out.write(bytes(unit))
                    units.append([offset, unit.size, int(unit.is_keyframe)])
                    offset += unit.size
        return {"data": str(data), "units": units, "fps": float(stream.average_rate or _SOURCE_FPS)}


def feed(clip: Path, folder: Path) -> Path:
    """What the RTSP server reads: JSON with the access units of one clip."""
    path = folder / f"{clip.stem}.json"
    path.write_text(json.dumps(access_units(clip, folder)), encoding="utf-8")
    return path


def _encode(path: Path, origin: Path, fps: int, quarter: bool) -> None:
    random = np.random.default_rng(SEED)
    grain = [random.normal(0, _GRAIN, (SIZE_PX[1], SIZE_PX[0], 3)).astype(np.int16) for _ in range(7)]
    with atomic_write(path, _KEEP) as partial, av.open(str(partial), "w", format="mp4") as container:
        options = {
            "preset": "veryfast",
            "bf": "0",
            "g": str(_GOP_S * fps),
            "sc_threshold": "0",
            "threads": "1",
        }
        stream = container.add_stream("libx264", rate=Fraction(fps), options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = *SIZE_PX, "yuv420p"
        stream.bit_rate = _BITS_PER_S[fps]
        for number, picture in enumerate(_pictures(origin, fps, quarter)):
            noisy = np.asarray(cv2.add(picture, grain[number % len(grain)], dtype=cv2.CV_8U))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, format="rgb24")))
        container.mux(stream.encode())


def _busiest_s(origin: Path) -> float:
    """Where the ``MOVES_S`` seconds begin in which the clip's pictures differ most from each other; 0 in a
    shorter clip."""
    lumas: list[npt.NDArray[np.int16]] = []
    with open_source(str(origin)) as source:
        for picture in source:
            if picture.time.camera_time_s + 1e-3 >= len(lumas) / _LOOKS_PER_S:
                luma = cv2.resize(picture.planes[0], _LUMA_PX, interpolation=cv2.INTER_AREA)
                lumas.append(luma.astype(np.int16))
    change = [float(np.abs(two - one).mean()) for one, two in pairwise(lumas)]
    window = MOVES_S * _LOOKS_PER_S
    if len(change) <= window:
        return 0.0
    return int(np.convolve(change, np.ones(window), "valid").argmax()) / _LOOKS_PER_S


def _pictures(origin: Path, fps: int, quarter: bool) -> Iterator[U8]:
    """RGB at ``fps`` for one period; the clip is read from its start again where it is shorter."""
    wanted = PERIOD_S * fps
    moving = MOVES_S * fps if quarter else wanted
    place = Preprocess("stretch", SIZE_PX)
    from_s = _busiest_s(origin) if quarter else 0.0
    given = 0
    last: U8 | None = None
    while given < moving:
        due_s, before = from_s, given
        with open_source(str(origin)) as source:
            for picture in source:
                if picture.time.camera_time_s + 1e-3 < due_s:
                    continue
                due_s += 1 / fps
                last = place(picture)[1][0]
                yield last
                given += 1
                if given == moving:
                    break
        if given == before:
            raise EdgesegError(f"{origin}: has no pictures")
    while given < wanted and last is not None:
        yield last
        given += 1
