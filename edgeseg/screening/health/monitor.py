"""Whether a camera's pictures can be measured at all: frozen, dark, blown out, blurred, covered, moved.

A few times a second a decoded picture is looked at, on its luma plane at 160 pixels across. What is wrong
with it has to last before the camera's state says so, and to be over for a while before it is well again.
Pictures in between are in doubt: they are not analysed, so that no number ever comes from one.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeseg.frames import Picture, PictureFault, PictureHealth, Transform
from edgeseg.geometry.view_registration import IDENTITY, Edges, moved_zones, share_in_picture, view_of
from edgeseg.screening.health.baseline import Difference, PictureBaseline
from edgeseg.screening.health.drift import DriftGuard, ReferenceView
from edgeseg.screening.health.measures import PictureMeasures, measure_picture
from edgeseg.screening.health.repetition import RepetitionDetector
from edgeseg.settings import CameraSettings, HealthSettings, ZoneSettings

_LOOK_EVERY_S = 0.2
# Somebody who walks past the lens covers it, too.
_LASTS_S = 2.0
# As long as it takes to average some views; a pan that goes on is not yet at its end.
_MOVED_LASTS_S = 5.0
_WELL_AFTER_S = 3.0

_DARK = 24.0
_WHITE = 0.6
_LOST = 0.45
_BLUNT = 0.3
_LEAST_CONTRAST = 40.0
_SUSPICIOUS = 0.6
_STAYS_IN_PICTURE = 0.8

_WORDS = {
    "dark": "nothing in it is brighter than a tenth of white",
    "blown_out": "most of it is white",
    "blurred": "its fine detail is gone",
    "covered": "most of what is usually seen is hidden",
}


@dataclass(frozen=True, slots=True)
class HealthOrder:
    """What the checks have to know of their camera; it pickles. references: views learned earlier."""

    settings: HealthSettings
    zones: tuple[ZoneSettings, ...]
    references: tuple[ReferenceView, ...] = ()


def health_order(camera: CameraSettings, references: tuple[ReferenceView, ...] = ()) -> HealthOrder | None:
    """What the camera's settings ask for; None for no checks."""
    return None if camera.health is None else HealthOrder(camera.health, camera.zones, references)


