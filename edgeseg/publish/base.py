"""The publisher seam."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

from edgeseg.events import Event

QoS = Literal[0, 1]


@dataclass(frozen=True, slots=True)
class Message:
    """One MQTT publication. ``topic`` is complete; ``payload`` is what goes over the wire.

    left_s: for how long a broker may keep it for subscribers that are away; None for ever. MQTT 3.1.1 cannot
    tell it so. is_json: that the payload is compact JSON is known, and need not be found out.
    """

    topic: str
    payload: bytes
    qos: QoS
    retain: bool
    left_s: int | None = None
    is_json: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A validated wish that came in. ``value``: bool for enabled, frames a second (float) for rate, None
    for snapshot, for evidence the alert's id, with or without ``-before`` or ``-after``."""

    camera: str
    thing: Literal["enabled", "rate", "snapshot", "evidence"]
    value: bool | float | str | None


class Publisher(Protocol):
    """Takes events and never blocks the pipeline on a network. Use as a context manager, or call
    ``start`` and ``close``."""

    @property
    def gone(self) -> bool:
        """Nobody reads any more, nor ever will: the reader of the JSON lines went away. Always False where
        readers come and go, as with MQTT."""

    def start(self) -> None:
        """Acquire, and say ``online`` as soon as that is possible. Does not wait for a network."""

    def send(self, event: Event) -> None:
        """Alerts are delivered at least once; everything else is last-value-wins. Thread-safe."""

    def close(self) -> None:
        """Deliver what can be delivered at once, say ``offline``, release. Idempotent."""

    def __enter__(self) -> Publisher: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class SilentPublisher:
    """Takes events and keeps none. The base of those that keep a copy: they have nothing to acquire."""

    gone = False

    def start(self) -> None: ...

    def send(self, event: Event) -> None: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
