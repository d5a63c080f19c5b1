"""Who may watch a camera work, beside the publisher: pages, evidence, recordings, metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from edgeseg.events import Event, ZoneOccupancy
from edgeseg.frames import Frame, LabelMap
from edgeseg.rules import Dwell

StageName = Literal["infer", "postprocess", "zones", "rules", "publish"]
Lap = Callable[[StageName], None]
"""Called as each stage of one frame ends, in order."""

Timed = Callable[[str, float], Lap]
"""(camera, camera time of the frame) -> what is told of that frame. Called where its analysis begins."""


def untimed(stage: StageName) -> None:
    """Nobody wants to know."""


Observed = Callable[[tuple[ZoneOccupancy, ...]], None]
"""Is shown what the rules of one camera are shown, just before they are: all zones at one moment."""


class Onlooker(Protocol):
    """Is shown each analysed picture with what it gave, in the worker that analysed it.

    Must return at once and not raise, and copy what it keeps: ``frame.views`` belongs to the next picture
    afterwards. One that nobody needs now returns before it touches anything.
    """

    def saw(self, frame: Frame, label_map: LabelMap, events: tuple[Event, ...]) -> None:
        """events: what the picture gave, already published."""


class Witness(Protocol):
    """Keeps pictures of one camera's alerts. Called in the camera's lock, by the rules of ``Onlooker``."""

    def look(
        self,
        dwells: Sequence[Dwell],
        events: Sequence[Event],
        frame: Frame | None,
        label_map: LabelMap | None,
    ) -> None:
        """The rules were shown something. dwells: as they stand now. events: what the rules said, not
        published yet. frame, label_map: None where no picture was analysed: nothing had moved since the one
        before, or there is none."""

    def attest(self, events: Sequence[Event]) -> tuple[Event, ...]:
        """The events, in which alerts name the pictures that are kept of them."""


@dataclass(frozen=True, slots=True)
class Audience:
    """onlookers: are shown each analysed picture. observed: is shown all that any camera's rules are shown.
    timed: is told when each stage of a frame ends."""

    onlookers: Sequence[Onlooker] = ()
    observed: Observed | None = None
    timed: Timed | None = None


NOBODY = Audience()
