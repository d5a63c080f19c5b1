"""Who looks at analysed pictures: a page that somebody watches, pictures kept with alerts."""

from __future__ import annotations

from typing import Protocol

from edgeseg.frames import Event, Frame, LabelMap


class Onlooker(Protocol):
    """Is shown each analysed picture with what it gave, in the worker that analysed it.

    Must return at once and not raise, and copy what it keeps: ``frame.views`` belongs to the next picture
    afterwards. One that nobody needs now returns before it touches anything.
    """

    def saw(self, frame: Frame, label_map: LabelMap, events: tuple[Event, ...]) -> None:
        """events: what the picture gave, already published."""
