"""Occupancy over time -> Alert and RuleState.

Conditions. The *value* of a rule is the summed share of its classes.

- ``occupied`` begins at value >= enter and ends at value <= leave.
- ``absent`` and ``changed: from`` begin at value < enter and end at value > leave.
- ``changed: dominant`` begins when the dominant class is not the reference's and ends when it is again.
  Without a named reference the first dominant class that held for ``for`` is learned and kept. A zone
  that is wholly uncertain has no dominant class: it neither differs nor is back. The value told is the
  reference's share.
- Between the thresholds nothing begins and nothing ends: both dwells start again there.

Dwell. An alert begins with the first observation at which its condition has held for ``for`` without a
break, from the first observation of it on; it ends so after ``clear``. Hence nothing begins for a
condition that lasted less than ``for``, nor ends for one that lasted less than ``clear``, at any frame
rate. ``began_at`` and ``ended_at`` are when the condition began to hold: at most one sampling interval
after it truly did. The message comes at the first observation at or after ``for`` (``clear``) from then: at
most one interval late on top. Where ``for`` is a whole number of intervals (whole seconds at a whole
number of frames a second) that second part is zero, and the message itself is at most one interval late.
No rule that looks at samples can do better without sometimes beginning for less than ``for``.

Time. Durations are camera time, reports UTC. Where camera time goes back (a clip that loops, a source
that was restarted), dwells start again and an alert that is on stays on. A rule notices that time went by
only when it is asked: while a camera gives nothing, feed it unknown occupancies, once a second or so.

Unknown. The time while a zone is unknown proves nothing: both dwells start again after it. An alert that
is on stays on, and the rule's state is ``unknown`` (``hold``); or it ends, for the reason ``unknown``
(``end``); or being unknown is itself alarming (``raise``): an alert begins once the zone has been
unknown for ``for``, with evidence of value None, and the rule stays ``ON`` while it is on.

Restarts. A memory that was stored goes on in the next process: an alert that was on is neither raised
again nor forgotten, and a dwell goes on. The time in between counts, for nobody saw the condition break;
but where it was longer than ``camera_memory.BRIDGE_S``, or no clock can tell how long it was, the zone was
unknown.

Cooldown. After an end nothing begins until ``cooldown`` has passed; a dwell may be under way meanwhile.

Hours. Outside its window a rule begins nothing, its dwell counts only inside, and an alert that is on
ends for the reason ``hours``. See ``hours.is_open`` for time zones.

Messages. ``new``, then ``update`` when the value is 10 percentage points worse than any told so far, the
dominant class is another one, or the zone became unknown or known; at most one in 10 s. Then ``end``.
"""

from edgeseg.rules.camera_offline import CameraAlert
from edgeseg.rules.memory import AwayMemory, Dwell, RuleId, RuleMemory
from edgeseg.rules.zone_rules import ZoneRules, carried_over, unchanged

__all__ = [
    "AwayMemory",
    "CameraAlert",
    "Dwell",
    "RuleId",
    "RuleMemory",
    "ZoneRules",
    "carried_over",
    "unchanged",
]
