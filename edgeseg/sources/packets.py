"""Packets of a camera: a ring of the newest, and clips that are made of them without decoding."""

from __future__ import annotations

import fcntl
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import FileIO
from itertools import chain
from math import ceil
from typing import Any, Literal

import av
import av.error
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

# Ten seconds of 20 Mbit/s; what is more goes from the old end.
MOST_RING_BYTES = 24 * 1024 * 1024
# A clip is as long as fits into this. It lies in memory until the daemon has copied it.
MOST_CLIP_BYTES = 48 * 1024 * 1024
# Timestamps that leap by more belong to another timeline, and go on where the one before ended.
_LEAP_S = 5.0
# Matroska counts milliseconds.
_LEAST_STEP_S = Fraction(1, 1000)
_FORMATS = {"mp4": "mp4", "mkv": "matroska"}
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


@dataclass(frozen=True, slots=True)
class BufferedPacket:
    """One packet, still compressed. pts, dts: in units of ``time_base``. at_s: monotonic, when it came."""

    data: bytes
    pts: int | None
    dts: int | None
    time_base: Fraction
    key: bool
    at_s: float

    @classmethod
    def of(cls, packet: Packet[Any], at_s: float) -> BufferedPacket:
        time_base = packet.time_base or Fraction(1, 90_000)
        return cls(bytes(packet), packet.pts, packet.dts, time_base, packet.is_keyframe, at_s)


class PacketRing:
    """The packets of the last ``keep_s`` seconds and what it takes to decode the first of these: it begins
    with a keyframe, and goes back at least that far as soon as there has been that much, unless that is more
    than ``most_bytes``."""

    def __init__(self, keep_s: float, most_bytes: int = MOST_RING_BYTES) -> None:
        self._keep_s = keep_s
        self._most_bytes = most_bytes
        self._bytes = 0
        # Each begins with a keyframe.
        self._groups: deque[list[BufferedPacket]] = deque()

    @property
    def size_bytes(self) -> int:
        return self._bytes

    def add(self, packet: BufferedPacket) -> None:
        if packet.key:
            self._groups.append([packet])
        elif self._groups:
            self._groups[-1].append(packet)
        else:
            return
        self._bytes += len(packet.data)
        until_s = packet.at_s - self._keep_s
        while len(self._groups) > 1 and self._groups[1][0].at_s <= until_s:
            self._drop()
        while self._bytes > self._most_bytes:
            self._drop()

    def since(self, begin_s: float) -> list[BufferedPacket]:
        """From the last keyframe at or before ``begin_s``, or the first there is after it."""
        first = 0
        for number, group in enumerate(self._groups):
            if group[0].at_s <= begin_s:
                first = number
        return list(chain.from_iterable(list(self._groups)[first:]))

    def _drop(self) -> None:
        self._bytes -= sum(len(packet.data) for packet in self._groups.popleft())


class ClipWriter:
    """Muxes packets into a file in memory. They raise ``ClipError`` for a stream that no file holds.

    stream: the packets' own; its source has to stay open. comment: written into its metadata.
    """

    def __init__(self, stream: VideoStream, comment: str) -> None:
        self._template = stream
        self._comment = comment
        self._output: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._memory = -1
        self._file: FileIO | None = None
        self._last_dts: int | None = None
        self._step = 1
        self._offset = 0
        self._size_bytes = 0

    @property
    def full(self) -> bool:
        return self._size_bytes >= MOST_CLIP_BYTES

    def begin(self, packets: Sequence[BufferedPacket]) -> None:
        """Open the file and write what was kept; the first is a keyframe."""
        self._memory = os.memfd_create("edgeseg-clip", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self._file = os.fdopen(os.dup(self._memory), "w+b", buffering=0)
        try:
            kind = _FORMATS[suffix_of(self._template.codec_context.name)]
            self._output = av.open(self._file, "w", format=kind)
            self._output.metadata["comment"] = self._comment
            self._stream = self._output.add_stream_from_template(self._template)
            # MP4 would count in whole pictures where a camera declares a low rate.
            self._stream.time_base = packets[0].time_base
        except (av.error.FFmpegError, ValueError, OSError) as error:
            raise ClipError(type(error).__name__) from None
        for packet in packets:
            self.add(packet)

    def add(self, packet: BufferedPacket) -> None:
        assert self._output is not None, "begin the clip first"
        assert self._stream is not None, "begin the clip first"
        if self.full:
            return
        again = Packet(packet.data)
        again.time_base = packet.time_base
        again.is_keyframe = packet.key
        again.dts, again.pts = self._times(packet)
        again.stream = self._stream
        try:
            self._output.mux_one(again)
        except (av.error.FFmpegError, ValueError, OSError) as error:
            raise ClipError(type(error).__name__) from None
        self._size_bytes += len(packet.data)

    def finish(self) -> int:
        """Close the file. Returns its descriptor, sealed against changes. Raises ClipError."""
        assert self._output is not None, "begin the clip first"
        try:
            self._output.close()
            self._close_file()
            fcntl.fcntl(self._memory, fcntl.F_ADD_SEALS, _SEALS)
        except (av.error.FFmpegError, ValueError, OSError) as error:
            self.abandon()
            raise ClipError(type(error).__name__) from None
        memory, self._memory = self._memory, -1
        return memory

    def abandon(self) -> None:
        """Give the memory back. Idempotent."""
        self._close_file()
        memory, self._memory = self._memory, -1
        if memory >= 0:
            os.close(memory)

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()

    def _times(self, packet: BufferedPacket) -> tuple[int, int]:
        """dts and pts that a file can hold: from 0, ever increasing, without leaps."""
        declared = packet.dts if packet.dts is not None else packet.pts
        if self._last_dts is None:
            self._offset = -(declared or 0)
            dts = 0
        else:
            expected = self._last_dts + self._step
            dts = expected if declared is None else declared + self._offset
            if abs(dts - expected) * packet.time_base > _LEAP_S:
                self._offset += expected - dts
                dts = expected
            dts = max(dts, self._last_dts + ceil(_LEAST_STEP_S / packet.time_base))
            self._step = dts - self._last_dts
        self._last_dts = dts
        pts = dts if packet.pts is None else packet.pts + self._offset
        return dts, max(pts, dts)


class ClipError(Exception):
    """The packets cannot be written into a file."""


# What browsers play in MP4, by libav's names. All others go into Matroska, which takes nearly everything.
_IN_MP4 = frozenset({"h264", "hevc", "av1"})


def suffix_of(codec: str) -> Literal["mp4", "mkv"]:
    """Return the suffix of a clip with packets of this codec."""
    return "mp4" if codec in _IN_MP4 else "mkv"
