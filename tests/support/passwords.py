"""No test puts out a password that a test uses: not the daemon, not a command, not a message at a broker.

Servers of the suite that ask for a password name it here; conftest searches what every test has put out.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

# Shorter ones appear by chance.
_LEAST_LENGTH = 7

_words: set[str] = set()
_shown: list[str] = []


def used(*words: str | None) -> None:
    """These are passwords, from now on in all tests of this process."""
    _words.update(word for word in words if word is not None and len(word) >= _LEAST_LENGTH)


def note(*texts: str) -> None:
    """Something edgeseg has put out, which pytest would not see."""
    _shown.extend(texts)


def leaked(texts: Iterable[str]) -> list[str]:
    """Passwords, plain or as URLs have them, in ``texts`` and in all that was noted since the last call."""
    everything = "\n".join((*texts, *_shown))
    _shown.clear()
    return sorted(word for word in _words if word in everything or quote(word, safe="") in everything)
