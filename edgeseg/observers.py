"""Observers: watch a camera work beside the publisher (pages, evidence, recordings, metrics)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from edgeseg.events import Event, ZoneOccupancy
from edgeseg.frames import Frame, LabelMap
from edgeseg.rules import Dwell

StageName = Literal["infer", "postprocess", "zones", "rules", "publish"]
StageTimer = Callable[[StageName], None]
"""Called as each stage of one frame ends, in order."""

StartTimer = Callable[[str, float], StageTimer]
"""(camera, camera time of the frame in s) -> the timer of that frame. Called as its analysis begins."""

OccupancyObserver = Callable[[tuple[ZoneOccupancy, ...]], None]
"""Called with all zones of one camera at one moment, just before its rules see them."""


def _no_timer(stage: StageName) -> None:
    """Measure nothing."""


NO_TIMER: StageTimer = _no_timer


class FrameObserver(Protocol):
    """Sees each analysed frame with what it gave, in the worker that analysed it.

    Returns at once, does not raise, and copies what it keeps: ``frame.views`` belongs to the next picture
    afterwards. One that has no use for frames now returns before it touches anything.
    """

    def on_frame(self, frame: Frame, label_map: LabelMap, events: tuple[Event, ...]) -> None:
        """events: what the frame gave, already published."""


class EvidenceCollector(Protocol):
    """Keeps pictures of one camera's alerts. Called in the camera's lock, by the rules of ``FrameObserver``.

    It stands apart from the other observers since it changes events: ``annotate``.
    """

    def on_observation(
        self,
        dwells: Sequence[Dwell],
        events: Sequence[Event],
        frame: Frame | None,
        label_map: LabelMap | None,
    ) -> None:
        """The rules have seen one more observation.

        Args:
            dwells: as they stand now.
            events: what the rules gave, not published yet.
            frame, label_map: None where no picture was analysed: nothing has moved since the one before, or
                there is none.
        """

    def annotate(self, events: Sequence[Event]) -> tuple[Event, ...]:
        """Return the events, with the names of the kept pictures in the alerts."""


@dataclass(frozen=True, slots=True)
class Observers:
    """Those of all cameras of a node.

    Args:
        frames: see each analysed frame.
        occupancies: sees all zones that the rules of any camera see; None for none.
        start_timer: times the stages of each frame; None for no timing.
    """

    frames: Sequence[FrameObserver] = ()
    occupancies: OccupancyObserver | None = None
    start_timer: StartTimer | None = None


NO_OBSERVERS = Observers()
