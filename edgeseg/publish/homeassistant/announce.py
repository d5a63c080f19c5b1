"""Tells Home Assistant what the pipeline file has, at the start and after each reload."""

from __future__ import annotations

from pathlib import Path

from edgeseg.models import registry
from edgeseg.publish.homeassistant.announced import Announced
from edgeseg.publish.homeassistant.discovery import devices
from edgeseg.publish.mqtt.publisher import MqttPublisher
from edgeseg.settings import PipelineSettings


def prefixes(settings: PipelineSettings, folder: Path) -> tuple[str, ...]:
    """Below which the node may be known to Home Assistant, now or from earlier. folder: of its state."""
    own = settings.homeassistant
    return tuple(dict.fromkeys((*Announced(folder).prefixes(), *((own.prefix,) if own else ()))))


def announce(publisher: MqttPublisher, settings: PipelineSettings, folder: Path) -> None:
    """From now on Home Assistant knows these cameras and no others, none where it is off.

    Raises ModelError and ConfigError for models that cannot be found.
    """
    homeassistant = settings.homeassistant
    models = {camera.model for camera in settings.cameras}
    classes_of = {model: registry.find(model).classes for model in models}
    prefix = homeassistant.prefix if homeassistant is not None else None
    if prefix is not None:
        Announced(folder).add(prefix)
    publisher.announce(devices(settings, publisher.base, classes_of), prefix)
