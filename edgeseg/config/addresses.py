"""Addresses: checks the sources and brokers that a pipeline file names.

No message here quotes an address: it may hold a password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from edgeseg.settings import SourceUrl
from edgeseg.sources.gstreamer import launch_line
from edgeseg.system.redaction import redact_url
from edgeseg.yamlfile import suggestion

NETWORK_SCHEMES = ("rtsp", "rtsps", "http", "https")
SCHEMES = (*NETWORK_SCHEMES, "v4l2", "csi", "file")
VARIABLE = launch_line.VARIABLE
# Capitals alone between two separators: a '$' elsewhere may well belong to a password.
_BARE_VARIABLE = re.compile(r"(?:^|(?<=[/:@?&=]))\$[A-Z_][A-Z0-9_]*(?=[/:@?&#]|$)")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9]+)?")
_PORT = "has a port out of range, expected a port from 1 to 65535"
_TAKES = (
    "rtsp://, rtsps://, http://, https://, v4l2:///dev/video0, csi://0, gstreamer: with a pipeline, a file "
    "or a folder"
)


@dataclass(frozen=True, slots=True)
class Broker:
    """An MQTT broker's address."""

    host: str
    port: int
    tls: bool


def source(text: str) -> SourceUrl:
    """Check a camera's ``source`` as written. Raises ValueError: a problem's message."""
    if not text.strip():
        raise ValueError(f"is empty, expected {_TAKES}")
    pipeline = launch_line.pipeline_of(text)
    if any(ord(char) < 32 or ord(char) == 127 for char in (text if pipeline is None else pipeline)):
        raise ValueError("has a control character in it")
    _check_variables(text)
    if pipeline is not None:
        error = launch_line.syntax_error(pipeline)
        if error:
            raise ValueError(error)
        return SourceUrl(f"{launch_line.PREFIX} {pipeline}", url=None, shown=launch_line.shown(pipeline))
    found = _SCHEME.match(text)
    if found is None:
        _check_path(text)
    else:
        scheme = found[1].lower()
        if scheme not in SCHEMES:
            hint = suggestion(scheme, SCHEMES) if scheme != "rtmp" else ""
            close = hint if "did you mean" in hint else ""
            raise ValueError(f"edgeseg reads no {found[1]}:// addresses; expected {_TAKES}{close}")
        if any(char.isspace() for char in text):
            raise ValueError("has a space in an address; write %20, or take the password from ${VAR}")
        if scheme in NETWORK_SCHEMES:
            _check_network(text)
        elif scheme == "csi":
            if not re.fullmatch(r"[0-9]+", text[found.end() :]):
                raise ValueError("expected the number of the camera connector: csi://0")
        elif not text[found.end() :].startswith("/"):
            example = "v4l2:///dev/video0" if scheme == "v4l2" else "file:///srv/clips/a.mp4"
            raise ValueError(f"expected three slashes and the full path: {example}")
    return SourceUrl(template=text, url=None, shown=redact_url(text))


def filled(template: str, values: dict[str, str], base: Path) -> str:
    """Return a checked template with its variables' ``values``: a URL (values percent-encoded), a GStreamer
    pipeline, or for a file the absolute path, ``base`` being the folder that relative ones start from."""
    pipeline = launch_line.pipeline_of(template)
    if pipeline is not None:
        return f"{launch_line.PREFIX} {launch_line.filled(pipeline, values)}"
    scheme = _SCHEME.match(template)
    if scheme is None or scheme[1].lower() == "file":
        path = unquote(template[scheme.end() :]) if scheme else template
        path = VARIABLE.sub(lambda m: values[m[1]], path)
        return str((base / path).absolute())
    return VARIABLE.sub(lambda m: quote(values[m[1]], safe=""), template)


def broker(text: str) -> Broker:
    """Parse ``mqtt://host`` or ``mqtts://host:8883``. Raises ValueError: a problem's message."""
    found = _SCHEME.match(text)
    if found is None or found[1].lower() not in ("mqtt", "mqtts"):
        raise ValueError("expected mqtt://host or mqtts://host, with :port where it is not 1883 or 8883")
    if "@" in text:
        raise ValueError("holds a user or password; use the keys username and password_file")
    if "${" in text:
        raise ValueError("takes no ${VAR}; write the broker's name or address")
    host, port = _host_and_port(text)
    parts = urlsplit(text)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("expected nothing after the host and port; the topic prefix has its own key, prefix")
    tls = found[1].lower() == "mqtts"
    return Broker(host, port or (8883 if tls else 1883), tls)


def _check_variables(text: str) -> None:
    rest = VARIABLE.sub("", text)
    if "${" in rest:
        raise ValueError("has a '${' that is no ${NAME}; names are letters, digits and _")
    if _BARE_VARIABLE.search(rest):
        # Not its name: it may be a password after all.
        plain = "%24" if _SCHEME.match(text) else "file:// and %24"
        raise ValueError(
            f"has a $NAME without braces; did you mean ${{NAME}}? (for a plain '$' write {plain})"
        )
    if VARIABLE.fullmatch(text):
        raise ValueError(
            "is all one variable, but what a variable holds is percent-encoded; write the address "
            "around it, such as rtsp://viewer:${PASSWORD}@10.0.0.5/stream"
        )


def _check_path(text: str) -> None:
    if text.startswith("~"):
        raise ValueError("'~' is not expanded; write the full path, or one relative to this file")
    if re.match(r"[A-Za-z0-9+.-]+:/[^/]", text) or re.match(r"(rtsps?|https?|v4l2|csi):", text, re.I):
        raise ValueError(f"expected '//' after the colon; edgeseg reads {_TAKES}")


def _check_network(text: str) -> None:
    bare = VARIABLE.sub("x", text)
    authority = re.split(r"[/?#]", bare.split("://", 1)[1], maxsplit=1)[0]
    if bare.count("@") > 1 or ("@" in bare and "@" not in authority):
        raise ValueError(
            "has an '@' that does not end the user and password; write %40 for one inside a password or "
            "path, %2F for a '/', or take the password from ${VAR}"
        )
    _host_and_port(text)


def _host_and_port(text: str) -> tuple[str, int | None]:
    # A variable stands for a word; as a port it would have to be a number.
    bare = re.sub(r":\$\{\w+\}(?=[/?#]|$)", ":1", text)
    bare = VARIABLE.sub("x", bare)
    try:
        parts = urlsplit(bare)
        host, port = parts.hostname, parts.port
    except ValueError:
        written = re.search(r"://(?:[^/?#]*@)?(?:[^/?#@:]*|\[[^/?#]*\]):0*([0-9]+)(?=[/?#]|$)", bare)
        if written is not None and (len(written[1]) > 5 or int(written[1]) > 65535):
            raise ValueError(_PORT) from None
        escapes = "; %2F for a '/' and %3A for a ':' inside a password" if "@" in text else ""
        raise ValueError(
            "has no valid host and port; expected host or host:port with a port from 1 to 65535 "
            f"([...] around IPv6{escapes})"
        ) from None
    if not host or not _HOST.fullmatch(host):
        raise ValueError("has no host, or one with characters that no host name has")
    if port == 0:
        raise ValueError(_PORT)
    return host, port
