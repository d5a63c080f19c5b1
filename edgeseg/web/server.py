"""The HTTP server: a thread with an event loop, which knows the way from a request to a handler and back."""

from __future__ import annotations

import asyncio
import json
import logging
import mimetypes
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from aiohttp import WSMsgType, web

from edgeseg.web.auth import COOKIE, Authenticator
from edgeseg.web.daemon_view import DaemonView
from edgeseg.web.handlers.picture import PictureHandlers, overlay_of
from edgeseg.web.live_feed import LiveFeed
from edgeseg.web.picture_cache import PictureCache
from edgeseg.web.request import Answer, Call, RefusedError
from edgeseg.web.response_defaults import HEADERS, OPEN, faults
from edgeseg.web.routes import ROUTES, Route

log = logging.getLogger(__name__)

Respond = Callable[[Call], Answer]

STATIC = Path(__file__).parent / "static"
_MOST_BODY_BYTES = 128 * 1024
_MOST_MESSAGE_BYTES = 8 * 1024
# Each open page costs a drawing of each picture at most, and a look five times a second.
_MOST_STREAMS, _MOST_PAGES = 16, 32
_LOOK_EVERY_S = 0.2
_TICK_S = 10.0
_THREADS = 6
_STOPS_WITHIN_S = 2.0
_BOUNDARY = "edgeseg-picture"


