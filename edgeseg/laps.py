"""Where the time of a frame goes: whoever wants to know is told when each stage ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

StageName = Literal["infer", "postprocess", "zones", "rules", "publish"]
Lap = Callable[[StageName], None]
"""Called as each stage of one frame ends, in order."""

Timed = Callable[[str, float], Lap]
"""(camera, camera time of the frame) -> what is told of that frame. Called where its analysis begins."""


def untimed(stage: StageName) -> None:
    """Nobody wants to know."""
