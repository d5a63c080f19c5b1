"""The key ``zones`` of a camera: the areas that are measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from edgeseg.config import geometry, names
from edgeseg.config.classes import Vocabulary
from edgeseg.config.fields import Keys, Polygons, Share
from edgeseg.config.keys.ground import CameraGround
from edgeseg.config.keys.rules import RuleFile, rules_settings
from edgeseg.config.report import Report
from edgeseg.settings import Polygon, ZoneSettings

DEFAULT_CONFIDENCE_FLOOR = 0.0
# A zone of which more is uncertain cannot be judged by the rest.
DEFAULT_MAX_UNCERTAIN = 0.9
# Share of the picture: about 3 pixels of 640 x 480.
LEAST_AREA = 1e-5

Title = Annotated[str, Field(min_length=1, max_length=100)]


class ZoneFile(Keys, title="zone"):
    name: Title | None = Field(None, description="What people see. Default: made from the key.")
    polygon: Polygons = Field(
        description="Points [x, y] in their order around the zone, 0-1 of the camera picture; one polygon "
        "or a list of several."
    )
    exclude: Polygons = Field(None, description="What is cut out of the zone; one polygon or several.")
    confidence: Share | None = Field(
        None,
        description="Pixels below this confidence count as uncertain, not as their class. Default: 0 %.",
    )
    max_uncertain: Share | None = Field(
        None,
        description="The zone is unknown (`low_confidence`) while more of it than this is uncertain, until "
        "it is a fifth less. Default: 90 %.",
    )
    rules: dict[str, RuleFile] = Field({}, description="Alerts of this zone, by name.")


def zones_settings(
    file: Mapping[str, ZoneFile], vocabulary: Vocabulary, ground: CameraGround, report: Report
) -> tuple[ZoneSettings, ...]:
    """Return the zones of a camera, in their order. report: of the key ``zones``."""
    return tuple(
        zone_settings(name, zone, vocabulary, ground, report.below(name)) for name, zone in file.items()
    )


def zone_settings(
    name: str, file: ZoneFile, vocabulary: Vocabulary, ground: CameraGround, report: Report
) -> ZoneSettings:
    """Return one zone.

    Args:
        name: its key.
        file: its keys.
        vocabulary: terms that its rules may name.
        ground: of its camera.
        report: of the zone.
    """
    names.check_name(report)
    include, exclude = _area(file, report)
    zone_ground = ground.of_zone(include, exclude)
    return ZoneSettings(
        name=name,
        title=file.name or names.title_of(name),
        include=include,
        exclude=exclude,
        confidence_floor=DEFAULT_CONFIDENCE_FLOOR if file.confidence is None else file.confidence,
        rules=rules_settings(file.rules, vocabulary, zone_ground, report.below("rules")),
        max_uncertain=DEFAULT_MAX_UNCERTAIN if file.max_uncertain is None else file.max_uncertain,
        ground=ground.settings if zone_ground.m2 is not None else None,
        ground_m2=zone_ground.m2,
    )


def _area(file: ZoneFile, report: Report) -> tuple[tuple[Polygon, ...], tuple[Polygon, ...]]:
    """Return the polygons of the zone and those that are cut out of it."""
    before = report.count
    include = _polygons(file.polygon, report.below("polygon"))
    exclude = () if file.exclude is None else _polygons(file.exclude, report.below("exclude"))
    points = sum(len(polygon) for polygon in (*include, *exclude))
    if points > geometry.MAX_ZONE_POINTS:
        most = geometry.MAX_ZONE_POINTS
        report.error(
            f"{points} points in all polygons of the zone, {most} are the most; use fewer, or two zones",
            ("polygon",),
        )
    elif report.count == before and not geometry.covers(LEAST_AREA, include, exclude):
        what = "exclude leaves nothing of it" if exclude else "it is too small to measure"
        report.error(f"encloses less than 0.001 % of the picture; {what}", ("polygon",))
    return include, exclude


def _polygons(file: object, report: Report) -> tuple[Polygon, ...]:
    polygons, errors = geometry.read_polygons(file)
    for error in errors:
        report.error(error.message, error.path)
    return polygons
