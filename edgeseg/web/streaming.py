"""Streaming: pictures as MJPEG, and the live feed over a WebSocket."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from aiohttp import WSMsgType, web

from edgeseg.web.daemon_view import DaemonView
from edgeseg.web.handlers.picture import PictureHandlers, overlay_of
from edgeseg.web.live_feed import LiveFeed
from edgeseg.web.picture_cache import PictureCache
from edgeseg.web.request import RefusedError, Request
from edgeseg.web.response_defaults import HEADERS

_MOST_MESSAGE_BYTES = 8 * 1024
# Each open page costs a drawing of each picture at most, and a look five times a second.
_MOST_STREAMS, _MOST_PAGES = 16, 32
_LOOK_EVERY_S = 0.2
_BOUNDARY = "edgeseg-picture"


def _part(jpeg: bytes) -> bytes:
    head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    return head.encode() + jpeg + b"\r\n"


class Streaming:
    """Answers that do not end by themselves. Belongs to the event loop of ``Server``."""

    def __init__(
        self, daemon: DaemonView, picture_handlers: PictureHandlers, pictures: PictureCache, feed: LiveFeed
    ) -> None:
        self._daemon = daemon
        self._picture_handlers = picture_handlers
        self._pictures = pictures
        self._feed = feed
        self._stopping = asyncio.Event()
        self._streams = 0
        self._pages = 0

    def stop(self) -> None:
        """End every stream soon."""
        self._stopping.set()

    async def stopped_within(self, timeout_s: float) -> bool:
        """Wait for ``stop``, for at most that long."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), timeout_s)
        return self._stopping.is_set()

    async def mjpeg(
        self, http: web.Request, request: Request, pool: ThreadPoolExecutor
    ) -> web.StreamResponse:
        """Send each new picture of a camera. Raises RefusedError (400, 404, 503)."""
        running, shown = self._daemon.camera(request.path["camera"]), overlay_of(request)
        camera, loop = running.settings.name, asyncio.get_running_loop()
        if self._streams >= _MOST_STREAMS:
            raise RefusedError(503, f"{_MOST_STREAMS} streams are being watched already")
        self._streams += 1
        try:
            # The first picture, or a plain answer why there is none.
            picture = await loop.run_in_executor(pool, self._picture_handlers.picture, request)
            response = web.StreamResponse(headers={**HEADERS, "Cache-Control": "no-store"})
            response.content_type = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
            await response.prepare(http)
            version = self._pictures.version(camera)
            while True:
                await response.write(_part(picture.body))
                while self._pictures.version(camera) == version:
                    if await self.stopped_within(_LOOK_EVERY_S):
                        return response
                    self._pictures.watch(camera)
                snapshot = self._pictures.newest(camera)
                if snapshot is not None:
                    version = snapshot.version
                    picture = await loop.run_in_executor(
                        pool, self._picture_handlers.jpeg, running, snapshot, shown
                    )
        except ConnectionResetError:
            return response
        finally:
            self._streams -= 1

    async def websocket(self, http: web.Request) -> web.StreamResponse:
        """Send events and news of pictures until the page is closed. Raises RefusedError (503)."""
        if self._pages >= _MOST_PAGES:
            raise RefusedError(503, f"{_MOST_PAGES} pages are open already")
        socket = web.WebSocketResponse(heartbeat=20.0, max_msg_size=_MOST_MESSAGE_BYTES)
        await socket.prepare(http)
        self._pages += 1
        watched: dict[str, int] = {}
        receiving = asyncio.create_task(self._receive(socket, watched))
        listener = self._feed.listen()
        settings = self._daemon.settings
        try:
            hello = {"type": "hello", "node": settings.node, "digest": settings.digest}
            await socket.send_str(json.dumps(hello))
            while not socket.closed and not receiving.done():
                for what in listener.take():
                    await socket.send_str(self._feed.text(what))
                for camera, sent in list(watched.items()):
                    self._pictures.watch(camera)
                    version = self._pictures.version(camera)
                    if version != sent:
                        watched[camera] = version
                        notice = {"type": "picture", "camera": camera, "version": version}
                        await socket.send_str(json.dumps(notice))
                if await self.stopped_within(_LOOK_EVERY_S):
                    break
        except ConnectionResetError:
            pass
        finally:
            self._pages -= 1
            self._feed.leave(listener)
            receiving.cancel()
            await socket.close()
        return socket

    async def _receive(self, socket: web.WebSocketResponse, watched: dict[str, int]) -> None:
        """Keep ``watched`` (camera -> version that was sent) as the page asks."""
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            with suppress(ValueError, RefusedError):
                asked = json.loads(message.data)
                names = asked.get("watch") if isinstance(asked, dict) else None
                if isinstance(names, list):
                    known = {self._daemon.camera(str(name)).settings.name for name in names[:64]}
                    for gone in watched.keys() - known:
                        del watched[gone]
                    for name in known:
                        watched.setdefault(name, 0)
