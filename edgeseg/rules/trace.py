"""The observations that led to an alert, in bounded space."""

from __future__ import annotations

from dataclasses import dataclass

from edgeseg.events import TracePoint

# An alert of 32 points is about 2 KB of JSON: enough to draw its curve, small enough for any broker.
MOST_POINTS = 32
# What a rule at rest remembers, so that an alert shows how things were just before.
LEAD_POINTS = 4


@dataclass(frozen=True, slots=True)
class Trace:
    """points: oldest first; the newest is always among them. ``stride``: every how many observations one
    is kept; doubled whenever the trace is full, so its spacing is even however long the alert lasts.
    ``count``: observations so far."""

    points: tuple[TracePoint, ...] = ()
    stride: int = 1
    count: int = 0

    def extended(self, point: TracePoint) -> Trace:
        """With one more observation."""
        newest_stays = (self.count - 1) % self.stride == 0
        kept, stride = (self.points if newest_stays else self.points[:-1]), self.stride
        if len(kept) == MOST_POINTS:
            kept, stride = kept[::2], stride * 2
        return Trace((*kept, point), stride, self.count + 1)

    def at_rest(self, point: TracePoint) -> Trace:
        """``extended`` and then ``lead``, for a rule at rest, which does that every time."""
        if self.stride != 1:
            return self.extended(point).lead()
        points = (*self.points[1 - LEAD_POINTS :], point)
        return Trace(points, 1, len(points))

    def lead(self) -> Trace:
        """The last few observations alone, to start again from."""
        points = self.points[-LEAD_POINTS:]
        return Trace(points, 1, len(points))
