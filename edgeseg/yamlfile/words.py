"""How a message names a place, quotes a value, and suggests a name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Union

Step = Union[str, int]
Steps = tuple[Step, ...]

_WORDS = re.compile(r"[\w -]{1,64}")
_CREDENTIALS = re.compile(r"://\S*@")


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` or a list of what is known, to append to an error. Empty if none is."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name.lower(), [n.lower() for n in names], n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{next(n for n in names if n.lower() == close[0])}'?"
    if not names:
        return ""
    listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"; known are: {listed}"


def shown(value: object) -> str:
    """A value as an error may quote it: short, on one line, credentials in URLs replaced."""
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


def dotted(steps: Iterable[Step]) -> str:
    """``cameras.yard.zones.gate.polygon[0]``; a key that is no plain word is quoted."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step if _WORDS.fullmatch(step) else shown(step)}"
    return text.removeprefix(".")
