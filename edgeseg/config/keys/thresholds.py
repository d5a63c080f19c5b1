"""The keys ``enter`` and ``leave`` of a rule: the shares at which it begins and ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from edgeseg.config.keys.ground import ZoneGround
from edgeseg.config.report import Report
from edgeseg.config.units import SquareMetres, area_text, share_text

Kind = Literal["occupied", "changed", "absent"]
KINDS: tuple[Kind, ...] = get_args(Kind)

DEFAULT_ENTER: dict[Kind, float] = {"occupied": 0.10, "absent": 0.01, "changed": 0.50}
_DECIMALS = 12


@dataclass(frozen=True, slots=True)
class Written:
    """The thresholds as written: shares, 0-1, or SquareMetres; None for what is not written.

    ground_m2: area of the ground of which these are shares; None where they are shares of the picture.
    """

    enter: float | None
    leave: float | None
    ground_m2: float | None = None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Shares, 0-1."""

    enter: float
    leave: float


def shares(written: Written, ground: ZoneGround, report: Report) -> Written:
    """Return the thresholds as shares, which is what rules compare: square metres as shares of the ground.

    Thresholds that mean nothing are left out after they were reported. ground: of the zone.
    """
    given = {key: value for key in ("enter", "leave") if (value := getattr(written, key)) is not None}
    areas = {key: value for key, value in given.items() if isinstance(value, SquareMetres)}
    if not areas:
        return written
    key, area = next(iter(areas.items()))
    if len(areas) < len(given):
        report.error(
            f"got {area_text(area)}, but the other threshold is a share; give both in m2 or both in %", (key,)
        )
    elif ground.m2 is None:
        if ground.why:
            report.error(f"got {area_text(area)}, but {ground.why}", (key,))
    else:
        for name, value in areas.items():
            if value > ground.m2:
                report.error(
                    f"got {area_text(value)}, but the zone has {ground.m2:.3g} m2 of ground", (name,)
                )
                return Written(None, None)
        found = {name: round(value / ground.m2, _DECIMALS) for name, value in areas.items()}
        return replace(written, ground_m2=ground.m2, **found)
    return Written(None, None)


def refuse_thresholds(changed: str, written: Written, report: Report) -> None:
    """Report thresholds beside ``changed: dominant``, ``unusual`` and ``drifted``, which take none."""
    why = "compares no share" if changed == "dominant" else "finds its threshold itself"
    for key in ("enter", "leave"):
        if getattr(written, key) is not None:
            report.error(f"'changed: {changed}' {why}; remove it, or use 'changed: {{from: ...}}'", (key,))


def threshold_settings(written: Written, kind: Kind, report: Report) -> Thresholds | None:
    """Return both thresholds, defaults filled in; None where there is nothing to compare.

    written: shares. report: of the rule.
    """
    rising = kind == "occupied"
    if written.enter is None and written.leave is not None:
        if report.complete:
            report.error("needs enter beside it, the share at which the rule begins", ("leave",))
        return None
    enter = DEFAULT_ENTER[kind] if written.enter is None else written.enter
    leave = _default_leave(enter, rising) if written.leave is None else written.leave
    if enter == 0:
        never = "always holds" if rising else "never holds, as it begins below enter"
        report.error(f"got 0 %, which {never}; expected more than 0 %", ("enter",))
    elif enter == 1 and not rising and written.leave is None:
        message = "got 100 %, so it would never end, as it ends above leave; expected less than 100 %"
        report.error(message, ("enter",))
    elif rising and leave > enter:
        report.error(
            f"got {share_text(leave)}, which contradicts enter: {share_text(enter)}; a rule with "
            "'occupied' ends at or below leave, so leave must be at most enter",
            ("leave",),
        )
    elif not rising and leave < enter:
        report.error(
            f"got {share_text(leave)}, which contradicts enter: {share_text(enter)}; a rule with "
            f"'{kind}' ends above leave, so leave must be at least enter",
            ("leave",),
        )
    elif not rising and leave == 1:
        message = "got 100 %, so it would never end, as it ends above leave; expected less than 100 %"
        report.error(message, ("leave",))
    return Thresholds(enter, leave)


def _default_leave(enter: float, rising: bool) -> float:
    # For the falling kinds twice enter can reach 100 %, above which no share gets: half-way is the bound.
    return round(enter / 2 if rising else min(2 * enter, (1 + enter) / 2), 12)
