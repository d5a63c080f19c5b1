"""The pipeline file: its top-level keys, what each may hold, and its help text for editors.

pydantic checks shape and units in the schema classes. What needs more than one key, the model's classes or
geometry is checked by the builder of each key, ``x_settings``.
"""

from __future__ import annotations

from pydantic import Field

from edgeseg.config.fields import Keys, Name, Size, Terms
from edgeseg.config.keys.budget import Budget
from edgeseg.config.keys.camera import CameraFile
from edgeseg.config.keys.engine import EngineName
from edgeseg.config.keys.evidence import Evidence
from edgeseg.config.keys.homeassistant import HomeAssistant
from edgeseg.config.keys.model import ModelName
from edgeseg.config.keys.mqtt import Mqtt
from edgeseg.config.keys.remote import Remote
from edgeseg.config.keys.web import Web
from edgeseg.models.runtimes import AUTO


class PipelineFile(Keys, title="edgeseg pipeline file"):
    """A pipeline file of edgeseg: cameras, their zones, and the rules that raise alerts."""

    node: Name | None = Field(
        None, description="Name of this device in topics. Default: the machine's host name."
    )
    mqtt: Mqtt | None = Field(
        None, description="The broker. Left out: events as JSON lines on standard output."
    )
    homeassistant: HomeAssistant | None = Field(
        None,
        description="Devices that Home Assistant finds by itself, by way of the broker: `on`, or keys. "
        "Default: off; what was announced before is then taken back.",
    )
    web: Web = Field(None, description="Dashboard, HTTP API and metrics. Default: off, nothing listens.")
    model: ModelName | None = Field(
        None,
        description="A folder in models/ (see `edgeseg models list`) or a path. A camera may name its own.",
    )
    engine: EngineName = Field(
        AUTO,
        description="What runs the network; `auto` measures what is here and takes the fastest, `kserve` "
        "leaves it to a server elsewhere (`remote`).",
    )
    remote: Remote | None = Field(None, description="The servers of `engine: kserve`.")
    input: Size | None = Field(None, description="Size the network sees. Default: the model's own.")
    groups: dict[str, Terms] = Field(
        {}, description="Names for several classes together, usable wherever a class is."
    )
    evidence: Evidence | None = Field(
        None,
        description="Pictures kept of alerts: `masked`, `labels`, `full`, or keys, also for clips. "
        "Default: none.",
    )
    budget: Budget | None = Field(None, description="How much of the device edgeseg may use. Default: all.")
    cameras: dict[str, CameraFile] = Field(min_length=1, description="The cameras, by name.")
