"""Testing: unit tests of the rules in a pipeline file, without camera, network, video or waiting.

    from edgeseg.testing import watch

    def test_a_lorry_that_stays_raises_an_alert_after_ten_seconds():
        bay = watch("yard.yaml", zone="loading_bay")
        bay.shows("12 s", vehicle="30 %")
        assert bay.told == [("blocked", "new", 10.0)]

The rules are the daemon's own, evaluated at the camera's rate. ``replayed`` does the same with the
occupancies of a real camera, recorded by ``edgeseg record``. With pytest the fixtures ``edgeseg_zone`` and
``edgeseg_replay`` are these two with paths from the folder of the test.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from edgeseg import config
from edgeseg.clock import parse_utc
from edgeseg.config.units import duration_s, share
from edgeseg.errors import EdgesegError
from edgeseg.events import Alert, GroundCoverage, GroundShare, RuleState, ZoneOccupancy
from edgeseg.frames import FrameTime
from edgeseg.models import registry
from edgeseg.models.model import Model
from edgeseg.replay.recording.reader import header_of, occupancies, refusal
from edgeseg.rules import ZoneRules
from edgeseg.settings import CameraSettings, PipelineSettings, ZoneSettings
from edgeseg.yamlfile import suggestion

# Monday, an hour before noon: inside most hours.
_WHEN = datetime(2026, 11, 23, 11, 0, tzinfo=UTC)
_DECIMALS = 6

Place = str | Path
"""A path."""


class Told(NamedTuple):
    """One message of an alert: ``new``, ``update`` or ``end``. at_s: seconds since the beginning."""

    rule: str
    event: str
    at_s: float


def watch(pipeline: Place, zone: str, camera: str | None = None, at: datetime | str = _WHEN) -> WatchedZone:
    """A zone of a pipeline file, ready to be shown something.

    camera: which; needed where several have a zone of that name. at: when it begins, for rules with hours;
    UTC where it has no offset. Raises ConfigError for a file that is wrong, EdgesegError for names that are
    not in it.
    """
    settings = config.load(Path(pipeline))
    found = [
        (one, place)
        for one in settings.cameras
        for place in one.zones
        if place.name == zone and camera in (None, one.name)
    ]
    if not found:
        names = sorted(place.name for one in settings.cameras for place in one.zones)
        raise EdgesegError(f"{pipeline}: has no zone {zone}{suggestion(zone, names)}")
    if len(found) > 1:
        names = sorted(one.name for one, _ in found)
        raise EdgesegError(f"{pipeline}: {', '.join(names)} have a zone {zone}; name one with camera=")
    chosen, place = found[0]
    utc_s = parse_utc(at if isinstance(at, str) else at.isoformat())
    return WatchedZone(settings, chosen, place, registry.find(chosen.model), utc_s)


class WatchedZone:
    """One zone and its rules; time passes only in ``shows`` and ``unknown``. ``watch`` makes one.

    alerts: every alert message so far. states: rule -> ``ON``, ``OFF`` or ``unknown``.

    Args:
        settings: of the pipeline file.
        camera: of the zone.
        zone: whose rules run.
        model: of the camera.
        began_at_s: UTC at camera time 0.
    """

    def __init__(
        self,
        settings: PipelineSettings,
        camera: CameraSettings,
        zone: ZoneSettings,
        model: Model,
        began_at_s: float,
    ) -> None:
        self.alerts: list[Alert] = []
        self.states: dict[str, str] = {}
        self._camera = camera
        self._zone = zone
        self._model = model
        self._groups = settings.groups
        self._rules = ZoneRules(settings.node, camera.name, zone)
        self._began_at_s = began_at_s
        self._frames = 0

    @property
    def told(self) -> list[Told]:
        """The alert messages so far, without updates."""
        return [_told(alert, self._began_at_s) for alert in self.alerts if alert.event != "update"]

    def is_on(self, rule: str) -> bool:
        return self.states.get(rule) == "ON"

    def shows(self, duration: str, shares: Mapping[str, str] | None = None, /, **more: str) -> WatchedZone:
        """Let ``duration`` (``"10 s"``) pass, while these classes and groups cover shares of the zone.

        A share is such as ``"30 %"``. A group is covered by the first of its classes, and the rest of the
        zone by a class that no rule uses.

        Raises EdgesegError for a class that the model does not know and for more than 100 %.
        """
        coverage: dict[str, float] = {}
        for name, text in {**(shares or {}), **more}.items():
            name = self._class_of(name)
            coverage[name] = coverage.get(name, 0.0) + share(text)
        left = round(1 - sum(coverage.values()), _DECIMALS)
        if left < 0:
            raise EdgesegError(f"shares add up to {100 - 100 * left:g} %, expected at most 100 %")
        asked = {name for rule in self._zone.rules for name in (*rule.classes, *rule.reference_classes)}
        rest = next((name for name in self._model.classes if name not in asked | coverage.keys()), None)
        if rest is not None and left:
            coverage[rest] = left
        for group, members in self._groups.items():
            coverage[group] = sum(coverage.get(name, 0.0) for name in members)
        return self._pass(duration, coverage, None)

    def unknown(self, duration: str, reason: str = "stale") -> WatchedZone:
        """Let time pass without a picture that can be measured."""
        return self._pass(duration, None, reason)

    def _class_of(self, name: str) -> str:
        if name in self._model.classes:
            return name
        for member in self._groups.get(name, ()):
            if member in self._model.classes:
                return member
        known = (*self._model.classes, *self._groups)
        raise EdgesegError(f"{name}: the model {self._model.name} has no such class{suggestion(name, known)}")

    def _pass(self, duration: str, coverage: Mapping[str, float] | None, reason: str | None) -> WatchedZone:
        # The first picture is at 0, every other one an interval after the one before.
        count = max(1, round(duration_s(duration) * self._camera.rate_fps)) + (self._frames == 0)
        classes = {name: value for name, value in (coverage or {}).items() if name in self._model.classes}
        for _ in range(count):
            passed_s = self._frames / self._camera.rate_fps
            self._frames += 1
            occupancy = ZoneOccupancy(
                camera=self._camera.name,
                zone=self._zone.name,
                seq=self._frames,
                time=FrameTime(passed_s, self._began_at_s + passed_s),
                state="unknown" if coverage is None else "ok",
                reason=reason,
                coverage=coverage,
                uncertain=None if coverage is None else 0.0,
                dominant=max(classes, key=lambda name: classes[name]) if classes else None,
                confidence=None,
                model=self._model.name,
                ground=self._on_ground(coverage),
            )
            for event in self._rules.observe(occupancy):
                if isinstance(event, RuleState):
                    self.states[event.rule] = event.state
                else:
                    self.alerts.append(event)
        return self

    def _on_ground(self, coverage: Mapping[str, float] | None) -> GroundCoverage | None:
        """Return the ground area as if every part of the zone were equally near."""
        zone_m2 = self._zone.ground_m2
        if coverage is None or zone_m2 is None:
            return None
        classes = {name: GroundShare(value * zone_m2, None, None) for name, value in coverage.items()}
        return GroundCoverage(zone_m2, classes)


def replayed(recording: Place, pipeline: Place, camera: str | None = None) -> list[Told]:
    """Return the alert messages of a pipeline file's rules on a recording, without updates.

    Raises EdgesegError where the recording is not of those zones.
    """
    path, settings = Path(recording), config.load(Path(pipeline))
    name = camera or header_of(path).camera
    chosen = next((one for one in settings.cameras if one.name == name), None)
    if chosen is None:
        raise EdgesegError(f"{pipeline}: has no camera {name}; name one with camera=")
    against = refusal(header_of(path), chosen, registry.find(chosen.model))
    if against is not None:
        raise EdgesegError(f"{path}: cannot be played to {pipeline}: {against}")
    rules = {zone.name: ZoneRules(settings.node, chosen.name, zone) for zone in chosen.zones}
    told: list[Told] = []
    began_at_s: float | None = None
    for moment in occupancies(path, chosen, settings.groups):
        for occupancy in moment:
            if began_at_s is None:
                began_at_s = occupancy.time.captured_at_s
            for event in rules[occupancy.zone].observe(occupancy):
                if isinstance(event, Alert) and event.event != "update":
                    told.append(_told(event, began_at_s))
    return told


def _told(alert: Alert, began_at_s: float) -> Told:
    return Told(alert.rule, alert.event, round(alert.at_s - began_at_s, _DECIMALS))
