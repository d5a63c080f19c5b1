"""Thresholds in square metres -> shares of the zone's ground, which is what rules compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeseg.config.keys.rules import RuleFile
from edgeseg.config.units import SquareMetres, area_text
from edgeseg.geometry.ground_plane import area_m2, ground_of
from edgeseg.settings import GroundSettings, Polygon
from edgeseg.yamlfile import PathPart

_DECIMALS = 12

Wrong = Callable[[Sequence[PathPart], str], None]


@dataclass(frozen=True, slots=True)
class ZoneGround:
    """m2: the zone's area; None where nothing is known of it. why: what to do about that; empty where the
    reason was told already."""

    m2: float | None
    why: str = ""


NO_GROUND = ZoneGround(None, "its camera has no ground; add 'ground:', or write a share in %")
_ABOVE_HORIZON = ZoneGround(
    None,
    "the zone reaches above the ground's horizon, where there are no square metres; draw it lower, or "
    "write a share in %",
)


@dataclass(frozen=True, slots=True)
class CameraGround:
    """settings: None for none. flawed: there is one, and what is wrong with it was told."""

    settings: GroundSettings | None
    flawed: bool

    def of_zone(self, include: Sequence[Polygon], exclude: Sequence[Polygon]) -> ZoneGround:
        if self.settings is None or not include:
            return ZoneGround(None) if self.flawed or not include else NO_GROUND
        try:
            return ZoneGround(area_m2(ground_of(self.settings), include, exclude))
        except ValueError:
            return _ABOVE_HORIZON


def by_share(rule: RuleFile, ground: ZoneGround, wrong: Wrong) -> tuple[RuleFile, float | None]:
    """The rule with its areas as shares of the ground, and what the ground measures; the rule as it is and
    None where it names no areas. Tells ``wrong`` where they mean nothing."""
    said = {key: value for key in ("enter", "leave") if (value := getattr(rule, key)) is not None}
    areas = {key: value for key, value in said.items() if isinstance(value, SquareMetres)}
    if not areas:
        return rule, None
    key, area = next(iter(areas.items()))
    # Whatever is wrong with an area, nothing follows from it.
    without = rule.model_copy(update=dict.fromkeys(said))
    if len(areas) < len(said):
        wrong(
            [key], f"got {area_text(area)}, but the other threshold is a share; give both in m2 or both in %"
        )
    elif ground.m2 is None:
        if ground.why:
            wrong([key], f"got {area_text(area)}, but {ground.why}")
    else:
        for name, value in areas.items():
            if value > ground.m2:
                wrong([name], f"got {area_text(value)}, but the zone has {ground.m2:.3g} m2 of ground")
                return without, None
        shares = {name: round(value / ground.m2, _DECIMALS) for name, value in areas.items()}
        return rule.model_copy(update=shares), ground.m2
    return without, None
