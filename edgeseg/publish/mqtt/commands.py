"""Commands that arrive over MQTT: ``<prefix>/<node>/<camera>/set/<thing>``."""

from __future__ import annotations

import re

from edgeseg.publish.base import Command
from edgeseg.settings import FASTEST_FPS, SLOWEST_FPS

_SWITCH = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}
_PICTURE = re.compile(r"[0-9a-f]{16}(-before|-after)?")
# float() would also take 1e1, 1_0, inf, nan and digits of other scripts.
_NUMBER = re.compile(r"[0-9]{1,3}(\.[0-9]{1,6})?")


def parse(base: str, topic: str, payload: bytes) -> Command:
    """base: ``<prefix>/<node>``. Raises ValueError in words: what came and what was expected."""
    levels = topic.removeprefix(base + "/").split("/")
    if not topic.startswith(base + "/") or len(levels) != 3 or levels[1] != "set":
        raise ValueError(f"{topic}: not a command; expected {base}/<camera>/set/<thing>")
    camera, _, thing = levels
    match thing:
        case "enabled":
            return Command(camera, "enabled", _switch(topic, payload))
        case "rate":
            return Command(camera, "rate", _rate(topic, payload))
        case "snapshot":
            return Command(camera, "snapshot", None)
        case "evidence":
            return Command(camera, "evidence", _picture(topic, payload))
    raise ValueError(f"{topic}: unknown command {thing!r}; expected enabled, rate, snapshot or evidence")


class RateLimit:
    """A token bucket: ``burst`` at once, ``per_s`` in the long run. Not thread-safe."""

    def __init__(self, *, burst: int, per_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._tokens = float(burst)
        self._at_s: float | None = None

    def allow(self, now_s: float) -> bool:
        """now_s: monotonic."""
        if not self.has_left(now_s):
            return False
        self._tokens -= 1
        return True

    def has_left(self, now_s: float) -> bool:
        """Whether ``allow`` would; takes nothing."""
        if self._at_s is not None:
            self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        return self._tokens >= 1


def _switch(topic: str, payload: bytes) -> bool:
    value = _SWITCH.get(_text(payload).lower())
    if value is None:
        raise ValueError(f"{topic}: got {_shown(payload)}; expected ON, OFF, true, false, 1 or 0")
    return value


def _rate(topic: str, payload: bytes) -> float:
    text = _text(payload)
    if not _NUMBER.fullmatch(text) or not SLOWEST_FPS <= float(text) <= FASTEST_FPS:
        raise ValueError(
            f"{topic}: got {_shown(payload)}; expected frames a second, {SLOWEST_FPS} to {FASTEST_FPS:g}"
        )
    return float(text)


def _picture(topic: str, payload: bytes) -> str:
    text = _text(payload).removesuffix(".jpg")
    if not _PICTURE.fullmatch(text):
        raise ValueError(
            f"{topic}: got {_shown(payload)}; expected an alert's id, or that with -before or -after"
        )
    return text


def _text(payload: bytes) -> str:
    return payload[:64].decode("ascii", "replace").strip()


def _shown(payload: bytes) -> str:
    shown = repr(payload[:32])[1:]
    return shown + "..." if len(payload) > 32 else shown
