"""The key ``remote``: servers that run the model (KServe v2 over gRPC), for ``engine: kserve``."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from edgeseg.config.fields import Duration, Keys, OnOff, between, duration_between
from edgeseg.models.runtimes import AUTO, ENGINES, REMOTE
from edgeseg.settings import LONGEST_DEADLINE_S, SHORTEST_DEADLINE_S, RemoteServer, RemoteSettings
from edgeseg.yamlfile import quoted, suggestion

MOST_SERVERS = 16
_NONE = "none"
_FALLBACKS = (*ENGINES, _NONE)
_URL_PATTERN = r"^grpcs?://[A-Za-z0-9._:\[\]-]+$"


def server(text: str) -> RemoteServer:
    """``grpc://10.0.0.9:8001``, ``grpcs://box``. Raises ValueError in the words of a config problem."""
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
        1.0, description="A frame that is not answered within it is done elsewhere. Default: 1 s."
    )
    transport: Literal["raw", "jpeg"] = Field(
        "raw",
        description="`raw` sends pixels as they are. `jpeg` needs a small part of the network and costs "
        "some accuracy (docs/remote.md); servers need a model that takes it, as `edgeseg serve` has.",
    )
    jpeg_quality: Annotated[
        int,
        AfterValidator(between(30, 100)),
        WithJsonSchema({"type": "integer", "minimum": 30, "maximum": 100}),
    ] = Field(90, description="Of transport jpeg, 30 to 100. Default: 90.")
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
    """``remote: grpc://host:8001``."""
    if isinstance(value, str):
        raise ValueError(f"got {quoted(value)}, expected keys; write {{url: grpc://10.0.0.9:8001}}")
    return value


Remote = Annotated[RemoteFile, BeforeValidator(_remote_keys)]


def servers(file: RemoteFile) -> tuple[RemoteServer, ...]:
    return tuple(server(url) for url in file.url)


def remote_flaw(engine: str, own: RemoteFile | None, common: RemoteFile | None) -> str | None:
    """What is wrong between a camera's engine and the servers that it, or the file, names."""
    if engine == REMOTE and own is None and common is None:
        return f"{REMOTE} needs its servers beside it: `remote: {{url: grpc://10.0.0.9:8001}}`"
    if engine != REMOTE and own is not None:
        return f"has no effect with engine {engine}; write `engine: {REMOTE}`, or remove it"
    return None


def remote_settings(engine: str, file: RemoteFile | None) -> RemoteSettings | None:
    if engine != REMOTE or file is None:
        return None
    return RemoteSettings(
        servers=servers(file),
        model=file.model,
        token_file=file.token_file,
        ca_file=file.ca_file,
        deadline_s=file.deadline,
        transport=file.transport,
        fallback=None if file.fallback == _NONE else file.fallback,
        jpeg_quality=file.jpeg_quality,
        shared_memory=file.shared_memory,
    )
