"""Names: MQTT topic levels as names of nodes, cameras, zones and rules."""

from __future__ import annotations

import re
import socket

from edgeseg.config.report import Report

MAX_CHARS = 64

NAME_PATTERN = rf"^[a-z0-9_-]{{1,{MAX_CHARS}}}$"
PREFIX_PATTERN = r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$"

_NOT_IN_NAMES = re.compile(r"[^a-z0-9_-]")


def topic_safe(text: str) -> str:
    """Return ``text`` as a name: lower case, characters other than a-z, 0-9, _ and - replaced."""
    return _NOT_IN_NAMES.sub("_", text.strip().lower())[:MAX_CHARS].strip("_-")


def name_error(text: str) -> str:
    """Return why ``text`` cannot be a topic level; empty if it can."""
    if not text:
        return "a name cannot be empty"
    if len(text) > MAX_CHARS:
        return f"{len(text)} characters, a name has at most {MAX_CHARS}"
    wrong = _NOT_IN_NAMES.search(text)
    if wrong is None:
        return ""
    better = topic_safe(text)
    hint = f"; write {better!r}" if better else ""
    return f"{wrong[0]!r} cannot be in a name, which is an MQTT topic (use a-z, 0-9, _ and -){hint}"


def check_name(report: Report) -> None:
    """Report the last key of the report's path where that cannot be a topic level."""
    error = name_error(str(report.path[-1]))
    if error:
        report.error(error, key=True)


def default_node() -> str:
    """Return this machine's host name without its domain, as a topic level; ``edgeseg`` where it has none."""
    return topic_safe(socket.gethostname().partition(".")[0]) or "edgeseg"


def title_of(name: str) -> str:
    """Return the title of a zone without the key ``name``: ``loading_bay`` -> ``Loading bay``."""
    words = name.replace("_", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:] if words else name
