"""Drift guard: checks that the view is still the one that the zones were drawn on.

The view of the first healthy seconds is saved, over restarts too, and later ones are registered with it:
when the picture looks unlike what is usual at once, else twice a minute. Of several views the
median is taken, so that what moves through the scene is gone.
"""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from edgeseg.frames import U8, Transform
from edgeseg.geometry.view_registration import IDENTITY, chained, inverse, register, transform_from

_LEARN_VIEWS = 10
_AVERAGED = 5
_VIEW_EVERY_S = 1.0
_CHECK_EVERY_S = 30.0
_AGAIN_EVERY_S = 10.0
_SUSPECT_EVERY_S = 1.0
# A check costs 30 to 100 ms of CPU; a scene that is always unlike itself gets fewer.
_RESTLESS_EVERY_S = 15.0
_CALM_AFTER_S = 10.0
# A transform is believed where the edges fit far better with it than without, and in a good part of all.
_BETTER_BY = 0.2
_BETTER_TIMES = 1.6
_LEAST_AGREEMENT = 0.3
# Light and seasons change a view until little of it agrees; before that it is learned anew.
_FADED = 0.5
_ANEW_AFTER_S = 3600.0


@dataclass(frozen=True, slots=True)
class ReferenceView:
    """A view that later ones are held against. png: grey, base64. grey: without colour (infrared light).

    moved: matrix of the transform from the view that the zones were drawn on to this one; followed: to where
    the zones are now.
    """

    png: str
    grey: bool
    moved: tuple[float, float, float, float, float, float] = IDENTITY.matrix
    followed: tuple[float, float, float, float, float, float] = IDENTITY.matrix


class DriftGuard:
    """Watches one camera in one kind of light. Single-threaded.

    tolerance: how far a corner may go, as a share of the picture's width. moved: where the zones' ground is
    now, None while within tolerance of ``followed``. learned: a view to keep, once, where there is a new one.
    """

    def __init__(self, tolerance: float, reference: ReferenceView | None, *, grey: bool) -> None:
        self.moved: Transform | None = None
        self.learned: ReferenceView | None = None
        self.followed = IDENTITY
        self.tolerance = tolerance
        self._grey = grey
        self._stored = reference
        self._view: U8 | None = None
        self._pose = self._pose_now = IDENTITY
        self._suspicious = False
        self._recent: deque[U8] = deque(maxlen=_AVERAGED)
        self._learning: list[U8] = []
        self._view_s = float("-inf")
        self._due_s = self._checked_s = self._restless_s = float("-inf")
        self._pause_s = _SUSPECT_EVERY_S
        self._anew_s = float("-inf")

    def update(self, view: Callable[[], U8], time_s: float, *, suspicious: bool) -> None:
        """Check a picture where a check is due.

        view: makes the picture's ``view_of``. suspicious: the picture looks unlike the baseline.
        """
        if time_s < self._view_s:
            self._view_s = self._due_s = self._anew_s = self._checked_s = self._restless_s = float("-inf")
        newly = suspicious and not self._suspicious
        if time_s - self._view_s < _VIEW_EVERY_S - 1e-3 and not newly:
            return
        self._suspicious, self._view_s = suspicious, time_s
        if suspicious:
            self._restless_s = time_s
        elif time_s - self._restless_s >= _CALM_AFTER_S:
            self._pause_s = _SUSPECT_EVERY_S
        if newly:
            self._due_s = min(self._due_s, self._checked_s + self._pause_s)
            # Views from before a nudge and after it are no mean of anything.
            self._recent.clear()
        current = view()
        self._recent.append(current)
        reference = self._reference(current)
        if reference is None:
            if not suspicious:
                self._learn(current)
        elif time_s >= self._due_s:
            self._check(reference, time_s, suspicious=suspicious)

    def start_from(self, other: DriftGuard) -> None:
        """Start where the guard of another kind of light has found the camera and its zones."""
        self.followed = other.followed
        self._pose = self._pose_now = other._pose_now

    def follow(self) -> None:
        """Move the zones to where the view is now."""
        if self.moved is not None:
            self.followed = IDENTITY if self.moved.farthest <= self.tolerance else self.moved
            self.moved = None
            if self._view is not None:
                self._set_reference(self._middle(), self._pose_now)

    def reset(self) -> None:
        """Take the view as it is now for the one that the zones were drawn on."""
        self._view = self._stored = self.moved = None
        self._pose = self.followed = IDENTITY
        self._learning.clear()

    @property
    def stable(self) -> bool:
        """Whether enough views were averaged since the camera last moved."""
        return len(self._recent) >= _AVERAGED

    def _reference(self, like: U8) -> U8 | None:
        if self._view is None and self._stored is not None:
            self._view = _decoded(self._stored.png)
            if self._view is not None:
                aspect = _aspect(like)
                try:
                    self._pose = transform_from(self._stored.moved, aspect)
                    self.followed = transform_from(self._stored.followed, aspect)
                except ValueError:
                    self._view = None
            self._stored = None
        if self._view is not None and self._view.shape != like.shape:
            # Another size of pictures, another crop of the sensor perhaps.
            self.reset()
        return self._view

    def _learn(self, current: U8) -> None:
        self._learning.append(current)
        if len(self._learning) >= _LEARN_VIEWS:
            self._set_reference(_middle(self._learning), self._pose)
            self._learning.clear()

    def _check(self, reference: U8, time_s: float, *, suspicious: bool) -> None:
        found = register(reference, self._middle())
        self._checked_s, self._due_s = time_s, time_s + _CHECK_EVERY_S
        if found is None:
            return
        agreement, transform = found.agreement, IDENTITY
        if agreement >= max(_LEAST_AGREEMENT, min(found.unmoved + _BETTER_BY, _BETTER_TIMES * found.unmoved)):
            transform = found.transform
        self._pose_now = chained(self._pose, transform, _aspect(reference))
        away = chained(inverse(self.followed, _aspect(reference)), self._pose_now, _aspect(reference))
        if away.farthest > self.tolerance:
            self.moved = self._pose_now
            # At first once a second, while views are being averaged; later to see whether it came back.
            self._due_s = time_s + (_AGAIN_EVERY_S if self.stable else _VIEW_EVERY_S)
            return
        self.moved = None
        if suspicious:
            self._due_s = time_s + self._pause_s
            self._pause_s = min(2 * self._pause_s, _RESTLESS_EVERY_S)
        elif agreement < _FADED and self.stable and time_s - self._anew_s >= _ANEW_AFTER_S:
            self._anew_s = time_s
            self._set_reference(self._middle(), self._pose_now)

    def _set_reference(self, view: U8, pose: Transform) -> None:
        self._view, self._pose = view, pose
        self.learned = ReferenceView(_encoded(view), self._grey, pose.matrix, self.followed.matrix)

    def _middle(self) -> U8:
        return _middle(list(self._recent))


def _middle(views: list[U8]) -> U8:
    """Without what was in less than half of the views."""
    return np.asarray(np.median(views, axis=0), np.uint8)


def _aspect(view: U8) -> float:
    return float(view.shape[1] / view.shape[0])


def _encoded(view: U8) -> str:
    return base64.b64encode(cv2.imencode(".png", view)[1].tobytes()).decode("ascii")


def _decoded(png: str) -> U8 | None:
    try:
        data = np.frombuffer(base64.b64decode(png, validate=True), np.uint8)
    except (binascii.Error, ValueError):
        return None
    view = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if data.size else None
    return None if view is None else np.asarray(view, np.uint8)
