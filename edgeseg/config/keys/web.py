"""The key ``web``: dashboard, HTTP API, metrics and health."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from edgeseg.config.fields import ON_OFF_WORDS, Keys, OnOff, text
from edgeseg.config.report import Report
from edgeseg.settings import WebSettings
from edgeseg.yamlfile import quoted

# A token of fewer could be guessed through a server that answers some thousand times an hour.
LEAST_TOKEN_CHARS = 16
_LISTEN = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<four>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?")
LISTEN_PATTERN = r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$"


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the server listens. host: an address; loopback: whether only this machine reaches it."""

    host: str
    port: int
    loopback: bool


def listen(written: str) -> Listen:
    """Parse ``127.0.0.1:8088``, ``localhost:8088``, ``[::1]:8088``, ``0.0.0.0:8088``. Raises ValueError."""
    found = _LISTEN.fullmatch(written)
    host = (found["six"] or found["four"]) if found else ""
    host = "127.0.0.1" if host == "localhost" else host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if found is None or address is None or not 1 <= int(found["port"]) <= 65_535:
        raise ValueError(
            f"got {quoted(written)}, expected an address of this machine and a port: 127.0.0.1:8088 for this "
            "machine alone, 0.0.0.0:8088 for others too"
        )
    return Listen(host, int(found["port"]), address.is_loopback)


def _listen(value: str) -> str:
    listen(value)
    return value


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError(f"got {quoted(value)}, expected a host name, such as cameras.example.org")
    return value.lower()


class WebFile(Keys, title="web server"):
    listen: Annotated[str, AfterValidator(_listen), text({"pattern": LISTEN_PATTERN})] = Field(
        description="Address and port: 127.0.0.1:8088 for this machine alone; 0.0.0.0:8088 for others too, "
        "which needs token_file."
    )
    token_file: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="File that holds the token alone, 16 characters or more (`openssl rand -hex 16`), which "
        "people and programs have to give: looked up in $CREDENTIALS_DIRECTORY, then as a path relative to "
        "this file.",
    )
    hosts: list[Annotated[str, AfterValidator(_host)]] = Field(
        [],
        description="Names by which browsers reach it, where these are not localhost, this machine's own or "
        "an address: that of a reverse proxy. Needs token_file.",
    )


def _web_keys(value: object) -> object:
    """Take ``web: off`` for no key."""
    if isinstance(value, bool) or (isinstance(value, str) and value.lower() in ON_OFF_WORDS):
        if value is False or (isinstance(value, str) and value.lower() in ("off", "no")):
            return None
        raise ValueError("got on, expected off or keys; write {listen: 127.0.0.1:8088}")
    if not isinstance(value, (dict, WebFile)):
        raise ValueError(f"got {quoted(value)}, expected off or keys; write {{listen: 127.0.0.1:8088}}")
    return value


Web = Annotated[WebFile | None, BeforeValidator(_web_keys, json_schema_input_type=OnOff | WebFile)]


def web_settings(file: WebFile, report: Report) -> WebSettings:
    """Return the web server's settings, without its token. report: of the key ``web``."""
    place = listen(file.listen)
    if file.token_file is None and report.complete and (file.hosts or not place.loopback):
        what = "hosts means that others reach it" if place.loopback else "others reach it there"
        report.error(
            f"{what}: that needs token_file beside it (openssl rand -hex 16 > web_token)",
            ("hosts" if place.loopback else "listen",),
        )
    return WebSettings(place.host, place.port, file.token_file, hosts=tuple(file.hosts))
