"""A name server that can fall silent (RFC 1035, as far as one A record goes)."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from tests.conftest import missing

_A, _POINTER_TO_QUESTION = 1, b"\xc0\x0c"


class Resolver:
    """Answers every question for an A record with 127.0.0.1 while ``answers``; otherwise nothing comes."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.answers = True
        self.asked = 0
        self._stop = threading.Event()

    def __enter__(self) -> Resolver:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((self.address, 53))
        except OSError as error:
            self._socket.close()
            missing(f"port 53 on {self.address} ({error.strerror})")
        self._socket.settimeout(0.05)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            with suppress(TimeoutError):
                question, sender = self._socket.recvfrom(512)
                self.asked += 1
                if self.answers:
                    self._socket.sendto(_answer(question), sender)


def _answer(question: bytes) -> bytes:
    end = question.index(b"\0", 12) + 5
    found = int.from_bytes(question[end - 4 : end - 2], "big") == _A
    # Response, recursion available; one question, no or one answer, nothing else.
    head = question[:2] + b"\x81\x80\0\x01" + (b"\0\x01" if found else b"\0\0") + b"\0\0\0\0"
    record = _POINTER_TO_QUESTION + b"\0\x01\0\x01\0\0\0\0\0\x04\x7f\0\0\x01" if found else b""
    return head + question[12:end] + record
