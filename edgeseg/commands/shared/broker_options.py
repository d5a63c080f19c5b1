"""Broker options: the address, login and topics of commands that listen to a broker."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.errors import EdgesegError

if TYPE_CHECKING:
    from edgeseg.settings import MqttSettings, PipelineSettings

# Never from the command line, which other users of the machine can see.
USER_VARIABLE, PASSWORD_VARIABLE = "EDGESEG_MQTT_USERNAME", "EDGESEG_MQTT_PASSWORD"
DEFAULT_PREFIX = "edgeseg"


def checked_prefix(prefix: str) -> str:
    """Return ``prefix``. Raises EdgesegError where it cannot begin a topic."""
    from edgeseg.config.keys.mqtt import check_prefix

    try:
        return check_prefix(prefix)
    except ValueError as error:
        raise EdgesegError(f"--prefix: {error}") from error


def broker_at(address: str, ca_file: Path | None, prefix: str) -> MqttSettings:
    """Return the broker at ``mqtt://host``, with the login from the environment.

    Raises EdgesegError where the address is wrong.
    """
    from edgeseg.config import addresses
    from edgeseg.settings import MqttSettings, Secret

    try:
        broker = addresses.broker(address)
    except ValueError as error:
        hint = f"; user and password go into ${USER_VARIABLE} and ${PASSWORD_VARIABLE}"
        raise EdgesegError(f"the broker's address {error}{hint if '@' in address else ''}") from None
    password = os.environ.get(PASSWORD_VARIABLE)
    return MqttSettings(
        host=broker.host,
        port=broker.port,
        tls=broker.tls,
        ca_file=str(ca_file) if ca_file else None,
        username=os.environ.get(USER_VARIABLE),
        password=Secret(password) if password else None,
        password_file=None,
        prefix=prefix,
    )


def broker_of(args: argparse.Namespace) -> MqttSettings:
    """Return the broker of ``fleet``'s arguments. Raises EdgesegError."""
    return broker_at(args.broker, args.ca_file, prefixes(args)[0])


def prefixes(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the topic prefixes of ``fleet``'s arguments. Raises EdgesegError."""
    return tuple(checked_prefix(prefix) for prefix in args.prefix or (DEFAULT_PREFIX,))


def add_broker(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that ``broker_of`` and ``prefixes`` read."""
    parser.add_argument(
        "broker",
        metavar="mqtt://HOST",
        help=f"mqtt://host or mqtts://host; user and password from ${USER_VARIABLE} and ${PASSWORD_VARIABLE}",
    )
    parser.add_argument("--ca-file", type=Path, help="certificate authority to trust with mqtts://")
    parser.add_argument(
        "--prefix",
        action="append",
        help="first level or levels of the topics; several times for several sites (default: edgeseg)",
    )


def broker_of_file(path: Path) -> tuple[MqttSettings, PipelineSettings]:
    """Return the broker of a pipeline file with its secrets filled in, and the file's settings.

    Raises ConfigError, and EdgesegError where the file names no broker.
    """
    from edgeseg import config

    settings = config.load(path)
    if settings.mqtt is None:
        raise EdgesegError(f"{path}: names no broker (key mqtt), so there is nothing to listen to")
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    # Without cameras and dashboard: a listener does not need their passwords.
    resolved = config.resolve(
        replace(settings, cameras=(), web=None), os.environ, Path(credentials) if credentials else None
    )
    assert resolved.mqtt is not None
    return resolved.mqtt, settings
