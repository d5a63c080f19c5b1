"""The keys ``hours`` and ``timezone`` of a rule: the daily window in which it is active."""

from __future__ import annotations

import zoneinfo

from edgeseg.config.report import Report
from edgeseg.settings import ActiveHours
from edgeseg.yamlfile import quoted, suggestion


def hours_settings(
    hours_min: tuple[int, int] | None, timezone: str | None, report: Report
) -> ActiveHours | None:
    """Return the window, None for the whole day.

    hours_min: minutes after local midnight, see ``units.hours_min``. report: of the rule.
    """
    if timezone is not None:
        error = _timezone_error(timezone)
        if error:
            report.error(error, ("timezone",))
        elif hours_min is None and report.complete:
            report.error("has no hours to apply to; add hours, or remove it", ("timezone",))
    return None if hours_min is None else ActiveHours(*hours_min, timezone)


def _timezone_error(name: str) -> str:
    """Return why there is no such time zone; empty where there is."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        if not known:
            return f"got {quoted(name)}, but this machine has no time zones; install tzdata (apt, or pip)"
        hint = suggestion(name, known)
        near = hint if "did you mean" in hint else "; names are like Europe/Rome, and UTC"
        return f"got {quoted(name)}, which is no time zone{near}"
    return ""