class Health:
    """Judges the pictures of one connection to one camera. Single-threaded.

    verdict: changes when something has lasted. doubtful: whether the picture looked at last must not be
    measured, for a reason that the verdict may not know yet.
    """

    def __init__(self, order: HealthOrder) -> None:
        self.verdict = PictureHealth()
        self.doubtful = False
        self._settings = order.settings
        self._zones = order.zones
        self._repetition = RepetitionDetector()
        self._references = {reference.grey: reference for reference in order.references}
        self._usual: dict[bool, PictureBaseline] = {}
        self._drift: dict[bool, DriftGuard] = {}
        self._at: Transform | None = None
        self._looked_s: float | None = None
        self._sign: PictureFault | None = None
        self._sign_s = 0.0
        self._well_s: float | None = None

    @property
    def zones(self) -> tuple[ZoneSettings, ...]:
        """The zones where they are now."""
        return moved_zones(self._zones, self._at)

    def look(self, picture: Picture, time_s: float) -> bool:
        """Look at a decoded picture, if it is time to. time_s: camera time. Returns whether ``verdict`` is
        another one than before."""
        if self._looked_s is not None and 0 <= time_s - self._looked_s < _LOOK_EVERY_S - 1e-3:
            return False
        self._looked_s = time_s
        before, look = self.verdict, measure_picture(picture)
        self._judge(self._sign_of(picture, look, time_s), look.grey, time_s)
        return self.verdict != before

    def take_learned(self) -> ReferenceView | None:
        """A view that was learned since, once: for the next process."""
        for guard in self._drift.values():
            learned, guard.learned = guard.learned, None
            if learned is not None:
                return learned
        return None

    def _sign_of(self, picture: Picture, look: PictureMeasures, time_s: float) -> PictureFault | None:
        settings = self._settings
        self._repetition.note(look.luma, time_s)
        if look.high < _DARK:
            return "dark" if settings.dark else None
        if look.white > _WHITE:
            return "blown_out" if settings.blown_out else None
        edges = Edges(look.luma)
        usual = self._usual.setdefault(look.grey, PictureBaseline())
        difference = usual.compare(look, edges)
        sign = self._unlike_usual(look, difference)
        if settings.tolerance is not None:
            guard = self._guard(look.grey, settings.tolerance)
            unlike = sign is not None or (difference is not None and difference.alike < _SUSPICIOUS)
            guard.look(lambda: view_of(picture), time_s, suspicious=unlike)
            if guard.moved is not None:
                return "moved"
        if sign is None and self._is_frozen(time_s):
            sign = "frozen"
        if sign is None:
            usual.learn(look, edges, difference, time_s)
        return sign

    def _unlike_usual(self, look: PictureMeasures, difference: Difference | None) -> PictureFault | None:
        settings = self._settings
        if difference is None:
            # A scene without edges, a plain floor, cannot be told from a cover.
            return None
        blunt = difference.fine < _BLUNT and difference.sharpness < _BLUNT
        if difference.lost > _LOST:
            return "covered" if settings.covered else None
        if blunt and look.high - look.low >= _LEAST_CONTRAST:
            return "blurred" if settings.blurred else None
        return None

    def _is_frozen(self, time_s: float) -> bool:
        since_s, frozen_s = self._repetition.since_s, self._settings.frozen_s
        return frozen_s is not None and since_s is not None and time_s - since_s >= frozen_s - 1e-3

    def _guard(self, grey: bool, tolerance: float) -> DriftGuard:
        if grey not in self._drift:
            guard = DriftGuard(tolerance, self._references.get(grey), grey=grey)
            if grey not in self._references and (not grey) in self._drift:
                # Night falls on a view that was followed.
                guard.begin_where(self._drift[not grey])
            self._drift[grey] = guard
        return self._drift[grey]

    def _judge(self, sign: PictureFault | None, grey: bool, time_s: float) -> None:
        self.doubtful = sign is not None or self.verdict.state is not None
        if sign is None:
            self._sign = None
            if self.verdict.state is None:
                if self._at != self._followed(grey):
                    # An earlier process had followed it.
                    self._at = self._followed(grey)
                    self.verdict = PictureHealth(transform=self._at)
                return
            self._well_s = time_s if self._well_s is None or time_s < self._well_s else self._well_s
            # What shows something new is not frozen any more.
            after_s = 0.0 if self.verdict.state == "frozen" else _WELL_AFTER_S
            if time_s - self._well_s >= after_s - 1e-3:
                self._at = self._followed(grey)
                self.verdict = PictureHealth(transform=self._at)
                self.doubtful = False
            return
        self._well_s = None
        if sign != self._sign or time_s < self._sign_s:
            self._sign, self._sign_s = sign, time_s
        lasts_s = 0.0 if sign == "frozen" else _MOVED_LASTS_S if sign == "moved" else _LASTS_S
        if time_s - self._sign_s < lasts_s - 1e-3:
            return
        if sign == "moved":
            self._say_moved(self._drift[grey], time_s)
        elif self.verdict.state != sign:
            self.verdict = PictureHealth(sign, self._reason(sign), self.verdict.transform)

    def _reason(self, sign: PictureFault) -> str:
        if sign == "frozen":
            return f"only repeated pictures for {self._settings.frozen_s:g} s"
        return _WORDS[sign]

    def _say_moved(self, guard: DriftGuard, time_s: float) -> None:
        moved = guard.moved
        assert moved is not None
        if self._settings.follow and guard.settled and self._all_stay(moved):
            guard.follow()
            self._usual.clear()
            self._sign = None
            self._at = _unless_none(guard.followed)
            self.verdict = PictureHealth(transform=self._at)
            self.doubtful = False
            return
        told = self.verdict.transform
        if self.verdict.state != "moved" or told is None or _apart(told, moved) > guard.tolerance / 2:
            self.verdict = PictureHealth("moved", f"the view moved: {moved}", moved)

    def _all_stay(self, moved: Transform) -> bool:
        return all(share_in_picture(zone) >= _STAYS_IN_PICTURE for zone in moved_zones(self._zones, moved))

    def _followed(self, grey: bool) -> Transform | None:
        guard = self._drift.get(grey)
        return self._at if guard is None else _unless_none(guard.followed)


def _unless_none(transform: Transform) -> Transform | None:
    return None if transform == IDENTITY else transform


def _apart(one: Transform, other: Transform) -> float:
    """About by how much the two differ, as a share of the picture's width or height."""
    return max(abs(a - b) for a, b in zip(one.matrix, other.matrix, strict=True))
