"""Soak faults: a seeded fault every few seconds."""

from __future__ import annotations

import logging
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from edgeseg.tools.soak.broker import Mosquitto
from edgeseg.tools.soak.listener import SoakSubscriber
from edgeseg.tools.soak.process_resources import cameras
from edgeseg.tools.soak.tcp_relay import TcpRelay

log = logging.getLogger(__name__)

EVERY_S = (4.0, 12.0)
# Until the listener is back at a broker that was restarted, the daemon must not be.
_HELD_BACK_S = 1.0


@dataclass(frozen=True, slots=True)
class Targets:
    """What can be harmed. lines: to the cameras; names: of the cameras. topics: prefix of the commands."""

    daemon: int
    broker: Mosquitto
    listener: SoakSubscriber
    broker_line: TcpRelay
    lines: Sequence[TcpRelay]
    names: Sequence[str]
    topics: str


class Faults:
    """``tick`` does what is due; ``heal`` ends all that lasts. counts: how often each happened."""

    def __init__(self, targets: Targets, seed: int, now_s: float) -> None:
        self.counts: Counter[str] = Counter()
        self.history: list[tuple[float, str]] = []
        self._on = targets
        self._numbers = random.Random(seed)
        self._ends: list[tuple[float, Callable[[], bool]]] = []
        self._next_s = now_s
        self._broker_is_harmed = False
        self._kinds: dict[str, Callable[[float], None]] = {
            "camera process killed": lambda now_s: self._signal_camera(signal.SIGKILL),
            "camera process crashed": lambda now_s: self._signal_camera(signal.SIGSEGV),
            "camera process frozen": lambda now_s: self._signal_camera(signal.SIGSTOP),
            "camera connection cut": lambda now_s: self._line().cut(),
            "camera connection half-open": lambda now_s: self._line().swallow(),
            "camera away": self._camera_away,
            "broker killed": self._broker_killed,
            "broker frozen": self._broker_frozen,
            "broker connection cut": lambda now_s: self._on.broker_line.cut(),
            "broker connection half-open": lambda now_s: self._on.broker_line.swallow(),
            "reload": lambda now_s: os.kill(self._on.daemon, signal.SIGHUP),
            "camera switched off and on": self._switched,
        }

    def tick(self, now_s: float) -> None:
        """now_s: monotonic."""
        self._end_what_is_over(now_s)
        if now_s >= self._next_s:
            self._next_s = now_s + self._numbers.uniform(*EVERY_S)
            kind = self._numbers.choice(sorted(self._kinds))
            if self._broker_is_harmed and kind.startswith("broker"):
                return
            log.info("soak: %s", kind)
            self.counts[kind] += 1
            self.history.append((now_s, kind))
            self._kinds[kind](now_s)

    def heal(self, now_s: float) -> bool:
        """No more faults; what lasts ends. Returns whether it has; call again until then."""
        self._end_what_is_over(now_s, early=True)
        return not self._ends

    def _end_what_is_over(self, now_s: float, *, early: bool = False) -> None:
        for end in list(self._ends):
            when_s, work = end
            if (early or now_s >= when_s) and work():
                self._ends.remove(end)

    def _signal_camera(self, number: signal.Signals) -> None:
        processes = cameras(self._on.daemon)
        if processes:
            with suppress(ProcessLookupError):
                os.kill(self._numbers.choice(processes), number)

    def _line(self) -> TcpRelay:
        return self._numbers.choice(self._on.lines)

    def _camera_away(self, now_s: float) -> None:
        line = self._line()
        line.allowed = False
        line.cut()

        def back() -> bool:
            line.allowed = True
            return True

        self._ends.append((now_s + self._numbers.uniform(2.0, 20.0), back))

    def _broker_killed(self, now_s: float) -> None:
        self._broker_is_harmed = True
        self._on.broker_line.allowed = False
        self._on.broker.kill()
        started = False

        def back() -> bool:
            nonlocal started
            if not started:
                self._on.broker.start()
                started = True
            if not self._on.listener.here.wait(_HELD_BACK_S):
                return False
            self._on.broker_line.allowed = True
            self._broker_is_harmed = False
            return True

        self._ends.append((now_s + self._numbers.uniform(2.0, 25.0), back))

    def _broker_frozen(self, now_s: float) -> None:
        self._broker_is_harmed = True
        self._on.broker.freeze()

        def back() -> bool:
            self._on.broker.resume()
            self._broker_is_harmed = False
            return True

        self._ends.append((now_s + self._numbers.uniform(2.0, 40.0), back))

    def _switched(self, now_s: float) -> None:
        name = self._numbers.choice(self._on.names)
        topic = f"{self._on.topics}/{name}/set/enabled"
        self._on.listener.publish(topic, "OFF")

        def back() -> bool:
            # Again and again: a command may get lost with a connection.
            self._on.listener.publish(topic, "ON")
            return self._on.listener.enabled.get(name, False)

        self._ends.append((now_s + self._numbers.uniform(2.0, 8.0), back))
