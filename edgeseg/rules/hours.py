"""Is a rule's daily window open?"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from edgeseg.settings import ActiveHours


def is_open(hours: ActiveHours | None, utc_s: float) -> bool:
    """Whether the wall clock of the rule's time zone is inside the window at ``utc_s``.

    The wall clock decides, so a window over midnight is an hour longer or shorter in the nights when
    daylight saving time changes, and still opens and closes when people there say so. Without a time
    zone the window is in UTC: the machine's own zone would make a replay depend on where it runs.
    A window whose start is its end is the whole day.
    """
    if hours is None:
        return True
    zone = ZoneInfo(hours.timezone) if hours.timezone else UTC
    now = datetime.fromtimestamp(utc_s, zone)
    minute = now.hour * 60 + now.minute
    if hours.start_min < hours.end_min:
        return hours.start_min <= minute < hours.end_min
    return minute >= hours.start_min or minute < hours.end_min
