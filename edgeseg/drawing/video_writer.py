"""Video writer: overlay videos (H.264 in MP4, which every browser plays) and label PNGs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from edgeseg.frames import U8

# MP4's usual time base; fine enough for any camera rate.
_TIME_BASE = Fraction(1, 90_000)


class VideoWriter:
    """A context manager that appends RGB pictures at their own times.

    All pictures have the first one's size, less an odd last row or column: H.264 with 4:2:0 colour needs
    even sides. Without a picture no file is left. Raises OSError where it cannot be written.
    """

    def __init__(self, path: Path, rate_fps: float) -> None:
        self._path = path
        self._rate_fps = rate_fps
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._last_pts = -1

    def __enter__(self) -> VideoWriter:
        self._container = av.open(str(self._path), "w", format="mp4")
        return self

    def append(self, picture: U8, time_s: float) -> None:
        """picture: uint8 (h, w, 3) RGB. time_s: from the start of the video, increasing."""
        assert self._container is not None, "use VideoWriter as a context manager"
        if self._stream is None:
            self._stream = self._open_stream(picture)
        frame = av.VideoFrame.from_ndarray(
            picture[: self._stream.height, : self._stream.width].copy(), format="rgb24"
        )
        self._last_pts = max(int(time_s / _TIME_BASE), self._last_pts + 1)
        frame.pts, frame.time_base = self._last_pts, _TIME_BASE
        self._container.mux(self._stream.encode(frame))

    def _open_stream(self, picture: U8) -> VideoStream:
        assert self._container is not None
        rate = Fraction(self._rate_fps).limit_denominator(1000)
        stream = self._container.add_stream("libx264", rate=rate, options={"crf": "23", "preset": "veryfast"})
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = _TIME_BASE
        return stream

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._container is not None
        try:
            if self._stream is not None and kind is None:
                self._container.mux(self._stream.encode())
        finally:
            self._container.close()
        if self._stream is None:
            self._path.unlink(missing_ok=True)


def encode_labels(labels: U8, palette: U8) -> bytes:
    """A palette PNG whose pixel values are the class indices, as data sets keep labels.

    labels: uint8 (h, w). palette: uint8 (classes, 3) RGB.
    """
    argb = np.zeros((256, 4), np.uint8)
    argb[:, 0] = 255
    argb[: len(palette), 1:] = palette
    encoder = av.VideoCodecContext.create("png", "w")
    encoder.height, encoder.width = labels.shape
    encoder.pix_fmt = "pal8"
    encoder.time_base = Fraction(1, 1)
    # PyAV takes the pair for this one format; its type hints leave that out.
    picture = av.VideoFrame.from_ndarray((labels, argb), format="pal8")  # type: ignore[arg-type]
    packets = encoder.encode(picture)
    return b"".join(bytes(packet) for packet in (*packets, *encoder.encode(None)))
