"""The key ``homeassistant``: devices that Home Assistant finds by itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from edgeseg.config import names
from edgeseg.config.fields import ON_OFF_WORDS, Keys, OnOff, text
from edgeseg.config.keys.mqtt import check_prefix
from edgeseg.config.report import Report
from edgeseg.settings import HomeAssistantSettings
from edgeseg.yamlfile import quoted


class HomeAssistantFile(Keys, title="Home Assistant"):
    """Devices for the node and each camera, found by Home Assistant's MQTT discovery."""

    discovery: OnOff = Field(True, description="`off` is the same as `homeassistant: off`.")
    prefix: Annotated[str, AfterValidator(check_prefix), text({"pattern": names.PREFIX_PATTERN})] = Field(
        "homeassistant",
        description="Discovery prefix, as set in Home Assistant's MQTT options. Default: homeassistant.",
    )
    coverage: Literal["all", "named"] = Field(
        "all",
        description="Which classes of a zone become sensors: `named` by a rule or a group, or `all`, of "
        "which those that are not named begin disabled. Default: all.",
    )


def _keys(value: object) -> object:
    """Take ``homeassistant: on`` and ``homeassistant: off``."""
    if isinstance(value, bool) or (isinstance(value, str) and value.lower() in ON_OFF_WORDS):
        return {"discovery": value}
    if not isinstance(value, (dict, HomeAssistantFile)):
        raise ValueError(f"got {quoted(value)}, expected on, off or keys such as {{coverage: named}}")
    return value


HomeAssistant = Annotated[
    HomeAssistantFile, BeforeValidator(_keys, json_schema_input_type=OnOff | HomeAssistantFile)
]


def homeassistant_settings(
    file: HomeAssistantFile | None, report: Report, *, has_broker: bool
) -> HomeAssistantSettings | None:
    """Return the settings, None where it is off.

    Args:
        file: None without the key.
        report: of the key ``homeassistant``.
        has_broker: whether the file has the key ``mqtt``, be it invalid.
    """
    if file is None or not file.discovery:
        return None
    if not has_broker:
        report.error("needs mqtt beside it: Home Assistant finds devices by its broker", key=True)
    return HomeAssistantSettings(prefix=file.prefix, coverage=file.coverage)
