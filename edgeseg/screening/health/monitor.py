"""Health monitor: detects frozen, dark, blown out, blurred, covered and moved pictures.

A few times a second it checks a decoded picture, on its luma plane at 160 pixels across. A fault has to last
before it becomes the camera's state, and to be gone for a while before the camera is healthy again. Pictures
in between are suspect: they are not analysed, so that no number ever comes from one.
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

_CHECK_EVERY_S = 0.2
# A person who walks past the lens covers it, too.
_LASTS_S = 2.0
# As long as it takes to average some views; a pan that goes on is not yet at its end.
_MOVED_LASTS_S = 5.0
_HEALTHY_AFTER_S = 3.0

_DARK = 24.0
_WHITE = 0.6
_LOST = 0.45
_BLUNT = 0.3
_LEAST_CONTRAST = 40.0
_SUSPICIOUS = 0.6
_STAYS_IN_PICTURE = 0.8

_REASONS = {
    "dark": "nothing in it is brighter than a tenth of white",
    "blown_out": "most of it is white",
    "blurred": "its fine detail is gone",
    "covered": "most of what is usually seen is hidden",
}


@dataclass(frozen=True, slots=True)
class HealthMonitorSettings:
    """Settings of one camera's health monitor; they pickle. references: views learned earlier."""

    settings: HealthSettings
    zones: tuple[ZoneSettings, ...]
    references: tuple[ReferenceView, ...] = ()


def health_monitor_settings(
    camera: CameraSettings, references: tuple[ReferenceView, ...] = ()
) -> HealthMonitorSettings | None:
    """What the camera's settings ask for; None for no checks."""
    return None if camera.health is None else HealthMonitorSettings(camera.health, camera.zones, references)


class HealthMonitor:
    """Checks the pictures of one connection to one camera. Single-threaded.

    health: changes when a fault has lasted or has been gone long enough. suspect: whether the picture checked
    last must not be measured, for a reason that ``health`` may not have yet.
    """

    def __init__(self, order: HealthMonitorSettings) -> None:
        self.health = PictureHealth()
        self.suspect = False
        self._settings = order.settings
        self._zones = order.zones
        self._repetition = RepetitionDetector()
        self._references = {reference.grey: reference for reference in order.references}
        self._baselines: dict[bool, PictureBaseline] = {}
        self._drift: dict[bool, DriftGuard] = {}
        self._at: Transform | None = None
        self._checked_s: float | None = None
        self._fault: PictureFault | None = None
        self._fault_s = 0.0
        self._healthy_s: float | None = None

    @property
    def zones(self) -> tuple[ZoneSettings, ...]:
        """The zones, moved to where the camera sees them now."""
        return moved_zones(self._zones, self._at)

    def update(self, picture: Picture, time_s: float) -> bool:
        """Check a decoded picture if a check is due. time_s: camera time.

        Returns whether ``health`` has changed.
        """
        if self._checked_s is not None and 0 <= time_s - self._checked_s < _CHECK_EVERY_S - 1e-3:
            return False
        self._checked_s = time_s
        before, measures = self.health, measure_picture(picture)
        self._apply(self._fault_of(picture, measures, time_s), measures.grey, time_s)
        return self.health != before

    def take_learned_view(self) -> ReferenceView | None:
        """Return a view that was learned since the last call, for the next process, or None."""
        for guard in self._drift.values():
            learned, guard.learned = guard.learned, None
            if learned is not None:
                return learned
        return None

    def _fault_of(self, picture: Picture, measures: PictureMeasures, time_s: float) -> PictureFault | None:
        settings = self._settings
        self._repetition.add(measures.luma, time_s)
        if measures.high < _DARK:
            return "dark" if settings.dark else None
        if measures.white > _WHITE:
            return "blown_out" if settings.blown_out else None
        edges = Edges(measures.luma)
        baseline = self._baselines.setdefault(measures.grey, PictureBaseline())
        difference = baseline.compare(measures, edges)
        fault = self._unlike_baseline(measures, difference)
        if settings.tolerance is not None:
            guard = self._guard(measures.grey, settings.tolerance)
            unlike = fault is not None or (difference is not None and difference.alike < _SUSPICIOUS)
            guard.update(lambda: view_of(picture), time_s, suspicious=unlike)
            if guard.moved is not None:
                return "moved"
        if fault is None and self._is_frozen(time_s):
            fault = "frozen"
        if fault is None:
            baseline.learn(measures, edges, difference, time_s)
        return fault

    def _unlike_baseline(
        self, measures: PictureMeasures, difference: Difference | None
    ) -> PictureFault | None:
        settings = self._settings
        if difference is None:
            # A scene without edges, a plain floor, cannot be distinguished from a cover.
            return None
        blunt = difference.fine < _BLUNT and difference.sharpness < _BLUNT
        if difference.lost > _LOST:
            return "covered" if settings.covered else None
        if blunt and measures.high - measures.low >= _LEAST_CONTRAST:
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
                guard.start_from(self._drift[not grey])
            self._drift[grey] = guard
        return self._drift[grey]

    def _apply(self, fault: PictureFault | None, grey: bool, time_s: float) -> None:
        self.suspect = fault is not None or self.health.state is not None
        if fault is None:
            self._fault = None
            if self.health.state is None:
                if self._at != self._followed(grey):
                    # An earlier process had followed it.
                    self._at = self._followed(grey)
                    self.health = PictureHealth(transform=self._at)
                return
            self._healthy_s = (
                time_s if self._healthy_s is None or time_s < self._healthy_s else self._healthy_s
            )
            # What shows something new is not frozen any more.
            after_s = 0.0 if self.health.state == "frozen" else _HEALTHY_AFTER_S
            if time_s - self._healthy_s >= after_s - 1e-3:
                self._at = self._followed(grey)
                self.health = PictureHealth(transform=self._at)
                self.suspect = False
            return
        self._healthy_s = None
        if fault != self._fault or time_s < self._fault_s:
            self._fault, self._fault_s = fault, time_s
        lasts_s = 0.0 if fault == "frozen" else _MOVED_LASTS_S if fault == "moved" else _LASTS_S
        if time_s - self._fault_s < lasts_s - 1e-3:
            return
        if fault == "moved":
            self._set_moved(self._drift[grey], time_s)
        elif self.health.state != fault:
            self.health = PictureHealth(fault, self._reason(fault), self.health.transform)

    def _reason(self, fault: PictureFault) -> str:
        if fault == "frozen":
            return f"only repeated pictures for {self._settings.frozen_s:g} s"
        return _REASONS[fault]

    def _set_moved(self, guard: DriftGuard, time_s: float) -> None:
        moved = guard.moved
        assert moved is not None
        if self._settings.follow and guard.stable and self._all_stay(moved):
            guard.follow()
            self._baselines.clear()
            self._fault = None
            self._at = _unless_none(guard.followed)
            self.health = PictureHealth(transform=self._at)
            self.suspect = False
            return
        reported = self.health.transform
        if self.health.state != "moved" or reported is None or _apart(reported, moved) > guard.tolerance / 2:
            self.health = PictureHealth("moved", f"the view moved: {moved}", moved)

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
