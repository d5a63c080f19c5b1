"""Somebody else on a camera's port."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_POLL_S = 0.05


@contextmanager
def answering(port: int, answer: bytes | None) -> Iterator[None]:
    """Somebody else on a camera's port: takes connections and says ``answer`` for as long as anyone listens;
    None: nothing at all."""
    stop = threading.Event()
    held: list[socket.socket] = []

    def serve(listener: socket.socket) -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            held.append(connection)
            if answer is not None:
                with suppress(OSError):
                    connection.settimeout(1.0)
                    for _ in range(64):
                        connection.sendall(answer)
                connection.close()

    listener = socket.create_server(("127.0.0.1", port))
    with listener:
        listener.settimeout(_POLL_S)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            for connection in held:
                connection.close()
