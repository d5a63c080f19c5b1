"""Clip recorder: makes clips of a camera's packets, several at a time, while they arrive."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from edgeseg.capture.clip_request import ClipRequest
from edgeseg.sources.packets import BufferedPacket, ClipError, ClipWriter, PacketRing

# Each may take tens of megabytes of this process's memory.
MOST_AT_ONCE = 2
# How much later than the event a request may arrive: the picture was analysed first, and while nothing
# moves this process reads messages only between two keyframes.
LATE_S = 5.0

OpenClip = Callable[[str], ClipWriter]
"""Takes the file's comment and returns a clip that was not begun."""
Done = Callable[[str, "int | None"], None]
"""Takes an alert's id and a descriptor of its clip, which stays the recorder's; None where there is none."""


@dataclass(slots=True)
class _OpenClip:
    request: ClipRequest
    writer: ClipWriter


class ClipRecorder:
    """Buffers the newest packets, for clips that begin ``before_s`` before now. Single-threaded.

    Args:
        before_s: how far back clips begin.
        open_clip: makes a writer of the source's packets.
        done: is called with each clip, or with None where it failed.
    """

    def __init__(self, before_s: float, open_clip: OpenClip, done: Done) -> None:
        self._ring = PacketRing(before_s + LATE_S)
        self._open_clip = open_clip
        self._done = done
        self._open_clips: list[_OpenClip] = []

    def add(self, packet: BufferedPacket) -> None:
        """Add the next packet to the buffer and to the clips that are open."""
        self._ring.add(packet)
        for clip in list(self._open_clips):
            try:
                clip.writer.add(packet)
            except ClipError:
                self._give_up(clip)
                continue
            if packet.at_s >= clip.request.at_s + clip.request.after_s or clip.writer.full:
                self._finish(clip)

    def start_clip(self, request: ClipRequest) -> None:
        """Begin a clip. It is finished when its time is over, or when the packets end."""
        packets = self._ring.since(request.at_s - request.before_s)
        if not packets or len(self._open_clips) == MOST_AT_ONCE:
            self._done(request.alert_id, None)
            return
        clip = _OpenClip(request, self._open_clip(request.comment))
        self._open_clips.append(clip)
        try:
            clip.writer.begin(packets)
        except ClipError:
            self._give_up(clip)

    def finish(self) -> None:
        """Finish all open clips: no more packets arrive."""
        for clip in list(self._open_clips):
            self._finish(clip)

    def _finish(self, clip: _OpenClip) -> None:
        try:
            descriptor = clip.writer.finish()
        except ClipError:
            self._give_up(clip)
            return
        self._open_clips.remove(clip)
        try:
            self._done(clip.request.alert_id, descriptor)
        finally:
            os.close(descriptor)

    def _give_up(self, clip: _OpenClip) -> None:
        self._open_clips.remove(clip)
        clip.writer.abandon()
        self._done(clip.request.alert_id, None)
