"""Capture events of one camera: passed to the camera, the scheduler and the stores."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from edgeseg.capture.events import (
    CaptureEvent,
    ClipReady,
    NewFrame,
    ReferenceLearned,
    StillPicture,
    UnusablePicture,
)
from edgeseg.capture.process import CaptureProcess
from edgeseg.frames import FrameTime
from edgeseg.runtime.camera import Camera
from edgeseg.runtime.clip_stream import SaveClip, clip_suffix
from edgeseg.runtime.scheduler import Scheduler, due_s
from edgeseg.screening.health.drift import ReferenceView
from edgeseg.screening.health.reference_store import decode, encode
from edgeseg.settings import CameraSettings
from edgeseg.sources.open import is_finite
from edgeseg.state.reference_views import CameraViews

log = logging.getLogger(__name__)


class CaptureEventHandler:
    """Handles the events of the camera's capture processes, one process after the other. Single-threaded.

    first_frame_s: camera time of the connection's first frame; None before it.

    Args:
        settings: the camera's.
        camera: receives pictures, health and status.
        scheduler: is offered each new frame.
        views: store of the camera's reference views; a clip's are not saved.
        save_clip: is called with clips of alerts; None where none are requested.
    """

    def __init__(
        self,
        settings: CameraSettings,
        camera: Camera,
        scheduler: Scheduler,
        views: CameraViews | None,
        save_clip: SaveClip | None,
    ) -> None:
        self.first_frame_s: float | None = None
        self._settings = settings
        self._camera = camera
        self._scheduler = scheduler
        # A clip is another scene each time.
        finite = settings.source.url is not None and is_finite(settings.source.url.reveal())
        self._views = None if finite else views
        self._save_clip = save_clip
        self._logged_notice: str | None = None

    def references(self) -> tuple[ReferenceView, ...]:
        """Return the reference views that earlier connections learned."""
        if self._views is None:
            return ()
        stored = (decode(body, self._settings.zones) for body in self._views.stored())
        return tuple(view for view in stored if view is not None)

    def begin(self) -> None:
        """Begin another connection."""
        self.first_frame_s = None

    def handle(self, events: Sequence[CaptureEvent], capture: CaptureProcess) -> None:
        """Handle what one ``receive`` returned, nothing included: health and notice may have changed."""
        self._log_notice(capture.notice)
        if not events:
            self._camera.judged(capture.health)
        for event in events:
            self._handle(event, capture)

    def _log_notice(self, notice: str | None) -> None:
        """Log a source's notice once, not at every connect."""
        if notice and notice != self._logged_notice:
            self._logged_notice = notice
            log.warning("camera %s: %s", self._camera.name, notice)

    def _handle(self, event: CaptureEvent, capture: CaptureProcess) -> None:
        camera = self._camera
        match event:
            case NewFrame(time):
                camera.judged(capture.health, time)
                self._schedule(time, capture)
            case StillPicture(time, confirmed):
                camera.judged(capture.health)
                camera.received(time)
                if confirmed:
                    camera.still(time)
            case UnusablePicture(time):
                camera.received(time)
                camera.judged(capture.health, time)
            case ReferenceLearned(view):
                if self._views is not None:
                    self._views.keep(encode(view, self._settings.zones), grey=view.grey)
            case ClipReady(clip):
                assert self._save_clip is not None, "no clip was requested"
                self._save_clip(camera.name, clip, clip_suffix(capture))

    def _schedule(self, time: FrameTime, capture: CaptureProcess) -> None:
        if self.first_frame_s is None:
            self.first_frame_s = time.camera_time_s
            width, height = capture.picture_size_px or (0, 0)
            log.info("camera %s: %d x %d pictures", self._camera.name, width, height)
        self._camera.received(time)
        self._scheduler.offer(self._camera.name, due_s(time.camera_time_s, self._settings.priority))
