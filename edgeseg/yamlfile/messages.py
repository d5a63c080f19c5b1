"""Messages: names a place, quotes a value and suggests a name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

PathPart = str | int
KeyPath = tuple[PathPart, ...]

# difflib's own bound for words that are close.
_CLOSE = 0.6

_WORDS = re.compile(r"[\w -]{1,64}")
_CREDENTIALS = re.compile(r"://\S*@")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` or a list of what is known, to append to an error; empty if none is."""
    names = sorted(set(known))
    close = max(names, key=lambda known: _closeness(name.lower(), known.lower()), default="")
    if _closeness(name.lower(), close.lower()).ratio >= _CLOSE:
        return f"; did you mean '{close}'?"
    if not names:
        return ""
    listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"; known are: {listed}"


class _Closeness(NamedTuple):
    """How alike two words are. Of equally like ones the one with the same letters is nearer, as letters
    change places more often than they change."""

    ratio: float
    same_letters: bool


def _closeness(name: str, known: str) -> _Closeness:
    ratio = difflib.SequenceMatcher(None, known, name).ratio()
    return _Closeness(ratio, sorted(name) == sorted(known))


def quoted(value: object) -> str:
    """Return a value as an error may quote it: short, on one line, credentials in URLs replaced."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(_CREDENTIALS.sub("://***@", str(value))) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def dotted(path: Iterable[PathPart]) -> str:
    """Return ``cameras.yard.zones.gate.polygon[0]``; a key that is no plain word is quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part if _WORDS.fullmatch(part) else quoted(part)}"
    return text.removeprefix(".")
