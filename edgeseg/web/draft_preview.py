"""What a draft would give: an area in the newest picture, a rule in the last hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np

from edgeseg.config.geometry import MAX_ZONE_POINTS, read_polygons
from edgeseg.drawing.snapshot import Snapshot
from edgeseg.errors import Problem
from edgeseg.events import Alert, ZoneOccupancy
from edgeseg.models.model import Model
from edgeseg.rules import ZoneRules
from edgeseg.settings import Polygon, RuleSettings, ZoneSettings
from edgeseg.stages.zones import ZoneMeter
from edgeseg.web.request import RefusedError
from edgeseg.web.schemas import DraftSchema


def area(draft: DraftSchema) -> ZoneSettings:
    """The draft as a zone. Raises RefusedError (422) with all that is wrong with its polygons."""
    problems: list[Problem] = []
    found: list[tuple[Polygon, ...]] = []
    for key, polygons in (("polygon", draft.polygon), ("exclude", draft.exclude)):
        written = [[list(point) for point in polygon] for polygon in polygons]
        read, flaws = read_polygons(written) if written else ((), [])
        found.append(read)
        for flaw in flaws:
            where = key + "".join(f"[{step}]" for step in flaw.path)
            problems.append(Problem("", 0, 0, where, flaw.message))
    points = sum(len(polygon) for polygons in found for polygon in polygons)
    if points > MAX_ZONE_POINTS:
        problems.append(Problem("", 0, 0, "polygon", f"{points} points, {MAX_ZONE_POINTS} are the most"))
    if problems:
        raise RefusedError(422, "the area cannot be measured", problems)
    include, exclude = found
    return ZoneSettings("draft", "Draft", include, exclude, draft.confidence, ())


def measure(
    zone: ZoneSettings, snapshot: Snapshot, model: Model, groups: Mapping[str, tuple[str, ...]]
) -> ZoneOccupancy:
    """What the picture shows there. Raises RefusedError (422) where the area is too small."""
    meter = ZoneMeter(snapshot.frame.camera, (zone,), groups, model.name, model.classes)
    with suppress(ValueError), np.errstate(all="ignore"):
        (occupancy,) = meter.measure(snapshot.label_map, 1, snapshot.frame.time)
        return occupancy
    raise RefusedError(422, "the area is too small to measure", [Problem("", 0, 0, "polygon", "too small")])


def tried(
    node: str, camera: str, zone: ZoneSettings, rule: RuleSettings, recorded: Sequence[ZoneOccupancy]
) -> list[Alert]:
    """Every message that the rule would have sent. One that is on at the end stays on."""
    alone = ZoneSettings(zone.name, zone.title, zone.include, zone.exclude, zone.confidence_floor, (rule,))
    rules = ZoneRules(node, camera, alone)
    alerts: list[Alert] = []
    for occupancy in recorded:
        alerts += [event for event in rules.observe(occupancy) if isinstance(event, Alert)]
    return alerts
