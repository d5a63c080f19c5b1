"""Picture cache: the newest analysed picture of each camera, kept and drawn only while a page shows it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Literal

from edgeseg.clock import Clock
from edgeseg.drawing import overlay, video_writer
from edgeseg.drawing.snapshot import Snapshot
from edgeseg.events import Event
from edgeseg.frames import U8, Fit, Frame, LabelMap
from edgeseg.models.model import Model

Overlay = Literal["none", "classes"]

# How long a camera stays watched after a request: longer than a page needs to ask for the next picture.
_WATCHED_S = 5.0
# A gated camera analyses nothing while nothing moves: a page gets one picture a second all the same.
FRESH_S = 1.0


class PictureCache:
    """An observer that keeps the newest picture of each camera that is watched. Thread-safe.

    request_frame: makes a camera analyse its next picture even where nothing moves.
    """

    def __init__(self, clock: Clock, request_frame: Callable[[str], None]) -> None:
        self._clock = clock
        self._request_frame = request_frame
        self._changed = threading.Condition()
        self._watched_until_s: dict[str, float] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._taken_s: dict[str, float] = {}
        self._asked_s: dict[str, float] = {}
        self._versions: dict[str, int] = {}
        self._fits: dict[str, Fit] = {}
        self._drawn: dict[tuple[str, str], tuple[Snapshot, bytes]] = {}

    def on_frame(self, frame: Frame, label_map: LabelMap, events: tuple[Event, ...]) -> None:
        camera = frame.camera
        self._fits[camera] = frame.fit
        until_s = self._watched_until_s.get(camera)
        if until_s is None:
            return
        now_s = self._clock.monotonic_s()
        if now_s > until_s:
            with self._changed:
                self._forget(camera)
            return
        version = self._versions.get(camera, 0) + 1
        snapshot = Snapshot.of(frame, label_map, version)
        with self._changed:
            self._versions[camera] = version
            self._snapshots[camera] = snapshot
            self._taken_s[camera] = now_s
            self._changed.notify_all()

    def watch(self, camera: str) -> None:
        """A page shows the camera now. Request a frame where the newest is a second old."""
        now_s = self._clock.monotonic_s()
        with self._changed:
            self._watched_until_s[camera] = now_s + _WATCHED_S
            newest_s = max(self._taken_s.get(camera, 0.0), self._asked_s.get(camera, 0.0))
            old = now_s - newest_s >= FRESH_S
            if old:
                self._asked_s[camera] = now_s
        if old:
            self._request_frame(camera)

    def version(self, camera: str) -> int:
        """Of the newest picture; 0 where there is none."""
        snapshot = self._snapshots.get(camera)
        return 0 if snapshot is None else snapshot.version

    def newest(self, camera: str, after: int = 0, timeout_s: float = 0.0) -> Snapshot | None:
        """The newest picture, waited for where there is none beyond version ``after``; None after that."""
        with self._changed:
            self._changed.wait_for(lambda: self.version(camera) > after, timeout_s)
            snapshot = self._snapshots.get(camera)
            return snapshot if snapshot is not None and snapshot.version > after else None

    def age_s(self, camera: str) -> float | None:
        """Since the newest picture was analysed."""
        with self._changed:
            taken_s = self._taken_s.get(camera)
            return None if taken_s is None else self._clock.monotonic_s() - taken_s

    @property
    def picture_sizes_px(self) -> Mapping[str, tuple[int, int]]:
        """Camera -> (width, height) of its pictures, as far as it was analysed."""
        fits = dict(self._fits)
        return {name: (fit.picture_width_px, fit.picture_height_px) for name, fit in fits.items()}

    def jpeg(self, snapshot: Snapshot, model: Model, shown: Overlay) -> bytes:
        """The picture, drawn once for all who ask."""
        return self._once(snapshot, shown, lambda: _jpeg(snapshot, model.palette, shown))

    def labels_png(self, snapshot: Snapshot, model: Model) -> bytes:
        """The label map over the whole picture at its own scale, as palette PNG."""
        return self._once(snapshot, "labels", lambda: _labels_png(snapshot, model.palette))

    def tidy(self) -> None:
        """Forget the pictures of cameras that no page shows any more."""
        now_s = self._clock.monotonic_s()
        with self._changed:
            for camera in [name for name, until_s in self._watched_until_s.items() if now_s > until_s]:
                self._forget(camera)

    def _forget(self, camera: str) -> None:
        for kept in (self._watched_until_s, self._snapshots, self._taken_s, self._asked_s):
            kept.pop(camera, None)
        for key in [key for key in self._drawn if key[0] == camera]:
            del self._drawn[key]

    def _once(self, snapshot: Snapshot, what: str, draw: Callable[[], bytes]) -> bytes:
        key = (snapshot.frame.camera, what)
        known = self._drawn.get(key)
        if known is not None and known[0] is snapshot:
            return known[1]
        made = draw()
        with self._changed:
            if self._snapshots.get(snapshot.frame.camera) is snapshot:
                self._drawn[key] = (snapshot, made)
        return made


def _jpeg(snapshot: Snapshot, palette: U8, shown: Overlay) -> bytes:
    picture = overlay.picture_of(snapshot.frame)
    if shown == "classes":
        picture = overlay.render(picture, snapshot.label_map, palette)
    return overlay.encode_jpeg(picture)


def _labels_png(snapshot: Snapshot, palette: U8) -> bytes:
    fit, columns = snapshot.label_map.fit, snapshot.label_map.labels.shape[2]
    scale = max(view.place.width / view.crop.width * columns / fit.input_width_px for view in fit.views)
    size_px = (
        max(1, round(fit.picture_width_px * scale)),
        max(1, round(fit.picture_height_px * scale)),
    )
    return video_writer.encode_labels(overlay.labels_on_picture(snapshot.label_map, size_px), palette)
