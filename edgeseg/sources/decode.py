"""Decoder: the only place that decodes. PyAV, one thread, planes without a copy, errors turned into reasons.

PyAV's exceptions and log lines quote the URL with its password. Neither gets out of this file: the log
is switched off, and a ``SourceError`` is raised ``from None`` with the redacted URL.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import av
import av.error
import av.logging
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.stream import VideoStream

from edgeseg.clock import SystemClock, parse_utc
from edgeseg.errors import SourceError, SourceReason
from edgeseg.frames import U8
from edgeseg.settings import DecodeName
from edgeseg.sources.hardware import Codec, OpensHardware, open_hardware
from edgeseg.sources.keyframes import Keyframes
from edgeseg.sources.packets import BufferedPacket, ClipWriter
from edgeseg.system.out_of_memory import is_out_of_memory

av.logging.set_level(None)
av.logging.set_libav_level(av.logging.PANIC)

# Undecodable packets in a row, without a picture: 20 s of a 25 fps stream, as long as the longest usual
# distance between keyframes. Fewer are skipped and counted.
MAX_CORRUPT_IN_A_ROW = 500
# One damaged packet may ask for a picture that no memory holds. When 25 in a row find none there is none.
MAX_WITHOUT_MEMORY_IN_A_ROW = 25

# libav opens text as moving ANSI art; which is never intended.
_NOT_VIDEO = frozenset({"tty"})

# AVCOL_SPC_* and AVCOL_RANGE_* are the code points of ITU-T H.273. Both bt2020 matrices are nearer to
# bt709 than to bt601.
_MATRIX: Mapping[int, Literal["bt601", "bt709"]] = {
    1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 7: "bt709", 9: "bt709", 10: "bt709",
}  # fmt: skip
_FULL_RANGE = 2

_REASONS: tuple[tuple[tuple[type[Exception], ...], SourceReason, str], ...] = (
    (
        (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError),
        "auth",
        "user or password refused; check them in the URL",
    ),
    ((av.error.HTTPNotFoundError,), "not_found", "the server knows no such path; check the URL's path"),
    ((FileNotFoundError,), "not_found", "no such file or device"),
    ((IsADirectoryError, NotADirectoryError), "not_found", "not a file"),
    ((ConnectionRefusedError,), "refused", "connection refused; check host and port"),
    ((PermissionError,), "refused", "no permission to read it"),
    ((ConnectionError, BrokenPipeError), "ended", "the connection broke"),
    ((TimeoutError, av.error.ExitError), "timeout", "no answer in time"),
    ((av.error.DecoderNotFoundError,), "codec", "no decoder for this video"),
    ((av.error.HTTPError,), "refused", "the server refused the request"),
    ((av.error.InvalidDataError, av.error.DemuxerNotFoundError), "codec", "not a video that can be decoded"),
    ((av.error.ProtocolNotFoundError,), "codec", "not a source that can be opened"),
)
# A camera without power or cable: the network answers in its stead.
_NO_ANSWER = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT})


@dataclass(frozen=True, slots=True)
class Opening:
    """What libav is to open. ``target`` may hold a password, ``shown`` never does.

    open_timeout_s is granted twice (connecting, then probing the streams); a read that hangs is noticed
    after up to twice read_timeout_s. None waits for ever. decode: by which decoder; what that one cannot,
    software does.
    """

    target: str
    shown: str
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    open_timeout_s: float | None = None
    read_timeout_s: float | None = None
    decode: DecodeName = "software"


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """One picture as it left the decoder: a ``frames.Picture`` without its camera time. late_s: how long
    libav kept it back at least."""

    planes: tuple[U8, ...]
    layout: Literal["i420", "rgb"]
    full_range: bool
    matrix: Literal["bt601", "bt709"]
    pts_s: float | None
    sender_utc_s: float | None
    late_s: float = 0.0


# Up to PyAV 18 a title that is not UTF-8 makes opening fail unless set otherwise; PyAV 19 copes by itself.
_ANY_METADATA: dict[str, Any] = {"metadata_errors": "replace"} if av.__version__ < "19" else {}


class Decoder:
    """An opened video. ``open``, ``pictures`` and ``close`` belong to one thread: closed from another,
    libav's reader stays blocked for good.

    keyframes: set there to decode keyframes alone. tap: is given each packet, before it is decoded.
    """

    def __init__(self, opening: Opening, opens_hardware: OpensHardware = open_hardware) -> None:
        self.opening = opening
        self._opens_hardware = opens_hardware
        self._codec: Codec | None = None
        self.corrupt_packets = 0
        self._corrupt_in_a_row = self._without_memory_in_a_row = 0
        self.keyframes: Keyframes[Packet[VideoStream]] = Keyframes()
        self._clock = SystemClock()
        self._container: InputContainer | None = None
        self._stream: VideoStream | None = None
        self._sent: tuple[float, int] | None = None
        self.tap: Callable[[BufferedPacket], None] | None = None

    def open(self) -> None:
        """Connect and find the video stream. Raises SourceError."""
        opening = self.opening
        clock = SystemClock()
        started_s = clock.monotonic_s()
        try:
            self._container = av.open(
                opening.target,
                format=opening.format,
                options=dict(opening.options),
                timeout=(opening.open_timeout_s, opening.read_timeout_s),
                **_ANY_METADATA,
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            # libav reports the interrupted probing of a mute server as invalid data.
            took_s = clock.monotonic_s() - started_s
            if opening.open_timeout_s is not None and took_s >= 0.9 * opening.open_timeout_s:
                raise SourceError("timeout", f"{opening.shown}: no answer within {took_s:.1f} s") from None
            raise self._explained(error, "refused") from None
        videos = self._container.streams.video
        if self._container.format.name in _NOT_VIDEO or not videos:
            self.close()
            raise SourceError("codec", f"{opening.shown}: holds no video")
        if videos[0].codec_context is None:
            self.close()
            raise SourceError("codec", f"{opening.shown}: no decoder for this video")
        self._stream = videos[0]
        self._stream.codec_context.thread_count = 1
        self._codec = Codec(opening.decode, self._stream.codec_context, self._opens_hardware)

    def close(self) -> None:
        """Idempotent."""
        if self._container is not None:
            self._container.close()
        self._container = self._stream = self._codec = None

    @property
    def notice(self) -> str | None:
        """One line where the decoder that was asked for does not work and software took its place."""
        refusal = self._codec.refusal if self._codec is not None else None
        return f"{self.opening.shown}: {refusal}" if refusal else None

    @property
    def decoded_by(self) -> DecodeName | None:
        """The decoder in use; None where it is not open."""
        return self._codec.decoded_by if self._codec is not None else None

    @property
    def codec(self) -> str:
        """FFmpeg's name of what the stream is coded in: ``h264``, ``hevc``, ``mjpeg``."""
        _, stream = self._opened()
        return stream.codec_context.codec.canonical_name

    @property
    def declared_duration_s(self) -> float | None:
        """The declared duration; None for an endless stream."""
        container, stream = self._opened()
        declared_s = [container.duration / 1e6 if container.duration else None]
        if stream.duration and stream.time_base:
            declared_s.append(float(stream.duration * stream.time_base))
        # An edit list shortens the one, a longer sound track lengthens the other.
        return min((duration_s for duration_s in declared_s if duration_s), default=None)

    @property
    def rate_fps(self) -> float | None:
        """The declared picture rate; None when the source declares none."""
        _, stream = self._opened()
        return float(stream.average_rate) if stream.average_rate else None

    @property
    def created_at_s(self) -> float | None:
        """The declared creation time, in seconds since the Unix epoch, UTC; None where there is none."""
        container, stream = self._opened()
        text = container.metadata.get("creation_time") or stream.metadata.get("creation_time")
        if not text:
            return None
        try:
            return parse_utc(text)
        except ValueError:
            return None

    def clip_writer(self, comment: str) -> ClipWriter:
        """Return a writer for a clip of this video's packets. comment: written into the file's metadata."""
        return ClipWriter(self._opened()[1], comment)

    def packets(self) -> Iterator[None]:
        """Read to the end without decoding; the tap sees it all. Raises SourceError."""
        for _ in self._arrivals():
            yield

    def pictures(self) -> Iterator[Decoded]:
        """Decode to the end. Raises SourceError."""
        for packet, late_s in self._arrivals():
            due = self.keyframes.admit(packet, self._clock.monotonic_s())
            # What was withheld is decoded for the sake of the newest alone.
            newest = max((number for number, one in enumerate(due) if one.size), default=0)
            for number, one in enumerate(due):
                for frame in self._frames_of(one):
                    if number >= newest:
                        yield replace(self._decoded(frame), late_s=late_s)

    def _arrivals(self) -> Iterator[tuple[Packet[VideoStream], float]]:
        """Each packet, and how long libav kept it back at least. Raises SourceError."""
        container, stream = self._opened()
        packets = container.demux(stream)
        while True:
            asked_s = self._clock.monotonic_s()
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError, ValueError) as error:
                raise self._explained(error, "ended") from None
            if packet is None:
                return
            late_s = self._kept_back_s(asked_s)
            self._save_sender_time(packet)
            if self.tap is not None and packet.size:
                self.tap(BufferedPacket.of(packet, self._clock.monotonic_s() - late_s))
            yield packet, late_s

    def _kept_back_s(self, asked_s: float) -> float:
        """libav's parser holds each packet until the next one begins. When the camera falls silent it gives
        the last one out at the read timeout: a picture that old, not a new one."""
        waited_s = self._clock.monotonic_s() - asked_s
        timeout_s = self.opening.read_timeout_s
        return waited_s if timeout_s is not None and waited_s >= 0.9 * timeout_s else 0.0

    def _frames_of(self, packet: Packet[VideoStream]) -> list[VideoFrame]:
        """None of one that does not decode. Raises SourceError after too many of those."""
        assert self._codec is not None, "the decoder is not open"
        try:
            frames = self._codec.decode(packet)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self.corrupt_packets += 1
            self._corrupt_in_a_row += 1
            self._without_memory_in_a_row = (
                self._without_memory_in_a_row + 1 if is_out_of_memory(error) else 0
            )
            if self._without_memory_in_a_row > MAX_WITHOUT_MEMORY_IN_A_ROW:
                raise self._explained(error, "crashed") from None
            if self._corrupt_in_a_row > MAX_CORRUPT_IN_A_ROW:
                raise SourceError(
                    "codec", f"{self.opening.shown}: {self._corrupt_in_a_row} packets in a row do not decode"
                ) from None
            return []
        if frames:
            self._corrupt_in_a_row = self._without_memory_in_a_row = 0
        self.keyframes.decoded(packet, [frame.pts for frame in frames if frame.key_frame])
        return frames

    def _decoded(self, frame: VideoFrame) -> Decoded:
        name = frame.format.name
        full_range = name.startswith("yuvj") or frame.color_range == _FULL_RANGE
        # Unmarked video: HD is bt709, the rest bt601, as players guess (mpv: vf_format, "auto").
        guess: Literal["bt601", "bt709"] = "bt709" if frame.width >= 1280 or frame.height > 576 else "bt601"
        matrix = _MATRIX.get(frame.colorspace, guess)
        layout: Literal["i420", "rgb"] = "i420"
        if name in ("yuv420p", "yuvj420p"):
            planes = tuple(_plane(plane, 1) for plane in frame.planes[:3])
        elif frame.format.is_rgb or frame.format.has_palette:
            layout = "rgb"
            planes = (_plane(frame.reformat(format="rgb24").planes[0], 3),)
        else:
            # Range to range: only the sampling and the depth may change.
            small = frame.reformat(
                format="yuv420p",
                src_color_range=2 if full_range else 1,
                dst_color_range=2 if full_range else 1,
            )
            planes = tuple(_plane(plane, 1) for plane in small.planes[:3])
        pts_s = float(frame.pts * frame.time_base) if frame.pts is not None and frame.time_base else None
        return Decoded(planes, layout, full_range, matrix, pts_s, self._sender_utc_s(frame))

    def _save_sender_time(self, packet: Packet[VideoStream]) -> None:
        """Sender reports reach us as ``prft`` side data: Unix microseconds, little endian, first 8 bytes."""
        if packet.pts is not None and packet.has_sidedata("prft"):
            report = bytes(packet.get_sidedata("prft"))
            self._sent = (int.from_bytes(report[:8], "little") / 1e6, packet.pts)

    def _sender_utc_s(self, frame: VideoFrame) -> float | None:
        if self._sent is None or frame.pts is None or not frame.time_base:
            return None
        utc_s, pts = self._sent
        return utc_s + float((frame.pts - pts) * frame.time_base)

    def _opened(self) -> tuple[InputContainer, VideoStream]:
        assert self._container is not None, "the decoder is not open"
        assert self._stream is not None, "the decoder is not open"
        return self._container, self._stream

    def _explained(self, error: Exception, otherwise: SourceReason) -> SourceError:
        """Never the exception's own text: it holds the URL with its password."""
        shown = self.opening.shown
        if is_out_of_memory(error):
            return SourceError("crashed", f"{shown}: the decoder was refused memory")
        if getattr(error, "errno", None) in _NO_ANSWER:
            return SourceError(
                "timeout", f"{shown}: the host does not answer; check address, cable and power"
            )
        # PyAV 17 renamed the class of this one.
        if getattr(error, "errno", None) == errno.EINVAL:
            return SourceError("codec", f"{shown}: not a source that can be opened")
        for kinds, reason, meaning in _REASONS:
            if isinstance(error, kinds):
                return SourceError(reason, f"{shown}: {meaning}")
        text = getattr(error, "strerror", None) or type(error).__name__
        return UnclearError(otherwise, f"{shown}: cannot be read: {text}")


class UnclearError(SourceError):
    """libav failed without a reason, as it does for an unknown host and a failed TLS handshake."""


def _plane(plane: VideoPlane, bytes_per_px: int) -> U8:
    """A view of the decoder's buffer, which lives as long as the view; rows may be padded."""
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    inside = rows[:, : plane.width * bytes_per_px]
    return inside if bytes_per_px == 1 else inside.reshape(plane.height, plane.width, bytes_per_px)
