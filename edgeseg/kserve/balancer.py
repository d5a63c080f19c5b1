"""Balancer: chooses the least busy of the servers that answer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from edgeseg.clock import Clock
from edgeseg.errors import EngineAwayError, EngineError
from edgeseg.settings import RemoteServer

if TYPE_CHECKING:
    from edgeseg.kserve.client import KServeSession

Connect = Callable[[RemoteServer], "KServeSession"]
"""Reaches a server and checks its model. Raises EngineAwayError, EngineError."""

# One late answer may be the network's; a refused connection shows at once.
_LATE_ANSWERS = 2
# How long a server must have answered every probe before frames go there again.
_MUST_ANSWER_FOR_S = 3.0
# A server that was lost again so soon after its return has to answer for twice as long the next time.
_LOST_AGAIN_WITHIN_S = 60.0
_MUST_ANSWER_AT_MOST_S = 300.0


class InferenceServer:
    """One server: its session, its failures and its running requests."""

    def __init__(self, address: RemoteServer, connect: Connect, clock: Clock) -> None:
        self.address = address
        self.session: KServeSession | None = None
        self.outstanding = 0
        self.served = 0
        self.why_away = "was not tried yet"
        self._connect = connect
        self._clock = clock
        self._late = 0
        self._probe_session: KServeSession | None = None
        self._answering_since_s: float | None = None
        self._must_answer_for_s = _MUST_ANSWER_FOR_S
        self._back_at_s = -_LOST_AGAIN_WITHIN_S

    def open(self) -> None:
        """Connect for the first time. Raises EngineError where its model does not fit, EngineAwayError where
        it is away."""
        try:
            self.session = self._connect(self.address)
        except EngineError as error:
            self.why_away = str(error)
            raise

    def answered(self) -> None:
        self._late = 0
        self.served += 1

    def failed(self, session: KServeSession, error: EngineError) -> bool:
        """Record a failed request of ``session``. Return whether the server counts as away from now on."""
        if session is not self.session:
            return False
        self._late += 1
        if isinstance(error, EngineAwayError) and error.late and self._late < _LATE_ANSWERS:
            return False
        self._late, self.session, self.why_away = 0, None, str(error)
        now_s = self._clock.monotonic_s()
        again = now_s - self._back_at_s < _LOST_AGAIN_WITHIN_S
        self._must_answer_for_s = (
            min(2 * self._must_answer_for_s, _MUST_ANSWER_AT_MOST_S) if again else _MUST_ANSWER_FOR_S
        )
        return True

    def probe(self, deadline_s: float) -> KServeSession | None:
        """Probe a server that is away. Return a session once it answered for long enough."""
        try:
            if self._probe_session is None:
                self._probe_session = self._connect(self.address)
                self._answering_since_s = self._clock.monotonic_s()
            else:
                self._probe_session.check(deadline_s)
        except EngineError as error:
            self.why_away = str(error)
            self.drop_probe_session()
            return None
        now_s = self._clock.monotonic_s()
        if self._answering_since_s is None or now_s - self._answering_since_s < self._must_answer_for_s:
            return None
        session, self._probe_session, self._back_at_s = self._probe_session, None, now_s
        return session

    def drop_probe_session(self) -> None:
        if self._probe_session is not None:
            self._probe_session.close(lost=True)
        self._probe_session, self._answering_since_s = None, None


class ServerPool:
    """All servers of one engine. Safe to call from several threads."""

    def __init__(self, servers: Sequence[InferenceServer]) -> None:
        self.all = tuple(servers)
        self._lock = threading.Lock()
        self._turn = 0

    @contextlib.contextmanager
    def lend(
        self, *, other_than: InferenceServer | None = None
    ) -> Iterator[tuple[InferenceServer, KServeSession] | None]:
        """Yield the server with the fewest running requests, in turn where several have as few.

        None where all are away.
        """
        with self._lock:
            able = [one for one in self.all if one.session is not None and one is not other_than]
            self._turn += 1
            chosen = None
            if able:
                first = self._turn % len(able)
                chosen = min((*able[first:], *able[:first]), key=lambda one: one.outstanding)
                chosen.outstanding += 1
            session = chosen.session if chosen is not None else None
        try:
            yield None if chosen is None or session is None else (chosen, session)
        finally:
            if chosen is not None:
                with self._lock:
                    chosen.outstanding -= 1

    def answered(self, server: InferenceServer) -> None:
        with self._lock:
            server.answered()

    def failed(self, server: InferenceServer, session: KServeSession, error: EngineError) -> bool:
        """See ``InferenceServer.failed``. The caller that gets True closes the session."""
        with self._lock:
            return server.failed(session, error)

    def restore(self, server: InferenceServer, session: KServeSession) -> None:
        with self._lock:
            server.session = session

    def close(self) -> None:
        with self._lock:
            sessions = [one.session for one in self.all if one.session is not None]
            for one in self.all:
                one.session = None
        for session in sessions:
            session.close()
        for one in self.all:
            one.drop_probe_session()

    @property
    def away(self) -> tuple[InferenceServer, ...]:
        with self._lock:
            return tuple(one for one in self.all if one.session is None)
