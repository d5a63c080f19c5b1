"""HTTP server: a thread with an event loop that takes each request to its handler."""

from __future__ import annotations

import asyncio
import logging
import mimetypes
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from edgeseg.web.auth import COOKIE, Authenticator
from edgeseg.web.request import RefusedError, Request, Response
from edgeseg.web.response_defaults import HEADERS, OPEN, faults
from edgeseg.web.routes import ROUTES, Handlers, Respond, Route
from edgeseg.web.streaming import Streaming

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
_MOST_BODY_BYTES = 128 * 1024
_TICK_S = 10.0
_THREADS = 6
_STOPS_WITHIN_S = 2.0


_HttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Serves from ``start`` to ``close``, in threads of its own. Nothing it does makes the pipeline wait.

    Args:
        handlers: what answers, in a thread that may wait for a disk.
        streaming: makes what answers without an end, in the server's loop.
        tick: called every 10 s.
    """

    def __init__(
        self,
        host: str,
        port: int,
        handlers: Handlers,
        auth: Authenticator,
        streaming: Callable[[], Streaming],
        tick: Callable[[], None],
    ) -> None:
        self._host = host
        self._port = port
        self._handlers = handlers
        self._auth = auth
        self._new_streaming = streaming
        self._tick = tick
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._streaming: Streaming | None = None
        self._pool: ThreadPoolExecutor | None = None

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
        if self._loop is not None and self._streaming is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._streaming.stop)
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
        self._loop = asyncio.get_running_loop()
        self._streaming = streaming = self._new_streaming()
        runner = web.AppRunner(
            self._app(streaming),
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
            while not await streaming.stopped_within(_TICK_S):
                await self._loop.run_in_executor(self._pool, self._tick)
        finally:
            await runner.cleanup()

    def _app(self, streaming: Streaming) -> web.Application:
        app = web.Application(middlewares=[self._guarded], client_max_size=_MOST_BODY_BYTES)
        for route in ROUTES:
            handler = self._mjpeg(streaming) if route.handler is None else self._handler(route, route.handler)
            app.router.add_route(route.method, route.path, handler)
        app.router.add_get("/api/v1/live", streaming.websocket)
        app.router.add_get("/", self._file)
        app.router.add_get("/static/{name:[A-Za-z0-9_.-]+}", self._file)
        return app

    @web.middleware
    async def _guarded(self, request: web.Request, handler: _HttpHandler) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        upgrade = headers.get("upgrade", "").lower() == "websocket"
        try:
            self._auth.check_origin(request.method, headers, upgrade=upgrade)
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
            return self._auth.is_trusted(headers, request.cookies.get(COOKIE), request.remote or "")
        except RefusedError:
            # What is open to everybody is so to those with a wrong token too.
            if path in OPEN:
                return False
            raise

    def _handler(self, route: Route, handler: Callable[[Handlers], Respond]) -> _HttpHandler:
        respond = handler(self._handlers)

        async def handle(http: web.Request) -> web.StreamResponse:
            request = _request(http, await http.read() if route.body is not None else b"")
            response = await asyncio.get_running_loop().run_in_executor(self._pool, respond, request)
            return _response(response)

        return handle

    def _mjpeg(self, streaming: Streaming) -> _HttpHandler:
        async def handle(http: web.Request) -> web.StreamResponse:
            assert self._pool is not None
            return await streaming.mjpeg(http, _request(http, b""), self._pool)

        return handle

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


def _request(http: web.Request, body: bytes) -> Request:
    return Request(
        path=dict(http.match_info),
        query=dict(http.query),
        headers=http["headers"],
        body=body,
        remote=http.remote or "",
        trusted=http["trusted"],
    )


def _response(answer: Response) -> web.Response:
    headers = {**answer.headers, "Content-Type": answer.content_type}
    return web.Response(status=answer.status, body=answer.body, headers=headers)
