"""Small real servers on loopback: clips over HTTP, an endless MJPEG camera, and servers that misbehave."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

from tests.support.passwords import used


@contextmanager
def http_server(
    clip: Path, *, user: str | None = None, password: str = "", fps: float = 20.0, pictures: int = 12
) -> Iterator[str]:
    """``{base}/clip.mp4`` is a clip, ``{base}/camera`` an MJPEG stream of ``pictures`` pictures at ``fps``
    that then ends, ``{base}/page`` no video. Yields the base URL, without user and password."""
    used(password)
    stop = threading.Event()

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
            if user and self.headers.get("Authorization") != login:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.end_headers()
            elif self.path == "/clip.mp4":
                self._send("video/mp4", clip.read_bytes())
            elif self.path == "/page":
                self._send("text/html", b"<html>no video here</html>" * 50)
            elif self.path == "/camera":
                self._stream()
            else:
                self.send_error(404)

        def _send(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self._write(body)

        def _stream(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            for number in range(pictures):
                picture = np.full((48, 64, 3), 10 * number, np.uint8)
                jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                if not self._write(head.encode() + jpeg + b"\r\n") or stop.wait(1 / fps):
                    return

        def _write(self, data: bytes) -> bool:
            try:
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                return False
            return True

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        stop.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def mute_server(answer: bytes = b"") -> Iterator[int]:
    """Accepts connections and says nothing, or one thing and hangs up. Yields the port."""
    stop = threading.Event()
    held: list[socket.socket] = []

    def serve(listener: socket.socket) -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            if answer:
                with connection:
                    connection.sendall(answer)
            else:
                held.append(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            thread.join()
            for connection in held:
                connection.close()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
