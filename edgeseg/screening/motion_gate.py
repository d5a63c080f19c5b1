"""Motion gate: passes the pictures that show motion, and one every so often.

A picture is compared with the one that was last handed over for analysis, not with the one before it, so
that what moves slowly adds up. A frame that was handed over but not analysed (a newer one took its place,
the camera was switched off) does not count: then it is the last analysed one again.

While nothing moves, only keyframes are decoded, where that delays nothing that matters: they must be no
further apart than 2 s, than ``refresh`` and than half the shortest ``for`` of the camera's rules, and the
stream must have at least half as many pictures again a second as are analysed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgeseg.frames import U8, Picture
from edgeseg.screening.motion import SENSING, MotionMeter
from edgeseg.settings import CameraSettings, GateSettings, ZoneSettings
from edgeseg.sources.base import Source
from edgeseg.sources.keyframes import Keyframes
from edgeseg.sources.video_source import VideoSource

# Below the shortest time after which a camera counts as stale.
_KEYFRAMES_WITHIN_S = 2.0
# Motion rarely comes alone; not for every car of a row is decoding switched over.
_QUIET_AFTER_S = 3.0
_WORTHWHILE_RATE = 1.5
# Frame times are sums of floats.
_ROUNDING_S = 1e-3


@dataclass(frozen=True, slots=True)
class MotionGateSettings:
    """Settings of one camera's motion gate; they pickle."""

    settings: GateSettings
    zones: tuple[ZoneSettings, ...]

    @property
    def keyframes_within_s(self) -> float:
        """How far apart keyframes may be for decoding them alone while nothing moves; 0 for never."""
        if not self.settings.keyframes:
            return 0.0
        half_dwells_s = (min(rule.for_s, rule.clear_s) / 2 for zone in self.zones for rule in zone.rules)
        return min(_KEYFRAMES_WITHIN_S, self.settings.refresh_s, *half_dwells_s)


def motion_gate_settings(camera: CameraSettings) -> MotionGateSettings | None:
    """Return the camera's settings for its gate; None passes every picture that is due."""
    return None if camera.gate is None else MotionGateSettings(camera.gate, camera.zones)


@dataclass(frozen=True, slots=True, eq=False)
class _HandedOver:
    """A frame that was handed over. luma: as ``MotionMeter.shrink`` gives it."""

    number: int
    luma: U8
    time_s: float


class MotionGate:
    """Compares the pictures of one connection to one camera. Single-threaded.

    In the steady state it allocates nothing: the small pictures that it compares are used again.
    reference: number of the frame that the last picture was compared with; None for none.
    """

    def __init__(self, order: MotionGateSettings) -> None:
        self.reference: int | None = None
        self._order = order
        self._meter = MotionMeter(order.zones, SENSING[order.settings.sensitivity])
        self._analysed: _HandedOver | None = None
        self._under_way: dict[int, _HandedOver] = {}
        self._spare: list[U8] = []
        self._luma: U8 | None = None
        self._time_s = 0.0
        self._moved_s = 0.0
        self._frame_requested = False

    def passes(self, picture: Picture, time_s: float) -> bool:
        """Whether the picture, due at ``time_s`` of camera time, is worth an analysis."""
        if not self._meter.fits(picture):
            self._reset()
        if self._luma is None and self._spare:
            self._luma = self._spare.pop()
        self._luma = self._meter.shrink(picture, self._luma)
        self._time_s = time_s
        reference = self._newest()
        self.reference = reference.number if reference else None
        if reference is None or self._meter.moved(self._luma, reference.luma):
            self._moved_s = time_s
            return True
        return (
            self._frame_requested or time_s - reference.time_s >= self._order.settings.refresh_s - _ROUNDING_S
        )

    def mark_handed_over(self, number: int) -> None:
        """The picture that passed last was handed over as this frame; numbers only grow."""
        assert self._luma is not None, "no picture has passed"
        self._under_way[number] = _HandedOver(number, self._luma, self._time_s)
        self._luma, self._frame_requested = None, False

    def mark_done(self, number: int, *, analysed: bool) -> None:
        """A frame that was handed over has been analysed, or is dropped."""
        seen = self._under_way.pop(number, None)
        if seen is None:
            return
        if analysed:
            seen, self._analysed = self._analysed, seen
        if seen is not None:
            self._spare.append(seen.luma)

    def set_zones(self, zones: Sequence[ZoneSettings]) -> None:
        """Look for motion in these zones from now on; the next picture that is due passes."""
        self._meter = MotionMeter(zones, SENSING[self._order.settings.sensitivity])
        self._reset()

    def request_frame(self) -> None:
        """Let the next picture that is due pass, even if nothing moves."""
        self._frame_requested = True

    def choose_decoding(self, source: Source, rate_fps: float) -> bool:
        """Let the source decode all pictures, or keyframes alone. rate_fps: analysed pictures a second.

        Returns whether it decodes keyframes alone from now on.
        """
        if not isinstance(source, VideoSource):
            return False
        keyframes: Keyframes[Any] = source.keyframes
        within_s = self._order.keyframes_within_s
        quiet = self._time_s - self._moved_s >= _QUIET_AFTER_S
        near = keyframes.interval_s is not None and keyframes.interval_s <= within_s
        worthwhile = (keyframes.rate_fps or 0.0) >= _WORTHWHILE_RATE * rate_fps
        keyframes.within_s = within_s if quiet and near and worthwhile else None
        return keyframes.within_s is not None

    def _newest(self) -> _HandedOver | None:
        return self._under_way[max(self._under_way)] if self._under_way else self._analysed

    def _reset(self) -> None:
        """Pictures of another size cannot be compared."""
        self._analysed = self._luma = None
        self._under_way.clear()
        self._spare.clear()
