"""The key ``remote``: servers that run the model (KServe v2 over gRPC), for ``engine: kserve``."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from edgeseg.config.fields import Duration, Keys, OnOff, between, duration_between
from edgeseg.config.report import Report
from edgeseg.models.runtimes import AUTO, ENGINE_NAMES, REMOTE
from edgeseg.settings import RemoteServer, RemoteSettings
from edgeseg.yamlfile import quoted, suggestion

MOST_SERVERS = 16
# How long a server may take for a frame: a worker waits so long, for two servers twice.
SHORTEST_DEADLINE_S, LONGEST_DEADLINE_S, DEFAULT_DEADLINE_S = 0.02, 3.0, 1.0
LOWEST_JPEG_QUALITY, HIGHEST_JPEG_QUALITY, DEFAULT_JPEG_QUALITY = 30, 100, 90
_NONE = "none"
_FALLBACKS = (*ENGINE_NAMES, _NONE)
_URL_PATTERN = r"^grpcs?://[A-Za-z0-9._:\[\]-]+$"


def server(text: str) -> RemoteServer:
    """Parse ``grpc://10.0.0.9:8001`` or ``grpcs://box``. Raises ValueError: a problem's message."""
    expected = "expected grpc://host:8001, or grpcs://host:8001 with TLS"
    if "@" in text:
        raise ValueError(f"holds a user or password; use the key token_file; {expected}")
    if not re.fullmatch(_URL_PATTERN, text):
        raise ValueError(f"got {quoted(text)}, {expected}")
    parts = urlsplit(text)
    try:
        host, port = parts.hostname, parts.port or 8001
    except ValueError:
        raise ValueError(f"got {quoted(text)}, which has a port out of range; {expected}") from None
    if not host:
        raise ValueError(f"got {quoted(text)}, {expected}")
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return RemoteServer(host, port, parts.scheme == "grpcs", local)


def _urls(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _url(value: str) -> str:
    server(value)
    return value


def _different(values: list[str]) -> list[str]:
    if len({server(value).address for value in values}) < len(values):
        raise ValueError("names a server twice")
    return values


def _fallback(value: object) -> object:
    # To YAML 1.2 `none` is text, and people write null for it.
    value = _NONE if value is None else value
    if value not in _FALLBACKS:
        hint = suggestion(value, _FALLBACKS) if isinstance(value, str) else ""
        close = hint if "did you mean" in hint else ""
        raise ValueError(f"got {quoted(value)}, expected {', '.join(_FALLBACKS)}{close}")
    return value


_Url = Annotated[str, AfterValidator(_url)]
_URL_SCHEMA = {"type": "string", "pattern": _URL_PATTERN}
_Urls = Annotated[
    list[_Url],
    BeforeValidator(_urls),
    Field(min_length=1, max_length=MOST_SERVERS),
    AfterValidator(_different),
    WithJsonSchema(
        {
            "anyOf": [
                _URL_SCHEMA,
                {"type": "array", "items": _URL_SCHEMA, "minItems": 1, "maxItems": MOST_SERVERS},
            ]
        }
    ),
]


class RemoteFile(Keys, title="inference servers"):
    """Triton, OpenVINO Model Server, MLServer, `edgeseg serve`: what speaks KServe v2 over gRPC."""

    url: _Urls = Field(
        description="grpc://host:8001, or grpcs:// with TLS; one or a list. Each frame goes to the one with "
        "the least to do; those that do not answer are left alone until they do."
    )
    model: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="The model's name there. Default: its name here; with transport jpeg NAME-jpeg."
    )
    token_file: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="File that holds the token alone, sent as `authorization: Bearer`: looked up in "
        "$CREDENTIALS_DIRECTORY, then as a path relative to this file.",
    )
    ca_file: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="Certificates (PEM) to trust with grpcs:// instead of the usual ones; looked up like "
        "token_file.",
    )
    deadline: Annotated[Duration, duration_between(SHORTEST_DEADLINE_S, LONGEST_DEADLINE_S)] = Field(
        DEFAULT_DEADLINE_S,
        description="A frame that is not answered within it is done elsewhere. Default: 1 s.",
    )
    transport: Literal["raw", "jpeg"] = Field(
        "raw",
        description="`raw` sends pixels as they are. `jpeg` needs a small part of the network and costs "
        "some accuracy (docs/remote.md); servers need a model that takes it, as `edgeseg serve` has.",
    )
    jpeg_quality: Annotated[
        int,
        AfterValidator(between(LOWEST_JPEG_QUALITY, HIGHEST_JPEG_QUALITY)),
        WithJsonSchema({"type": "integer", "minimum": LOWEST_JPEG_QUALITY, "maximum": HIGHEST_JPEG_QUALITY}),
    ] = Field(DEFAULT_JPEG_QUALITY, description="Of transport jpeg, 30 to 100. Default: 90.")
    fallback: Annotated[str, BeforeValidator(_fallback), WithJsonSchema({"enum": list(_FALLBACKS)})] = Field(
        AUTO,
        description="The engine that stands in here while no server answers; `none` lets those frames go. "
        "Default: auto.",
    )
    shared_memory: OnOff = Field(
        True,
        description="Whether pictures go through shared memory to a server on this machine that takes it. "
        "Default: on.",
    )


def _remote_keys(value: object) -> object:
    """Refuse ``remote: grpc://host:8001``."""
    if isinstance(value, str):
        raise ValueError(f"got {quoted(value)}, expected keys; write {{url: grpc://10.0.0.9:8001}}")
    return value


Remote = Annotated[RemoteFile, BeforeValidator(_remote_keys)]


def remote_settings(
    engine: str, file: RemoteFile | None, *, own: bool, complete: bool, engine_report: Report, report: Report
) -> RemoteSettings | None:
    """Return the servers of a camera, None where its engine is another than ``kserve``.

    Args:
        engine: the camera's.
        file: the key ``remote`` that counts for the camera; None where neither it nor the file has one.
        own: whether that is the camera's own key.
        complete: whether no invalid key was left out that could have been ``engine`` or ``remote``.
        engine_report: of the key ``engine`` that counts.
        report: of the key ``remote`` that counts.
    """
    if complete and engine == REMOTE and file is None:
        engine_report.error(f"{REMOTE} needs its servers beside it: `remote: {{url: grpc://10.0.0.9:8001}}`")
    elif complete and engine != REMOTE and own:
        report.error(f"has no effect with engine {engine}; write `engine: {REMOTE}`, or remove it", key=True)
    if file is None:
        return None
    servers = tuple(server(url) for url in file.url)
    if file.ca_file and not all(one.tls for one in servers):
        report.error("is for TLS; write grpcs:// in url, or remove it", ("ca_file",), key=True)
    if engine != REMOTE:
        return None
    return RemoteSettings(
        servers=servers,
        model=file.model,
        token_file=file.token_file,
        ca_file=file.ca_file,
        deadline_s=file.deadline,
        transport=file.transport,
        fallback=None if file.fallback == _NONE else file.fallback,
        jpeg_quality=file.jpeg_quality,
        shared_memory=file.shared_memory,
    )
