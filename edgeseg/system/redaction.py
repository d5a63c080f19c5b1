"""Redaction: removes credentials from what is printed, logged, measured or published."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterable
from urllib.parse import quote

HIDDEN = "***"

_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)(\S+)")
_SECRET_PARAMETER = re.compile(
    r"(?i)([?&;][^=&;#\s]*(?:user|usr|login|pass|pwd|pw|token|key|auth|secret|sig|session|cred)[^=&;#\s]*=)"
    r"[^&;#\s'\"]*"
)


def redact_url(url: str) -> str:
    """``rtsp://user:password@host/path`` -> ``rtsp://***@host/path``.

    User and password go, and the values of query parameters that sound like credentials. Where an
    unescaped ``@``, ``/`` or ``?`` in a password makes the end of the credentials ambiguous, rather too
    much is hidden than too little.
    """
    return _URL.sub(_redact_match, url)


def _redact_match(match: re.Match[str]) -> str:
    scheme, rest = match[1], match[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in rest and ("@" in authority or ":" in authority):
        rest = f"{HIDDEN}@{rest.rpartition('@')[2]}"
    return scheme + _SECRET_PARAMETER.sub(rf"\g<1>{HIDDEN}", rest)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` without the credentials of any URL in it and without ``secrets``, as they are or
    percent-encoded."""
    spellings = {spelling for secret in secrets if secret for spelling in (secret, quote(secret, safe=""))}
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, HIDDEN)
    return redact_url(text)


class Redaction(logging.Filter):
    """Rewrites log records so that no credential reaches a handler. Drops none.

    Add it to handlers, not to a logger: a logger's filters do not see the records of its children.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets = frozenset(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide these too from now on; what was known stays hidden (a reload keeps old passwords out)."""
        self._secrets |= frozenset(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage(), self._secrets), None
        if record.exc_info and not record.exc_text:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        # A formatter that is handed the exception itself would print its message again.
        record.exc_info = None
        if record.exc_text:
            record.exc_text = redact(record.exc_text, self._secrets)
        if record.stack_info:
            record.stack_info = redact(record.stack_info, self._secrets)
        return True
