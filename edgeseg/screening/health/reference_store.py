"""Reference views: serialization for the state database. A view belongs to the zones as they were drawn:
where these are drawn anew, the view is learned anew."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence

from edgeseg.screening.health.drift import ReferenceView
from edgeseg.settings import ZoneSettings

_Matrix = tuple[float, float, float, float, float, float]


def encode(view: ReferenceView, zones: Sequence[ZoneSettings]) -> str:
    """Return a view as JSON. zones: as in the pipeline file."""
    return json.dumps(
        {
            "zones": _digest(zones),
            "png": view.png,
            "grey": view.grey,
            "moved": view.moved,
            "followed": view.followed,
        }
    )


def decode(text: str, zones: Sequence[ZoneSettings]) -> ReferenceView | None:
    """Return the view; None for a view of other zones, and for text that is none of ``encode``."""
    try:
        stored = json.loads(text)
        if stored["zones"] != _digest(zones):
            return None
        return ReferenceView(
            str(stored["png"]), bool(stored["grey"]), _matrix(stored["moved"]), _matrix(stored["followed"])
        )
    except (ValueError, TypeError, KeyError):
        return None


def _matrix(values: Sequence[float]) -> _Matrix:
    a, b, c, d, e, f = (float(value) for value in values)
    if not all(math.isfinite(value) for value in (a, b, c, d, e, f)):
        raise ValueError("not finite")
    return a, b, c, d, e, f


def _digest(zones: Sequence[ZoneSettings]) -> str:
    drawn = sorted((zone.name, zone.include, zone.exclude) for zone in zones)
    return hashlib.sha256(repr(drawn).encode()).hexdigest()[:16]
