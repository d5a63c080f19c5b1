"""V4L2 source: cameras at this machine, by Video4Linux."""

from __future__ import annotations

from edgeseg.clock import Clock
from edgeseg.settings import DecodeName
from edgeseg.sources.decode import Opening
from edgeseg.sources.video_source import VideoSource


class V4l2Source(VideoSource):
    """A capture device such as ``/dev/video0``, at the size and rate it is set to (``v4l2-ctl``)."""

    def __init__(
        self,
        device: str,
        *,
        shown: str | None = None,
        clock: Clock | None = None,
        decode: DecodeName = "software",
    ) -> None:
        opening = Opening(device, shown or device, format="v4l2", decode=decode)
        super().__init__(opening, live=True, clock=clock)
