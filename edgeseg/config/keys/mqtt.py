"""The key ``mqtt``: the broker."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from edgeseg.config import addresses, names
from edgeseg.config.fields import Duration, Keys, OnOff, duration_between, text
from edgeseg.config.report import Report
from edgeseg.settings import MqttSettings
from edgeseg.yamlfile import quoted

# For how long an alert may wait for the broker.
SHORTEST_TTL_S, LONGEST_TTL_S, DEFAULT_TTL_S = 1.0, 30 * 86_400.0, 86_400.0


def _broker(value: str) -> str:
    addresses.broker(value)
    return value


def check_prefix(value: str) -> str:
    """Return ``value`` where it is the first levels of topics. Raises ValueError."""
    if not re.fullmatch(names.PREFIX_PATTERN, value):
        raise ValueError(
            f"got {quoted(value)}, expected topic levels of letters, digits, _ and -, such as "
            "edgeseg or site/edgeseg"
        )
    return value


def _broker_keys(value: object) -> object:
    """Refuse ``mqtt: mqtt://host``, which many programs take."""
    if not isinstance(value, str):
        return value
    try:
        addresses.broker(value)
    except ValueError:
        url = "mqtt://host"
    else:
        url = value
    raise ValueError(f'got {quoted(value)}, expected keys with values; write {{url: "{url}"}}')


class MqttFile(Keys, title="MQTT broker"):
    url: Annotated[str, AfterValidator(_broker)] = Field(
        description="mqtt://host or mqtts://host (TLS), with :port where it is not 1883 or 8883."
    )
    username: Annotated[str, Field(min_length=1)] | None = Field(None, description="User name at the broker.")
    password_file: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="File that holds the password alone: looked up in $CREDENTIALS_DIRECTORY, then as a "
        "path relative to this file.",
    )
    ca_file: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="Certificates (PEM) to trust with mqtts:// instead of the system's; looked up like "
        "password_file.",
    )
    prefix: Annotated[str, AfterValidator(check_prefix), text({"pattern": names.PREFIX_PATTERN})] = Field(
        "edgeseg", description="First level or levels of all topics."
    )
    commands: OnOff = Field(
        True,
        description="Whether edgeseg listens to commands (<camera>/set/...); with off it subscribes to none.",
    )
    alert_ttl: Annotated[Duration, duration_between(SHORTEST_TTL_S, LONGEST_TTL_S)] = Field(
        DEFAULT_TTL_S,
        description="An alert that could not be delivered for so long is dropped and counted; brokers of "
        "MQTT 5 keep it no longer either. Default 24 h.",
    )


Mqtt = Annotated[MqttFile, BeforeValidator(_broker_keys)]


def mqtt_settings(file: MqttFile, report: Report) -> MqttSettings:
    """Return the broker's settings, without its password. report: of the key ``mqtt``."""
    broker = addresses.broker(file.url)
    if file.password_file is not None and file.username is None and report.complete:
        report.error("needs username beside it", ("password_file",), key=True)
    if file.ca_file is not None and not broker.tls:
        report.error("is for TLS; write mqtts:// in url, or remove it", ("ca_file",), key=True)
    return MqttSettings(
        host=broker.host,
        port=broker.port,
        tls=broker.tls,
        ca_file=file.ca_file,
        username=file.username,
        password=None,
        password_file=file.password_file,
        prefix=file.prefix,
        commands=file.commands,
        alert_ttl_s=file.alert_ttl,
    )
