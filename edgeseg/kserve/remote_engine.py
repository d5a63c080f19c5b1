"""Remote engine: several servers and a local fallback engine behind one ``Engine``."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgeseg.clock import Clock, SystemClock
from edgeseg.engines.base import Cancellable, Engine, Outputs
from edgeseg.errors import EngineAwayError, EngineError
from edgeseg.frames import U8
from edgeseg.kserve.balancer import InferenceServer, ServerPool
from edgeseg.models.model import Model
from edgeseg.models.runtimes import REMOTE
from edgeseg.settings import RemoteServer, RemoteSettings

if TYPE_CHECKING:
    from edgeseg.kserve.client import KServeSession

log = logging.getLogger(__name__)

OpenLocal = Callable[[], Engine]
_PROBE_EVERY_S = 1.0


class RemoteEngine:
    """Sends each frame to the least busy server; see ``Engine``.

    A request that fails is repeated once on another server. Where no server answers, the fallback engine runs
    the frame in the same call, so that none is lost; without one the frame is lost (EngineAwayError). A
    server that failed gets no frames until it has answered probes for some seconds.

    Args:
        servers: the pool.
        fallback: the local engine for the time in which no server answers, or None.
        input_size_px: (width, height).
        settings: the deadline and more.
        clock: for the time that servers are away.
    """

    def __init__(
        self,
        servers: ServerPool,
        fallback: Engine | None,
        input_size_px: tuple[int, int],
        settings: RemoteSettings,
        clock: Clock,
    ) -> None:
        self.input_size_px = input_size_px
        self._servers = servers
        self._fallback = fallback
        self._settings = settings
        self._clock = clock
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._prober: threading.Thread | None = None
        self._away_since_s: float | None = None

    @property
    def name(self) -> str:
        """``kserve``, or the fallback engine's name while no server answers."""
        return self.running_fallback or REMOTE

    @property
    def running_fallback(self) -> str | None:
        """Which engine works in place of the servers; None while one of them does, ``none`` where frames are
        lost meanwhile."""
        if len(self._servers.away) < len(self._servers.all):
            return None
        return "none" if self._fallback is None else self._fallback.name

    @property
    def served(self) -> dict[str, int]:
        """How many frames each server has done."""
        return {str(server.address): server.served for server in self._servers.all}

    def start(self) -> None:
        """Begin to ask after servers that are away, from now on to ``close``."""
        for server in self._servers.away:
            self._log_lost(server)
        self._prober = threading.Thread(target=self._probe, name="kserve-probe", daemon=True)
        self._prober.start()

    def run(self, batch: U8) -> Outputs:
        """See ``Engine.run``. Raises EngineAwayError without an answer and without a fallback engine."""
        first: InferenceServer | None = None
        why: EngineError = EngineAwayError("every server is away")
        for _ in range(2):
            with self._servers.lend(other_than=first) as lent:
                if lent is None:
                    break
                server, session = lent
                try:
                    outputs = session.run(batch, self._settings.deadline_s)
                except EngineError as error:
                    first, why = server, error
                    if self._servers.failed(server, session, error):
                        self._log_lost(server)
                        # What is under way there fails too, and that soon.
                        session.close(lost=True)
                        self._lost.set()
                else:
                    self._servers.answered(server)
                    return outputs
        if self._fallback is None:
            raise EngineAwayError(f"engine {REMOTE}: {why}")
        return self._fallback.run(batch)

    def close(self) -> None:
        """See ``Engine.close``."""
        self._stop.set()
        self._lost.set()
        if self._prober is not None:
            self._prober.join()
            self._prober = None
        self._servers.close()
        if self._fallback is not None:
            self._fallback.close()

    def cancel(self, thread_id: int) -> bool:
        """See ``Cancellable.cancel``; a server's run ends by its deadline."""
        return isinstance(self._fallback, Cancellable) and self._fallback.cancel(thread_id)

    def _probe(self) -> None:
        while not self._stop.is_set():
            away = self._servers.away
            if not away:
                self._lost.wait()
                self._lost.clear()
                continue
            for server in away:
                session = server.probe(self._settings.deadline_s)
                if session is not None and not self._stop.is_set():
                    self._log_back(server)
                    self._servers.restore(server, session)
                elif session is not None:
                    session.close()
            self._stop.wait(_PROBE_EVERY_S)

    def _log_lost(self, server: InferenceServer) -> None:
        left = len(self._servers.all) - len(self._servers.away)
        if left:
            log.warning(
                "engine %s: %s; %d of %d servers go on", REMOTE, server.why_away, left, len(self._servers.all)
            )
            return
        if self._away_since_s is None:
            self._away_since_s = self._clock.monotonic_s()
        does = "frames are lost" if self._fallback is None else f"{self._fallback.name} runs here"
        log.warning("engine %s: %s; %s until it is back", REMOTE, server.why_away, does)

    def _log_back(self, server: InferenceServer) -> None:
        if self._away_since_s is not None:
            away_s = self._clock.monotonic_s() - self._away_since_s
            self._away_since_s = None
            log.info("engine %s: %s is back after %.0f s", REMOTE, server.address, away_s)
        else:
            log.info("engine %s: %s is back and gets frames again", REMOTE, server.address)


def open_remote(
    model: Model,
    settings: RemoteSettings,
    input_size_px: tuple[int, int],
    open_local: OpenLocal,
    clock: Clock | None = None,
) -> RemoteEngine:
    """Connect to the servers, check their models, and load the fallback engine.

    Args:
        model: the network.
        settings: servers, deadline, fallback.
        input_size_px: (width, height).
        open_local: opens the fallback engine; called only where the settings have one.
        clock: None for the system's.

    Raises EngineError: a server has another model, refuses us, or all are away and there is no fallback; and
    what ``open_local`` raises.
    """
    clock = clock or SystemClock()
    # Hides gRPC's own lines about connections: our log has which server is away.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from edgeseg.kserve.client import connect
    except ModuleNotFoundError as error:
        if error.name not in ("grpc", "tritonclient"):
            raise
        raise EngineError(
            f"engine {REMOTE}: install what it needs with pip install 'edgeseg[remote]'"
        ) from None

    def reach(address: RemoteServer) -> KServeSession:
        return connect(address, settings, model, input_size_px)

    with contextlib.ExitStack() as undo:
        servers = ServerPool([InferenceServer(address, reach, clock) for address in settings.servers])
        undo.callback(servers.close)
        away: EngineError | None = None
        for server in servers.all:
            try:
                server.open()
            except EngineAwayError as error:
                away = error
        fallback = open_local() if settings.fallback is not None else None
        if fallback is None and away is not None and len(servers.away) == len(servers.all):
            raise EngineError(f"engine {REMOTE}: {away}; start it, or write `fallback: auto`")
        undo.pop_all()
    engine = RemoteEngine(servers, fallback, input_size_px, settings, clock)
    engine.start()
    return engine
