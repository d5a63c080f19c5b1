"""Events as JSON lines on a text stream: standard output without a broker, or a replay's transcript."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from types import TracebackType
from typing import TextIO

from edgeseg.errors import PublishError
from edgeseg.events import Event
from edgeseg.publish.base import Message
from edgeseg.publish.topics import Topics

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class JsonLinesPublisher:
    """One line for each message: ``{"topic", "qos", "retain", "payload"}``, flushed after each event.

    ``payload`` is the parsed JSON, the text where it is not JSON, or ``{"bytes", "sha256"}`` of binary.
    A reader that goes away (``| head``) ends the output quietly: ``gone`` turns True and later events are
    swallowed. Any other failure to write raises PublishError. The stream stays the caller's to close.
    """

    def __init__(self, topics: Topics, stream: TextIO) -> None:
        self._topics = topics
        self._stream = stream
        self._lock = threading.Lock()
        self._open = False
        self._writing = False
        self.gone = False

    @property
    def held_up(self) -> str | None:
        """Why nothing can be published now, if so."""
        return "the reader of the JSON lines does not read" if self._writing else None

    def start(self) -> None:
        with self._lock:
            self._open = True
            self._write(self._topics.status("online"))

    def send(self, event: Event) -> None:
        with self._lock:
            if self._open:
                self._write(*self._topics.messages(event))

    def close(self) -> None:
        with self._lock:
            if self._open:
                self._open = False
                self._write(self._topics.status("offline"))

    def __enter__(self) -> JsonLinesPublisher:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, *messages: Message) -> None:
        if self.gone:
            return
        self._writing = True
        try:
            # An occupancy is a message for each class: a system call for each would cost more than the rest.
            self._stream.write("".join(f"{line(message)}\n" for message in messages))
            self._stream.flush()
        except BrokenPipeError:
            self.gone = True
            _discard_buffer(self._stream)
        except OSError as error:
            raise PublishError(f"cannot write events as JSON lines: {error.strerror or error}") from error
        finally:
            self._writing = False


def line(message: Message) -> str:
    """One message as compact JSON, without a newline."""
    payload = message.payload.decode() if message.is_json else _dumps(payload_value(message.payload))
    retain = "true" if message.retain else "false"
    return f'{{"topic":{_dumps(message.topic)},"qos":{message.qos},"retain":{retain},"payload":{payload}}}'


def payload_value(payload: bytes) -> object:
    """The payload as JSON can show it."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return {"bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON, though Python reads it")


def _discard_buffer(stream: TextIO) -> None:
    # The interpreter flushes standard output once more at exit and would complain about the dead pipe:
    # the remedy of Python's own documentation (library/signal, "Note on SIGPIPE").
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
