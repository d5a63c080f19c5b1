"""TCP relay: stands between the daemon and a camera or broker, and can cut, mute or slow the line."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

_POLL_S = 0.05


class TcpRelay:
    """Listens on a port of its own and passes everything on to ``target_port``.

    swallow: connections stay open and nothing arrives any more, as after a cut cable. ``delay_s`` and
    ``bytes_per_s`` slow down both directions. allowed: whether new connections are taken.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.delay_s = 0.0
        self.bytes_per_s: float | None = None
        self.allowed = True
        self._stop = threading.Event()
        self._swallowing: set[socket.socket] = set()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> TcpRelay:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_POLL_S)
        self.port = int(self._listener.getsockname()[1])
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.cut()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def swallow(self) -> None:
        """Deliver nothing on present connections from now on. New connections work."""
        with self._lock:
            self._swallowing |= self._open

    def cut(self) -> None:
        """Close what is connected."""
        with self._lock:
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            try:
                if not self.allowed:
                    raise ConnectionRefusedError
                far = socket.create_connection(("127.0.0.1", self.target_port), timeout=5)
            except OSError:
                near.close()
                continue
            with self._lock:
                self._open |= {near, far}
            self._start(self._pass, near, far)
            self._start(self._pass, far, near)

    def _pass(self, here: socket.socket, there: socket.socket) -> None:
        here.settimeout(None)
        with suppress(OSError):
            while data := here.recv(4096):
                if self.delay_s or self.bytes_per_s:
                    pause_s = self.delay_s + (len(data) / self.bytes_per_s if self.bytes_per_s else 0)
                    self._stop.wait(pause_s)
                if here not in self._swallowing:
                    there.sendall(data)
        with suppress(OSError):
            if here not in self._swallowing:
                there.shutdown(socket.SHUT_WR)
        with self._lock:
            self._open.discard(here)
        here.close()
