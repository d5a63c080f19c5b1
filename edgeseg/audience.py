"""Who is shown what cameras do, beside the publisher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeseg.laps import Timed
from edgeseg.onlooker import Onlooker
from edgeseg.pipeline import Observed


@dataclass(frozen=True, slots=True)
class Audience:
    """onlookers: are shown each analysed picture. observed: is shown all that any camera's rules are shown.
    timed: is told when each stage of a frame ends."""

    onlookers: Sequence[Onlooker] = ()
    observed: Observed | None = None
    timed: Timed | None = None


NOBODY = Audience()