class Server:
    """Serves from ``start`` to ``close``, in threads of its own. Nothing it does makes the pipeline wait.

    responds: handler name -> what answers, in a thread that may wait for a disk. tick: called every 10 s.
    """

    def __init__(
        self,
        host: str,
        port: int,
        responds: Mapping[str, Respond],
        guard: Authenticator,
        running: DaemonView,
        showing: PictureHandlers,
        album: PictureCache,
        feed: LiveFeed,
        tick: Callable[[], None],
    ) -> None:
        self._host = host
        self._port = port
        self._responds = responds
        self._guard = guard
        self._running = running
        self._showing = showing
        self._album = album
        self._feed = feed
        self._tick = tick
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._streams = 0
        self.pages = 0

    def start(self) -> None:
        """Listen. Raises OSError where that is impossible."""
        bound: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(bound,), name="web", daemon=True)
        self._thread.start()
        bound.result()

    def close(self) -> None:
        """Idempotent."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and self._stopping is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopping.set)
        thread.join(2 * _STOPS_WITHIN_S)
        if thread.is_alive():
            log.warning("web: a request does not end; leaving it behind")

    def _run(self, bound: Future[None]) -> None:
        try:
            with ThreadPoolExecutor(_THREADS, thread_name_prefix="web") as self._pool:
                asyncio.run(self._serve(bound))
        finally:
            # Of no effect once that is known; before, ``start`` would wait for ever.
            bound.cancel()

    async def _serve(self, bound: Future[None]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        runner = web.AppRunner(
            self._app(),
            access_log=None,
            logger=faults(),
            handle_signals=False,
            shutdown_timeout=_STOPS_WITHIN_S,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await runner.cleanup()
            bound.set_exception(error)
            return
        bound.set_result(None)
        shown_host = f"[{self._host}]" if ":" in self._host else self._host
        log.info("web: listening at http://%s:%d", shown_host, self._port)
        try:
            while not await self._stopped_within(_TICK_S):
                await self._loop.run_in_executor(self._pool, self._tick)
        finally:
            await runner.cleanup()

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._guarded], client_max_size=_MOST_BODY_BYTES)
        for route in ROUTES:
            handler = self._stream if route.handler is None else self._handler(route)
            app.router.add_route(route.method, route.path, handler)
        app.router.add_get("/api/v1/live", self._live)
        app.router.add_get("/", self._file)
        app.router.add_get("/static/{name:[A-Za-z0-9_.-]+}", self._file)
        return app

    @web.middleware
    async def _guarded(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        upgrade = headers.get("upgrade", "").lower() == "websocket"
        try:
            self._guard.check_origin(request.method, headers, upgrade=upgrade)
            resource = request.match_info.route.resource
            path = resource.canonical if resource is not None else ""
            trusted = self._is_trusted(request, headers, path)
            if not trusted and path not in OPEN:
                raise RefusedError(401, "a token is needed")
            request["trusted"], request["headers"] = trusted, headers
            response = await handler(request)
        except RefusedError as refused:
            response = _response(refused.answer())
        except web.HTTPException as error:
            if error.status < 400:
                raise
            response = _response(RefusedError(error.status, error.reason).answer())
            response.headers.update({"Allow": error.headers["Allow"]} if "Allow" in error.headers else {})
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    def _is_trusted(self, request: web.Request, headers: Mapping[str, str], path: str) -> bool:
        try:
            return self._guard.is_trusted(headers, request.cookies.get(COOKIE), request.remote or "")
        except RefusedError:
            # What is open to everybody is so to those with a wrong token too.
            if path in OPEN:
                return False
            raise

    def _handler(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        respond = self._responds[route.handler or ""]

        async def handle(request: web.Request) -> web.StreamResponse:
            call = _call(request, await request.read() if route.body is not None else b"")
            answer = await asyncio.get_running_loop().run_in_executor(self._pool, respond, call)
            return _response(answer)

        return handle

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        call = _call(request, b"")
        post, shown = self._running.post(call.path["camera"]), overlay_of(call)
        camera, loop = post.settings.name, asyncio.get_running_loop()
        if self._streams >= _MOST_STREAMS:
            raise RefusedError(503, f"{_MOST_STREAMS} streams are being watched already")
        self._streams += 1
        try:
            # The first picture, or a plain answer why there is none.
            answer = await loop.run_in_executor(self._pool, self._showing.picture, call)
            response = web.StreamResponse(headers={**HEADERS, "Cache-Control": "no-store"})
            response.content_type = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
            await response.prepare(request)
            version = self._album.version(camera)
            while True:
                head = (
                    f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(answer.body)}\r\n\r\n"
                )
                await response.write(head.encode() + answer.body + b"\r\n")
                while self._album.version(camera) == version:
                    if await self._stopped_within(_LOOK_EVERY_S):
                        return response
                    self._album.watch(camera)
                shot = self._album.newest(camera)
                if shot is not None:
                    version = shot.version
                    answer = await loop.run_in_executor(self._pool, self._showing.jpeg, post, shot, shown)
        except ConnectionResetError:
            return response
        finally:
            self._streams -= 1

    async def _live(self, request: web.Request) -> web.StreamResponse:
        if self.pages >= _MOST_PAGES:
            raise RefusedError(503, f"{_MOST_PAGES} pages are open already")
        socket = web.WebSocketResponse(heartbeat=20.0, max_msg_size=_MOST_MESSAGE_BYTES)
        await socket.prepare(request)
        self.pages += 1
        watched: dict[str, int] = {}
        hearing = asyncio.create_task(self._hear(socket, watched))
        listener = self._feed.listen()
        settings = self._running.settings
        try:
            hello = {"type": "hello", "node": settings.node, "digest": settings.digest}
            await socket.send_str(json.dumps(hello))
            while not socket.closed and not hearing.done():
                for what in listener.take():
                    await socket.send_str(self._feed.text(what))
                for camera, told in list(watched.items()):
                    self._album.watch(camera)
                    version = self._album.version(camera)
                    if version != told:
                        watched[camera] = version
                        notice = {"type": "picture", "camera": camera, "version": version}
                        await socket.send_str(json.dumps(notice))
                if await self._stopped_within(_LOOK_EVERY_S):
                    break
        except ConnectionResetError:
            pass
        finally:
            self.pages -= 1
            self._feed.leave(listener)
            hearing.cancel()
            await socket.close()
        return socket

    async def _hear(self, socket: web.WebSocketResponse, watched: dict[str, int]) -> None:
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            with suppress(ValueError, RefusedError):
                said = json.loads(message.data)
                names = said.get("watch") if isinstance(said, dict) else None
                if isinstance(names, list):
                    known = {self._running.post(str(name)).settings.name for name in names[:64]}
                    for gone in watched.keys() - known:
                        del watched[gone]
                    for name in known:
                        watched.setdefault(name, 0)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        path = STATIC / request.match_info.get("name", "index.html")
        try:
            about = path.stat()
            etag = f'"{about.st_mtime_ns:x}-{about.st_size:x}"'
            headers = {"ETag": etag, "Cache-Control": "no-cache"}
            if request.headers.get("If-None-Match") == etag:
                return web.Response(status=304, headers=headers)
            body = path.read_bytes()
        except OSError:
            raise RefusedError(404, "no such file") from None
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        text = kind.startswith("text/") or kind == "application/javascript"
        return web.Response(body=body, content_type=kind, charset="utf-8" if text else None, headers=headers)

    async def _stopped_within(self, timeout_s: float) -> bool:
        assert self._stopping is not None
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), timeout_s)
        return self._stopping.is_set()


def _call(request: web.Request, body: bytes) -> Call:
    return Call(
        path=dict(request.match_info),
        query=dict(request.query),
        headers=request["headers"],
        body=body,
        remote=request.remote or "",
        trusted=request["trusted"],
    )


def _response(answer: Answer) -> web.Response:
    headers = {**answer.headers, "Content-Type": answer.content_type}
    return web.Response(status=answer.status, body=answer.body, headers=headers)
