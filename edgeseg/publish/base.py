"""The publisher seam."""

from __future__ import annotations

from typing import Protocol

from edgeseg.frames import Event


class Publisher(Protocol):
    """Takes events and never blocks the pipeline on a network."""

    def send(self, event: Event) -> None:
        """Alerts are delivered at least once; everything else is last-value-wins. Thread-safe."""

    def close(self) -> None:
        """Deliver what can be delivered at once, say ``offline``, release. Idempotent."""
