"""Fleet monitor: listens to a broker until all retained messages came, or a condition holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType

from edgeseg.clock import Clock, SystemClock
from edgeseg.errors import EdgesegError
from edgeseg.publish.mqtt.subscriber import Subscriber
from edgeseg.settings import MqttSettings
from edgeseg.tools.fleet.node_status import Fleet

# Retained messages come at once; a pause this long means that all of them are here.
_QUIET_S = 1.0
_ANSWER_S = 15.0
# 100,000 nodes of two cameras retain so many.
_MOST_WAITING = 400_000
_NEXT_STEP = "check its address and login, and that it runs"


class FleetMonitor:
    """A fleet that is listened to.

    with FleetMonitor(settings, prefixes) as monitor:
        monitor.until(lambda fleet: fleet.nodes["gate"].online, 60)
    """

    def __init__(self, settings: MqttSettings, prefixes: Sequence[str], clock: Clock | None = None) -> None:
        self.fleet = Fleet(prefixes)
        self._clock = clock or SystemClock()
        self._place = f"{settings.host}:{settings.port}"
        self._subscriber = Subscriber(settings, self.fleet.filters, most_waiting=_MOST_WAITING)

    def __enter__(self) -> FleetMonitor:
        """Returns when what is retained has come. Raises PublishError, and EdgesegError where the broker does
        not answer or refuses."""
        self._subscriber.__enter__()
        try:
            self._gather()
        except BaseException:
            self._subscriber.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._subscriber.__exit__(kind, error, trace)

    def until(self, condition: Callable[[Fleet], bool], timeout_s: float) -> bool:
        """Listen until the condition holds; return False where it did not in time."""
        end_s = self._clock.monotonic_s() + timeout_s
        while not condition(self.fleet):
            left_s = end_s - self._clock.monotonic_s()
            if left_s <= 0:
                return False
            self._take(min(left_s, _QUIET_S))
        return True

    def _gather(self) -> None:
        end_s = self._clock.monotonic_s() + _ANSWER_S
        while self._clock.monotonic_s() < end_s:
            connected = self._subscriber.trouble is None
            if not self._take(_QUIET_S) and connected:
                return
            trouble = self._subscriber.trouble
            if trouble is not None and trouble != "connecting":
                raise EdgesegError(f"the broker at {self._place}: {trouble}; {_NEXT_STEP}")
        if self._subscriber.trouble is not None:
            raise EdgesegError(f"the broker at {self._place}: no answer within {_ANSWER_S:g} s; {_NEXT_STEP}")

    def _take(self, timeout_s: float) -> bool:
        """Receive messages. Return whether one of them was retained."""
        messages = self._subscriber.take(timeout_s)
        for message in messages:
            self.fleet.receive(message)
        return any(message.retained for message in messages)


def collect_fleet(settings: MqttSettings, prefixes: Sequence[str]) -> Fleet:
    """Return the fleet by its retained messages. Raises as ``FleetMonitor`` does."""
    with FleetMonitor(settings, prefixes) as monitor:
        return monitor.fleet
