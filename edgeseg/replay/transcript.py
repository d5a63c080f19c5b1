"""Transcripts: compares two, and describes the first difference in one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from edgeseg.errors import EdgesegError

TopicTest = Callable[[str], bool]
"""Whether messages of a topic count."""


def any_topic(topic: str) -> bool:
    """Return True."""
    return True


def alerts_only(topic: str) -> bool:
    """Return whether a topic has alerts or the states of rules."""
    levels = topic.split("/")
    return levels[-1] == "alert" or levels[-2:-1] == ["rule"]


def zones_only(topic: str) -> bool:
    """Return whether a topic is of a zone; a recording has nothing of the camera itself."""
    levels = topic.split("/")
    return alerts_only(topic) or levels[-3:-2] == ["zone"] or levels[-4:-3] == ["zone"]


class TopicFilter:
    """A text stream that passes on the messages whose topic is accepted."""

    def __init__(self, stream: TextIO | TranscriptDiff | None, accepts: TopicTest) -> None:
        self._stream = stream
        self._accepts = accepts

    def write(self, text: str) -> int:
        chosen = [line for line in text.splitlines(keepends=True) if self._accepts(json.loads(line)["topic"])]
        if self._stream is not None:
            self._stream.write("".join(chosen))
        return len(text)

    def flush(self) -> None:
        if self._stream is not None:
            self._stream.flush()

    def fileno(self) -> int:
        if self._stream is None:
            raise OSError("there is no file behind it")
        return self._stream.fileno()


class TranscriptDiff:
    """A text stream that compares what is written to it with a transcript.

    path: the expected transcript. accepts: which of its topics count; everything that is written counts, and
    is copied to ``copy``.
    ``difference`` is the first one, ready to be shown, and ``agreed`` how many messages came before it. The
    order of keys and how a number is written do not count. Raises EdgesegError where it is no transcript.
    """

    def __init__(self, path: Path, accepts: TopicTest, copy: TextIO | None = None) -> None:
        self.difference: str | None = None
        self.agreed = 0
        self._path = path
        self._copy = copy
        self._expected = self._read(accepts)

    def write(self, text: str) -> int:
        for line in text.splitlines():
            if self.difference is None:
                self._compare(json.loads(line))
        if self._copy is not None:
            self._copy.write(text)
        return len(text)

    def flush(self) -> None:
        if self._copy is not None:
            self._copy.flush()

    def fileno(self) -> int:
        if self._copy is None:
            raise OSError("there is no file behind it")
        return self._copy.fileno()

    def finish(self) -> None:
        """Compare the end: the transcript must have ended too."""
        if self.difference is None and (left := next(self._expected, None)) is not None:
            number, message = left
            self.difference = f"{self._path}:{number}: expected {_short(message)}, but the replay ended there"

    def _compare(self, got: dict[str, Any]) -> None:
        expected = next(self._expected, None)
        if expected is None:
            self.difference = f"{self._path}: ends after {self.agreed} messages, but then came {_short(got)}"
            return
        number, message = expected
        if message == got:
            self.agreed += 1
            return
        if message.get("topic") != got["topic"]:
            self.difference = f"{self._path}:{number}: expected {_short(message)}, got {_short(got)}"
            return
        where, wanted, given = next(_differences(message, got, ()))
        self.difference = (
            f"{self._path}:{number}: {_short(message)}: {'.'.join(where)}: expected {_value_text(wanted)}, "
            f"got {_value_text(given)}"
        )

    def _read(self, accepts: TopicTest) -> Iterator[tuple[int, dict[str, Any]]]:
        try:
            with self._path.open(encoding="utf-8") as stream:
                for number, line in enumerate(stream, start=1):
                    try:
                        message = json.loads(line)
                        if accepts(message["topic"]):
                            yield number, message
                    except (ValueError, TypeError, KeyError):
                        raise EdgesegError(
                            f"{self._path}:{number}: is no message; expected what "
                            "`edgeseg replay --output` writes"
                        ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise EdgesegError(f"{self._path}: cannot be read: {error}") from None


_NOTHING = object()


def _differences(
    expected: object, got: object, where: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], object, object]]:
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in (*expected, *(key for key in got if key not in expected)):
            yield from _differences(expected.get(key, _NOTHING), got.get(key, _NOTHING), (*where, key))
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for index, (one, other) in enumerate(zip(expected, got, strict=True)):
            yield from _differences(one, other, (*where, str(index)))
    elif expected != got:
        yield where, expected, got


def _short(message: dict[str, Any]) -> str:
    """Return a message in short: its topic, which alert, and when."""
    payload = message.get("payload")
    if not isinstance(payload, dict):
        return f"{message.get('topic')} {_value_text(payload)}"
    if "event" in payload:
        rule = "/".join(str(payload.get(key)) for key in ("camera", "zone", "rule"))
        return f"alert {payload['event']} of {rule} at {payload.get('at')}"
    return f"{message.get('topic')} of {payload.get('captured_at', payload.get('since'))}"


def _value_text(value: object) -> str:
    return "nothing" if value is _NOTHING else json.dumps(value, ensure_ascii=False)
