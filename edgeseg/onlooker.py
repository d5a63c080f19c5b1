"""Who looks at analysed pictures: a page that somebody watches, whoever keeps pictures of alerts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edgeseg.frames import Event, Frame, LabelMap
from edgeseg.rules import Dwell


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
