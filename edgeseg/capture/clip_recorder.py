"""Clips of a camera's packets, several at a time, while they come."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from edgeseg.capture.clip_request import TakeClip
from edgeseg.sources.packets import ClipError, ClipWriter, KeptPacket, PacketRing

# Each may take tens of megabytes of this process's memory.
MOST_AT_ONCE = 2
# How much later than it happened a wish may come: the picture had to be analysed first, and while nothing
# moves this process listens only between two keyframes.
LATE_S = 5.0

OpenClip = Callable[[str], ClipWriter]
"""What the file says of itself -> a clip that was not begun."""
Done = Callable[[str, "int | None"], None]
"""Takes an alert's id and a descriptor of its clip, which stays the recorder's; None where there is none."""


@dataclass(slots=True)
class _UnderWay:
    wish: TakeClip
    writer: ClipWriter


class Recorder:
    """Keeps the newest packets, for clips that begin ``before_s`` before now. The reading thread's."""

    def __init__(self, before_s: float, open_clip: OpenClip, done: Done) -> None:
        self._ring = PacketRing(before_s + LATE_S)
        self._open_clip = open_clip
        self._done = done
        self._under_way: list[_UnderWay] = []

    def add(self, packet: KeptPacket) -> None:
        """The next packet has come."""
        self._ring.add(packet)
        for clip in list(self._under_way):
            try:
                clip.writer.add(packet)
            except ClipError:
                self._give_up(clip)
                continue
            if packet.at_s >= clip.wish.at_s + clip.wish.after_s or clip.writer.full:
                self._finish(clip)

    def take(self, wish: TakeClip) -> None:
        """Begin a clip. It is done when its time is over, or when the packets end."""
        packets = self._ring.since(wish.at_s - wish.before_s)
        if not packets or len(self._under_way) == MOST_AT_ONCE:
            self._done(wish.alert_id, None)
            return
        clip = _UnderWay(wish, self._open_clip(wish.words))
        self._under_way.append(clip)
        try:
            clip.writer.begin(packets)
        except ClipError:
            self._give_up(clip)

    def finish(self) -> None:
        """No packets come any more: what there is of each clip is all there will be."""
        for clip in list(self._under_way):
            self._finish(clip)

    def _finish(self, clip: _UnderWay) -> None:
        try:
            descriptor = clip.writer.finish()
        except ClipError:
            self._give_up(clip)
            return
        self._under_way.remove(clip)
        try:
            self._done(clip.wish.alert_id, descriptor)
        finally:
            os.close(descriptor)

    def _give_up(self, clip: _UnderWay) -> None:
        self._under_way.remove(clip)
        clip.writer.abandon()
        self._done(clip.wish.alert_id, None)
