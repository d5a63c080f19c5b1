"""Site: puts the web server together from its publishers, its handlers and the server itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from edgeseg.clock import Clock
from edgeseg.errors import ConfigError, EdgesegError, Problem
from edgeseg.publish.base import Command, Publisher
from edgeseg.settings import PipelineSettings, WebSettings
from edgeseg.state.history import History
from edgeseg.state.node_state import NodeState
from edgeseg.web.auth import Authenticator
from edgeseg.web.daemon_view import DaemonView, Supervised
from edgeseg.web.handlers.command import CommandHandlers
from edgeseg.web.handlers.documents import DocumentHandlers
from edgeseg.web.handlers.evidence import EvidenceHandlers
from edgeseg.web.handlers.picture import PictureHandlers
from edgeseg.web.handlers.status import StatusHandlers
from edgeseg.web.history_recorder import HistoryRecorder
from edgeseg.web.latest import LatestValues
from edgeseg.web.live_feed import LiveFeed
from edgeseg.web.metrics import Metrics
from edgeseg.web.openapi import document
from edgeseg.web.picture_cache import PictureCache
from edgeseg.web.routes import Handlers
from edgeseg.web.server import Server
from edgeseg.web.streaming import Streaming
from edgeseg.web.zone_editor import ZoneEditor


class Site:
    """Everything that the key ``web`` stands for. Use it as a context manager.

    publisher: the one that counts what it delivered. command: takes validated commands. reload: asks for the
    file to be read again.
    """

    def __init__(
        self,
        web: WebSettings,
        settings: PipelineSettings,
        publisher: Publisher,
        command: Callable[[Command], None],
        reload: Callable[[], None],
        state: NodeState,
        clock: Clock,
        boot: str,
    ) -> None:
        self.daemon = DaemonView(settings, publisher, command, clock, boot, stuck=len(state.past.stuck_ago_s))
        self.pictures = PictureCache(clock, self.daemon.request_frame)
        self._latest = LatestValues()
        self._history = HistoryRecorder(History(state.database), clock)
        self._feed = LiveFeed(boot, clock)
        self.metrics = Metrics(self.daemon.facts, self._latest, clock)
        auth = Authenticator(web, clock)
        picture_handlers = PictureHandlers(self.daemon, self._latest, self.pictures)
        editor = ZoneEditor(Path(settings.file), reload)
        self._file = settings.file
        self._server = Server(
            web.host,
            web.port,
            Handlers(
                StatusHandlers(self.daemon, self._latest, self.pictures, self._history, editor),
                picture_handlers,
                EvidenceHandlers(self.daemon),
                CommandHandlers(self.daemon, self._history, editor, auth),
                DocumentHandlers(self.metrics, document),
            ),
            auth,
            lambda: Streaming(self.daemon, picture_handlers, self.pictures, self._feed),
            self._tick,
        )

    @property
    def publishers(self) -> tuple[Publisher, ...]:
        """Those that get every event."""
        return (self._latest, self._history, self._feed, self.metrics)

    def attach(self, supervisor: Supervised) -> None:
        """The cameras are there to be asked from now on."""
        self.daemon.attach(supervisor)

    def reloaded(self, settings: PipelineSettings, error: EdgesegError | None) -> None:
        """The file was read again. settings: those in force from now on; error: why a new one was refused."""
        covered = {
            (camera.name, zone.name): (zone.include, zone.exclude, zone.confidence_floor)
            for camera in self.daemon.settings.cameras
            for zone in camera.zones
        }
        self.daemon.reloaded(settings, error)
        for camera in settings.cameras:
            changed = [
                zone.name
                for zone in camera.zones
                if covered.get((camera.name, zone.name))
                != (zone.include, zone.exclude, zone.confidence_floor)
            ]
            self._history.forget(camera.name, changed)
        said = None if error is None else str(error)
        self._feed.say(("reload",), {"type": "reload", "digest": settings.digest, "error": said})

    def __enter__(self) -> Site:
        """Raises ConfigError where nothing can listen there."""
        try:
            self._server.start()
        except OSError as error:
            # asyncio's own words repeat the address.
            why = os.strerror(error.errno) if error.errno else str(error)
            message = f"cannot listen there: {why}; choose another port or address"
            raise ConfigError([Problem(self._file, 0, 0, "web.listen", message)]) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _tick(self) -> None:
        self.pictures.tidy()
        self._history.store()
