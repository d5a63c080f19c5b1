"""Logs: formats log lines for people, for journald, or as JSON."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Literal, TextIO, get_args

from edgeseg.clock import iso_utc

LogStyle = Literal["text", "json"]
LOG_STYLES: tuple[LogStyle, ...] = get_args(LogStyle)

# syslog(3) priorities, which journald reads from the beginning of a line (sd-daemon(3)).
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG_PRIORITY = 7


def log_to(stream: TextIO, style: LogStyle, level: int, redaction: logging.Filter) -> None:
    """Send everything that is logged in this process to ``stream``, redacted.

    Where the stream is journald's, each line begins with its priority, and without a time: journald has one.
    """
    journal = is_journal(stream)
    formatter: logging.Formatter
    if style == "json":
        formatter = JsonLines()
    else:
        formatter = logging.Formatter("%(message)s" if journal else "%(asctime)s %(levelname)s %(message)s")
    handler = logging.StreamHandler(stream)
    handler.addFilter(redaction)
    handler.setFormatter(Prioritised(formatter) if journal else formatter)
    logging.basicConfig(level=level, handlers=[handler])


def is_journal(stream: TextIO) -> bool:
    """Whether the stream is the one that systemd connected to journald.

    $JOURNAL_STREAM is inherited by whatever a service starts, hence the comparison (systemd.exec(5)).
    """
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class JsonLines(logging.Formatter):
    """One JSON object a record: at (UTC), level, logger, thread, message, exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "at": iso_utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "thread": record.threadName,
            "message": record.getMessage(),
        }
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            fields["exception"] = record.exc_text
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


class Prioritised(logging.Formatter):
    """Lines as another formatter makes them, each with its priority in front: journald takes every line of
    a traceback for a message of its own."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return _prefixed(self._inner.format(record), record.levelno)


def priority(level: int) -> int:
    """The syslog priority of a level of ``logging``."""
    return next((number for least, number in _PRIORITIES if level >= least), _DEBUG_PRIORITY)


def complain(text: str) -> None:
    """Say on standard error why a command ends; as an error where that is journald's."""
    print(_prefixed(text, logging.ERROR) if is_journal(sys.stderr) else text, file=sys.stderr)


def log_to_stderr(style: LogStyle, level: int, redaction: logging.Filter) -> None:
    """``log_to`` standard error."""
    log_to(sys.stderr, style, level, redaction)


def _prefixed(text: str, level: int) -> str:
    return "\n".join(f"<{priority(level)}>{line}" for line in text.split("\n"))
