"""Names that become MQTT topic levels, and the host name when the file gives none."""

from __future__ import annotations

import re
import socket

MAX_CHARS = 64

NAME_PATTERN = rf"^[a-z0-9_-]{{1,{MAX_CHARS}}}$"
PREFIX_PATTERN = r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$"

_NOT_IN_NAMES = re.compile(r"[^a-z0-9_-]")


def topic_safe(text: str) -> str:
    """``text`` as a name: lower case, everything else than a-z, 0-9, _ and - replaced. May be empty."""
    return _NOT_IN_NAMES.sub("_", text.strip().lower())[:MAX_CHARS].strip("_-")


def name_flaw(text: str) -> str:
    """Why ``text`` cannot be a topic level; empty if it can."""
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


def default_node() -> str:
    """This machine's host name without its domain, as a topic level; ``edgeseg`` where it has none."""
    return topic_safe(socket.gethostname().partition(".")[0]) or "edgeseg"


def title_of(name: str) -> str:
    """``loading_bay`` -> ``Loading bay``: what people see where a zone has no ``name``."""
    words = name.replace("_", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:] if words else name
