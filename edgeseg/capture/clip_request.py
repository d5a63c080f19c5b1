"""What clip of a camera's packets is wished for, and which kind of file it becomes."""

from __future__ import annotations

from dataclasses import dataclass

# As libav calls them: what browsers play in MP4. All others go into Matroska, which takes nearly everything.
_IN_MP4 = frozenset({"h264", "hevc", "av1"})


@dataclass(frozen=True, slots=True)
class TakeClip:
    """Make a clip from ``before_s`` before ``at_s`` (monotonic) until ``after_s`` after it. words: what the
    file is to say of itself."""

    alert_id: str
    at_s: float
    before_s: float
    after_s: float
    words: str
