"""Puts the web server together: what takes events, what answers, and the server itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from edgeseg.clock import Clock
from edgeseg.errors import ConfigError, EdgesegError, Problem
from edgeseg.publish.base import Command, Publisher
from edgeseg.settings import PipelineSettings, WebSettings
from edgeseg.state.history import History
from edgeseg.state.node_state import State
from edgeseg.web.auth import Authenticator
from edgeseg.web.daemon_view import DaemonView, Supervised
from edgeseg.web.handlers.command import CommandHandlers
from edgeseg.web.handlers.evidence import EvidenceHandlers
from edgeseg.web.handlers.picture import PictureHandlers
from edgeseg.web.handlers.status import StatusHandlers
from edgeseg.web.history_recorder import HistoryRecorder
from edgeseg.web.latest import Board
from edgeseg.web.live_feed import LiveFeed
from edgeseg.web.metrics import CONTENT_TYPE, Metrics
from edgeseg.web.openapi import document
from edgeseg.web.picture_cache import PictureCache
from edgeseg.web.request import Answer, Call
from edgeseg.web.routes import ROUTES
from edgeseg.web.server import Respond, Server
from edgeseg.web.zone_editor import ZoneEditor


class Site:
    """Everything that the key ``web`` stands for. Use it as a context manager.

    publisher: the one that counts what it delivered. command: takes validated wishes. reload: asks for the
    file to be read again.
    """

    def __init__(
        self,
        web: WebSettings,
        settings: PipelineSettings,
        publisher: Publisher,
        command: Callable[[Command], None],
        reload: Callable[[], None],
        state: State,
        clock: Clock,
        boot: str,
    ) -> None:
        self.running = DaemonView(
            settings, publisher, command, clock, boot, stuck=len(state.past.stuck_ago_s)
        )
        self.album = PictureCache(clock, self.running.want)
        self._board = Board()
        self._chronicle = HistoryRecorder(History(state.database), clock)
        self._feed = LiveFeed(boot, clock)
        self.metrics = Metrics(self.running.facts, self._board, clock)
        self._guard = Authenticator(web, clock)
        self._showing = PictureHandlers(self.running, self._board, self.album)
        self._editor = ZoneEditor(Path(settings.file), reload)
        self._file = settings.file
        self._document: bytes | None = None
        self._server = Server(
            web.host,
            web.port,
            self._responds(),
            self._guard,
            self.running,
            self._showing,
            self.album,
            self._feed,
            self._tick,
        )

    @property
    def publishers(self) -> tuple[Publisher, ...]:
        """Whoever has to get every event."""
        return (self._board, self._chronicle, self._feed, self.metrics)

    def attach(self, supervisor: Supervised) -> None:
        """The cameras are there to be asked from now on."""
        self.running.attach(supervisor)

    def reloaded(self, settings: PipelineSettings, error: EdgesegError | None) -> None:
        """The file was read again. settings: those in force from now on; error: why a new one was refused."""
        covered = {
            (camera.name, zone.name): (zone.include, zone.exclude, zone.confidence_floor)
            for camera in self.running.settings.cameras
            for zone in camera.zones
        }
        self.running.reloaded(settings, error)
        for camera in settings.cameras:
            changed = [
                zone.name
                for zone in camera.zones
                if covered.get((camera.name, zone.name))
                != (zone.include, zone.exclude, zone.confidence_floor)
            ]
            self._chronicle.forget(camera.name, changed)
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

    def _responds(self) -> Mapping[str, Respond]:
        telling = StatusHandlers(self.running, self._board, self.album, self._chronicle, self._editor)
        doing = CommandHandlers(self.running, self._chronicle, self._editor, self._guard)
        rooms = (telling, self._showing, EvidenceHandlers(self.running), doing, self)
        return {
            route.handler: next(
                getattr(room, route.handler) for room in rooms if hasattr(room, route.handler)
            )
            for route in ROUTES
            if route.handler is not None
        }

    def openapi(self, call: Call) -> Answer:
        if self._document is None:
            self._document = json.dumps(document(), ensure_ascii=False).encode()
        return Answer(200, self._document)

    def scrape(self, call: Call) -> Answer:
        return Answer(200, self.metrics.text(), CONTENT_TYPE)

    def _tick(self) -> None:
        self.album.tidy()
        self._chronicle.store()
