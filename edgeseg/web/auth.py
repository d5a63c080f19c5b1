"""Who may ask: names in Host and Origin, the token, its cookie, and how often one may be wrong."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
import threading
from collections import OrderedDict
from collections.abc import Mapping
from urllib.parse import urlsplit

from edgeseg.clock import Clock
from edgeseg.publish.mqtt.commands import RateLimit
from edgeseg.settings import WebSettings
from edgeseg.web.request import RefusedError

COOKIE = "edgeseg"
SESSION_S = 30 * 86_400
_UNSAFE = ("POST", "PUT", "DELETE", "PATCH")
# Wrong tokens: some in a row for people's slips, then one in 10 s, for each address.
_WRONG_BURST, _WRONG_PER_S = 5, 0.1
_ADDRESSES = 1024


class Authenticator:
    """Judges requests before anything is done. Thread-safe. headers: names in lower case."""

    def __init__(self, settings: WebSettings, clock: Clock) -> None:
        self._token = settings.token.reveal().encode() if settings.token is not None else None
        own = socket.gethostname().lower()
        self._names = {"localhost", own, f"{own}.local", *settings.hosts}
        self._clock = clock
        self._lock = threading.Lock()
        self._wrong: OrderedDict[str, RateLimit] = OrderedDict()

    @property
    def wants_token(self) -> bool:
        return self._token is not None

    def check_origin(self, method: str, headers: Mapping[str, str], *, upgrade: bool = False) -> None:
        """A page from elsewhere can have a browser send requests: by a name of its own that it lets point
        here (DNS rebinding), or as another origin. An address in Host cannot be made so. upgrade: to a
        WebSocket, which browsers open across origins. Raises RefusedError (403)."""
        host = headers.get("host", "")
        if not self._is_ours(host):
            raise RefusedError(403, "this host name is not known here; name it in web.hosts of the file")
        if method not in _UNSAFE and not upgrade:
            return
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site", "same-origin")
        if origin is not None:
            place = _place(origin)
            foreign = not place or (place != host.lower() and place not in self._names)
        else:
            # Programs send none; browsers say at least from where the request comes.
            foreign = site not in ("same-origin", "none")
        if foreign:
            raise RefusedError(403, "this request comes from a page of another origin")

    def is_trusted(self, headers: Mapping[str, str], cookie: str | None, remote: str) -> bool:
        """Whether the token or its cookie came along, or none is needed. Raises RefusedError (429) for an
        address that was wrong too often, and RefusedError (401) for a wrong token."""
        if self._token is None or (cookie is not None and self._is_session(cookie)):
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not given:
            return False
        self.check_token(given.strip(), remote)
        return True

    def check_token(self, given: str, remote: str) -> None:
        """Raises RefusedError: 401, and 429 without looking at the token where too many were wrong."""
        if self._token is None:
            return
        with self._lock:
            limit = self._wrong.get(remote)
            if limit is not None and not limit.has_left(self._clock.monotonic_s()):
                raise RefusedError(429, "too many wrong tokens from this address; try again in a minute")
            if hmac.compare_digest(_digest(_bytes(given)), _digest(self._token)):
                return
            if limit is None:
                limit = self._wrong[remote] = RateLimit(burst=_WRONG_BURST, per_s=_WRONG_PER_S)
                if len(self._wrong) > _ADDRESSES:
                    self._wrong.popitem(last=False)
            limit.allow(self._clock.monotonic_s())
        raise RefusedError(401, "a wrong token")

    def session(self) -> str:
        """A cookie's value: it outlives restarts, and ends with the token it was made of."""
        until = str(int(self._clock.utc_s()) + SESSION_S)
        return f"{until}.{self._seal(until)}"

    def _is_session(self, cookie: str) -> bool:
        until, _, seal = cookie.partition(".")
        if not until.isdecimal() or not until.isascii() or len(until) > 12:
            return False
        same = hmac.compare_digest(_bytes(seal), self._seal(until).encode())
        return same and int(until) > self._clock.utc_s()

    def _seal(self, until: str) -> str:
        return hmac.new(self._token or b"", f"edgeseg session {until}".encode(), hashlib.sha256).hexdigest()

    def _is_ours(self, host: str) -> bool:
        if host.lower() in self._names:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _place(origin: str) -> str:
    """Host and port in lower case; empty where the origin has none, or is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _bytes(header: str) -> bytes:
    """Headers may hold any bytes; aiohttp gives those that are no UTF-8 as halves of surrogate pairs."""
    return header.encode(errors="surrogatepass")


def _digest(value: bytes) -> bytes:
    """compare_digest tells lengths apart by its time."""
    return hashlib.sha256(value).digest()
