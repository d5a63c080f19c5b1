"""Keyframe filter: decodes keyframes alone where that is enough, so that no picture comes out broken.

Packets between keyframes are withheld, still compressed, until the next keyframe makes them worthless. When
every picture is needed again, the withheld packets are decoded first: the decoder misses nothing of the chain
that the next picture builds on. Typically there are none, because motion is found in a keyframe.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from typing import Generic, Protocol, TypeVar

# What cameras do between keyframes varies with the scene; the longest of this many counts.
_REMEMBERED = 4
_LEAST_KNOWN = 2
# Timestamps jitter; a keyframe that is later than this times what is allowed is not coming in time.
_PATIENCE = 1.1


class Packet(Protocol):
    """What this file reads of a demuxed packet."""

    @property
    def is_keyframe(self) -> bool: ...
    @property
    def size(self) -> int: ...
    @property
    def pts(self) -> int | None: ...
    @property
    def time_base(self) -> Fraction | None: ...


P = TypeVar("P", bound=Packet)


class Keyframes(Generic[P]):
    """Withholds packets between keyframes while ``within_s`` is set. Belongs to the reading thread.

    within_s: decode keyframes alone as long as they are at most this far apart; None: decode everything.
    interval_s: the longest distance between recent keyframes, None while too few were seen or where
        decoding keyframes alone would not give their pictures.
    rate_fps: packets a second between the last two keyframes, None before.
    """

    def __init__(self) -> None:
        self.within_s: float | None = None
        self.rate_fps: float | None = None
        self._intervals_s: deque[float] = deque(maxlen=_REMEMBERED)
        self._withheld: list[P] = []
        self._key_s: float | None = None
        self._key_pts_s: float | None = None
        self._since_key = 0
        self._immediate = False

    @property
    def interval_s(self) -> float | None:
        if not self._immediate or len(self._intervals_s) < _LEAST_KNOWN:
            return None
        return max(self._intervals_s)

    @property
    def longest_s(self) -> float | None:
        """The longest distance between recent keyframes; None before the second."""
        return max(self._intervals_s, default=None)

    def admit(self, packet: P, now_s: float) -> Sequence[P]:
        """What to decode now; only the picture of the last packet is used. now_s: monotonic."""
        pts_s = _pts_s(packet)
        if packet.size and packet.is_keyframe:
            self._measure(pts_s, now_s)
            self._withheld.clear()
            return (packet,)
        self._since_key += 1
        if packet.size and self._may_wait(pts_s, now_s):
            self._withheld.append(packet)
            return ()
        withheld, self._withheld = self._withheld, []
        return (*withheld, packet)

    def decoded(self, packet: P, whole_pts: Sequence[int | None]) -> None:
        """What came out of the decoder when ``packet`` went in: times of the pictures that are whole.

        With reordered pictures, and from some hardware, a keyframe comes out later; with gradual refresh it
        is not whole. Then keyframes alone are no use.
        """
        if packet.is_keyframe:
            self._immediate = packet.pts is not None and packet.pts in whole_pts

    def _may_wait(self, pts_s: float | None, now_s: float) -> bool:
        if self.within_s is None or self.interval_s is None:
            return False
        longest_s = max(self.interval_s, self._since_key_s(pts_s, now_s))
        return longest_s <= _PATIENCE * self.within_s

    def _measure(self, pts_s: float | None, now_s: float) -> None:
        if self._key_s is not None:
            interval_s = self._since_key_s(pts_s, now_s)
            self._intervals_s.append(interval_s)
            self.rate_fps = (self._since_key + 1) / interval_s if interval_s > 0 else None
        self._key_s, self._key_pts_s, self._since_key = now_s, pts_s, 0

    def _since_key_s(self, pts_s: float | None, now_s: float) -> float:
        """By the clock or by the timestamps, whichever is longer: a clip is read ahead of its time, and a
        camera's timestamps may stand still."""
        elapsed_s = now_s - (self._key_s or now_s)
        if pts_s is None or self._key_pts_s is None:
            return elapsed_s
        return max(elapsed_s, pts_s - self._key_pts_s)


def _pts_s(packet: Packet) -> float | None:
    if packet.pts is None or packet.time_base is None:
        return None
    return float(packet.pts * packet.time_base)
