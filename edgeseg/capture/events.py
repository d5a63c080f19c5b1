"""Capture events: what ``CaptureProcess.receive`` returns."""

from __future__ import annotations

from dataclasses import dataclass

from edgeseg.capture.shared_memory import AlertClip
from edgeseg.frames import FrameTime
from edgeseg.screening.health.drift import ReferenceView


@dataclass(frozen=True, slots=True)
class NewFrame:
    """A frame can be taken. time: of its picture."""

    time: FrameTime


@dataclass(frozen=True, slots=True)
class StillPicture:
    """A picture was due and nothing in it has moved since an earlier frame.

    confirmed: whether that frame is the one analysed last, so that its label map is valid at this time too.
    """

    time: FrameTime
    confirmed: bool


@dataclass(frozen=True, slots=True)
class UnusablePicture:
    """A picture must not be measured: for the reason in ``CaptureProcess.health``, or it is in doubt yet."""

    time: FrameTime


@dataclass(frozen=True, slots=True)
class ReferenceLearned:
    """A reference view was learned; save it for the next process of this camera."""

    view: ReferenceView


@dataclass(frozen=True, slots=True)
class ClipReady:
    """The clip of an alert is finished. The receiver closes its descriptor."""

    clip: AlertClip


CaptureEvent = NewFrame | StillPicture | UnusablePicture | ReferenceLearned | ClipReady
