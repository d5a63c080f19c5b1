"""Soak cameras: endless motion JPEG over HTTP, as cheap network cameras send it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path

import numpy as np

from edgeseg.clock import Clock
from edgeseg.drawing import overlay
from edgeseg.errors import SourceError
from edgeseg.sources.open import open_source

FPS = 10.0
# A clip is kept in memory as JPEG: half a minute of it, in a loop.
_MOST_PICTURES = 300
_BLINK_S = 4.0


def blinking(number: int) -> list[bytes]:
    """Pictures of a red square that is there half of the time, 64 x 48. number: of the camera, each of which
    has its own beat."""
    count = round((_BLINK_S + 0.5 * number) * FPS)
    pictures = []
    for index in range(count):
        picture = np.full((48, 64, 3), 32, np.uint8)
        # Something moves always, so that nothing seems frozen.
        picture[:8, index % 56 : index % 56 + 8] = 128
        if index < count // 2:
            picture[12:36, 40:56] = (224, 0, 0)
        pictures.append(overlay.encode_jpeg(picture))
    return pictures


def of_clip(clip: str) -> list[bytes]:
    """The pictures of a clip. Raises SourceError."""
    with open_source(clip) as source:
        whole = (overlay.to_rgb(picture) for picture in islice(source, _MOST_PICTURES))
        pictures = [overlay.encode_jpeg(picture) for picture in whole]
    if not pictures:
        raise SourceError("codec", f"{Path(clip).name}: not one picture in it can be decoded")
    return pictures


class CameraServer:
    """``with CameraServer(pictures, clock) as camera: watch(camera.port)``; the path is ``/camera``.

    What is shown follows the clock, not the viewer: who comes back sees what is then.
    """

    def __init__(self, pictures: Sequence[bytes], clock: Clock) -> None:
        self._pictures = pictures
        self._clock = clock
        self._stop = threading.Event()

    def __enter__(self) -> CameraServer:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
                self.end_headers()
                with suppress(OSError):
                    camera._stream(self)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _stream(self, viewer: BaseHTTPRequestHandler) -> None:
        due_s = self._clock.monotonic_s()
        while not self._stop.is_set():
            jpeg = self._pictures[int(self._clock.monotonic_s() * FPS) % len(self._pictures)]
            head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            viewer.wfile.write(head.encode() + jpeg + b"\r\n")
            due_s += 1 / FPS
            self._stop.wait(max(0.0, due_s - self._clock.monotonic_s()))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A viewer that was killed is the purpose here."""
