"""Recording lines: reads and writes one line; the only file that knows the keys."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2s
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from edgeseg.events import CameraState, Light, ZoneOccupancy
from edgeseg.frames import FrameTime
from edgeseg.settings import CameraSettings, ZoneSettings

FORMAT = "edgeseg recording"
VERSION = 1

# Why all zones are unknown; any other reason is a zone's own.
_SUSPENDED = frozenset(get_args(CameraState))


@dataclass(frozen=True, slots=True)
class Header:
    """Whose recording it is. zones: name -> fingerprint of where it lies and what counts in it, in the order
    of the lines. groups: name -> classes, as they were then."""

    format: str
    v: int
    camera: str
    model: str
    classes: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    zones: Mapping[str, str]


_header = TypeAdapter(Header)


@dataclass(frozen=True, slots=True)
class RecordedObservation:
    """One line after the first. zones: None for a picture in which nothing had moved, or while unknown."""

    time: FrameTime
    seq: int
    zones: Mapping[str, Any] | None
    unknown: str | None
    light: Light | None = None


def header_for(
    camera: CameraSettings, model: str, classes: Sequence[str], groups: Mapping[str, tuple[str, ...]]
) -> Header:
    """The first line of a recording of this camera."""
    zones = {zone.name: zone_fingerprint(zone) for zone in camera.zones}
    return Header(FORMAT, VERSION, camera.name, model, tuple(classes), dict(groups), zones)


def zone_fingerprint(zone: ZoneSettings) -> str:
    """The same as long as the zone measures the same; its rules and its title may change."""
    parts: tuple[object, ...] = (zone.include, zone.exclude, zone.confidence_floor)
    if zone.confidence_floor > 0:
        parts = (*parts, zone.max_uncertain)
    if zone.ground_m2 is not None:
        parts = (*parts, zone.ground)
    return blake2s(repr(parts).encode(), digest_size=8).hexdigest()


def header_line(header: Header) -> str:
    return _header.dump_json(header).decode()


def read_header(line: str) -> Header:
    """Raises ValueError where it is none, in words for people."""
    try:
        header = _header.validate_json(line)
    except ValidationError:
        raise ValueError("is no recording of edgeseg") from None
    if header.format != FORMAT:
        raise ValueError("is no recording of edgeseg")
    if header.v != VERSION:
        raise ValueError(f"was recorded by a newer edgeseg (format {header.v}, this one reads {VERSION})")
    return header


def moment_line(occupancies: Sequence[ZoneOccupancy], named: dict[str, set[str]]) -> str:
    """All zones of one camera at one moment; at least one.

    named: zone -> what earlier lines have named there, to which this adds.
    """
    first = occupancies[0]
    line: dict[str, Any] = {"t": first.time.camera_time_s, "utc": first.time.captured_at_s}
    if first.seq:
        line["seq"] = first.seq
    if first.light is not None:
        line["light"] = first.light
    if first.reason in _SUSPENDED:
        line["unknown"] = first.reason
    elif first.analysed is not None:
        line["still"] = True
    else:
        line["zones"] = {one.zone: _measured(one, named.setdefault(one.zone, set())) for one in occupancies}
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _measured(occupancy: ZoneOccupancy, named: set[str]) -> object:
    if occupancy.coverage is None:
        return occupancy.reason
    shares = {name: share for name, share in occupancy.coverage.items() if share or name not in named}
    named.update(shares)
    measured: list[object] = [shares, occupancy.uncertain, occupancy.dominant, occupancy.confidence]
    if occupancy.ground is not None:
        classes = occupancy.ground.classes.items()
        measured.append({name: [one.m2, one.nearest_m, one.farthest_m] for name, one in classes if one.m2})
    return measured


def read_moment(line: str) -> RecordedObservation:
    """Raises ValueError where it is none."""
    try:
        values = json.loads(line)
        time = FrameTime(float(values["t"]), float(values["utc"]))
        zones, unknown, light = values.get("zones"), values.get("unknown"), values.get("light")
        return RecordedObservation(time, int(values.get("seq", 0)), zones, unknown, light)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no moment of a recording: {error}") from None
