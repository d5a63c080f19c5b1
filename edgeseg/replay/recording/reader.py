"""Recording reader: the recorded occupancies, for the zones, rules and groups of a pipeline file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeseg.errors import EdgesegError
from edgeseg.events import GroundCoverage, GroundShare, ZoneOccupancy
from edgeseg.frames import FrameTime
from edgeseg.models.model import Model
from edgeseg.replay.recording.lines import (
    Header,
    RecordedObservation,
    read_header,
    read_moment,
    zone_fingerprint,
)
from edgeseg.settings import CameraSettings, ZoneSettings

_DECIMALS = 4
_AREA_DECIMALS = 3
_NO_GROUND = GroundShare(0.0, None, None)


def is_recording(path: Path) -> bool:
    """Return whether a file is a recording, by its first line."""
    try:
        with path.open("rb") as stream:
            read_header(stream.readline(1 << 16).decode())
    except (OSError, ValueError):
        return False
    return True


def header_of(path: Path) -> Header:
    """Raises EdgesegError where the file cannot be read or is no recording."""
    try:
        with path.open(encoding="utf-8") as stream:
            return read_header(stream.readline())
    except OSError as error:
        raise EdgesegError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise EdgesegError(f"{path}: {error}; `edgeseg record` makes one") from None


def refusal(header: Header, camera: CameraSettings, model: Model) -> str | None:
    """Return why a recording does not fit a camera's present settings; None where it does.

    Rules and groups may differ, and zones may be gone; what was measured, and where, may not differ.
    """
    if not camera.zones:
        return f"the camera {camera.name} has no zones there"
    if header.model != model.name or header.classes != tuple(model.classes):
        return f"it was made with the model {header.model}, the camera {camera.name} has {model.name}"
    for zone in camera.zones:
        if zone.name not in header.zones:
            return f"it has no zone {zone.name}, only {', '.join(header.zones) or 'none'}"
        if header.zones[zone.name] != zone_fingerprint(zone):
            return f"the polygons or the confidence of zone {zone.name} have changed since; record again"
    return None


def occupancies(
    path: Path, camera: CameraSettings, groups: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[ZoneOccupancy, ...]]:
    """Yield the recorded observations, each with all zones of ``camera`` in their order.

    A last line that was cut short is left out. Raises EdgesegError with the number of a line that is damaged.
    """
    recorded = RecordedOccupancies(header_of(path), camera, groups)
    with path.open(encoding="utf-8") as stream:
        stream.readline()
        for number, line in enumerate(stream, start=2):
            if not line.endswith("\n"):
                return
            try:
                yield recorded.moment(line)
            except ValueError as error:
                raise EdgesegError(f"{path}:{number}: {error}; the recording is damaged") from None


class RecordedOccupancies:
    """The lines of a recording after its header, one by one, in their order."""

    def __init__(self, header: Header, camera: CameraSettings, groups: Mapping[str, tuple[str, ...]]) -> None:
        self._header = header
        self._camera = camera.name
        self._memory = [_ZoneMemory(zone, header, groups) for zone in camera.zones]
        self._analysed: FrameTime | None = None

    def moment(self, line: str) -> tuple[ZoneOccupancy, ...]:
        """Return all zones of the camera in their order. Raises ValueError where the line is damaged."""
        moment = read_moment(line)
        if moment.zones is not None:
            self._analysed = moment.time
            for zone in self._memory:
                zone.measured(moment)
        return tuple(
            zone.occupancy(moment, self._analysed, self._header, self._camera) for zone in self._memory
        )


@dataclass(frozen=True, slots=True)
class _Measured:
    coverage: Mapping[str, float]
    uncertain: float | None
    dominant: str | None
    confidence: float | None
    ground: GroundCoverage | None


class _ZoneMemory:
    """One zone of a recording: as the meter does, it goes on naming classes it has seen."""

    def __init__(self, zone: ZoneSettings, header: Header, groups: Mapping[str, tuple[str, ...]]) -> None:
        self._name = zone.name
        self._ground_m2 = zone.ground_m2 or 0.0
        self._seen = {name for rule in zone.rules for name in (*rule.classes, *rule.reference_classes)}
        self._classes = header.classes
        self._groups = {
            group: known
            for group, members in groups.items()
            if (known := [name for name in members if name in header.classes])
        }
        # Theirs were summed before they were rounded.
        self._summed = {group for group, members in groups.items() if header.groups.get(group) == members}
        self._newest: _Measured | None = None
        self._reason: str | None = None

    def measured(self, moment: RecordedObservation) -> None:
        """Raises ValueError where the zone is missing or not as it should be."""
        try:
            values = (moment.zones or {})[self._name]
            if isinstance(values, str):
                self._newest, self._reason = None, values
                return
            shares, uncertain, dominant, confidence, *more = values
            self._seen.update(shares)
            coverage = {name: float(shares.get(name, 0.0)) for name in self._classes if name in self._seen}
        except (KeyError, TypeError, AttributeError):
            raise ValueError(f"nothing about zone {self._name}") from None
        for group, members in self._groups.items():
            if group in self._summed:
                coverage[group] = float(shares.get(group, 0.0))
            else:
                coverage[group] = round(sum(coverage.get(name, 0.0) for name in members), _DECIMALS)
        ground = self._ground(more[0], coverage) if more else None
        self._newest, self._reason = _Measured(coverage, uncertain, dominant, confidence, ground), None

    def _ground(self, values: Mapping[str, Sequence[float]], names: Collection[str]) -> GroundCoverage:
        """Return the ground area of classes and groups; of a changed group that of its classes together."""
        areas = {name: GroundShare(*values[name]) if name in values else _NO_GROUND for name in names}
        for group in self._groups.keys() - self._summed:
            found = [areas[name] for name in self._groups[group] if areas.get(name, _NO_GROUND).m2]
            areas[group] = GroundShare(
                round(sum(one.m2 for one in found), _AREA_DECIMALS),
                min((one.nearest_m for one in found if one.nearest_m is not None), default=None),
                max((one.farthest_m for one in found if one.farthest_m is not None), default=None),
            )
        return GroundCoverage(round(self._ground_m2, _AREA_DECIMALS), areas)

    def occupancy(
        self, moment: RecordedObservation, analysed: FrameTime | None, header: Header, camera: str
    ) -> ZoneOccupancy:
        suspended = moment.unknown is not None
        newest, reason = (None, moment.unknown) if suspended else (self._newest, self._reason)
        if newest is None and reason is None:
            raise ValueError("nothing had moved, but nothing was analysed before")
        return ZoneOccupancy(
            camera=camera,
            zone=self._name,
            seq=moment.seq,
            time=moment.time,
            state="ok" if newest else "unknown",
            light=moment.light if newest else None,
            reason=reason,
            coverage=newest.coverage if newest else None,
            uncertain=newest.uncertain if newest else None,
            dominant=newest.dominant if newest else None,
            confidence=newest.confidence if newest else None,
            model=header.model,
            analysed=analysed if moment.zones is None and not suspended else None,
            ground=newest.ground if newest else None,
        )
