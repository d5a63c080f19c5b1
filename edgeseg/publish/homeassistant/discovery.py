"""Home Assistant finds the node's devices by itself: what is announced to it, and taken back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from edgeseg.publish.base import Message
from edgeseg.publish.homeassistant.entities import Json, camera_device, node_device
from edgeseg.settings import PipelineSettings


def devices(
    settings: PipelineSettings, base: str, classes_of: Mapping[str, tuple[str, ...]]
) -> dict[str, Json]:
    """Discovery topic -> payload, the node's own first; empty where Home Assistant is off.

    base: ``<prefix>/<node>``. classes_of: model -> its classes. A camera's topic has its name as a level of
    its own, so that no camera is taken for another node and nothing of other programs is looked at.
    """
    if settings.homeassistant is None or settings.mqtt is None:
        return {}
    own = device_id(base)
    above = f"{settings.homeassistant.prefix}/device/{own}"
    found = {f"{above}/config": node_device(base, own, settings.node)}
    for camera in settings.cameras:
        found[f"{above}/{camera.name}/config"] = camera_device(
            base,
            f"{own}.{camera.name}",
            settings.node,
            camera,
            classes_of[camera.model],
            settings.groups,
            commands=settings.mqtt.commands,
            all_classes=settings.homeassistant.coverage == "all",
        )
    return found


def device_id(base: str) -> str:
    """``edgeseg/gatehouse`` -> ``edgeseg-gatehouse``: one topic level."""
    return base.replace("/", "-")


def filters(prefix: str, base: str) -> tuple[str, ...]:
    """Topic filters of everything that a node may have announced below a discovery prefix."""
    above = f"{prefix}/device/{device_id(base)}"
    return (f"{above}/config", f"{above}/+/config")


class Discovery:
    """What is announced of one node. Thread-safe.

    Home Assistant keeps an entity that a device no longer names until it is named once more with its
    platform alone; and a device until its topic is empty. Both are done for what ``announce`` leaves out, and
    for what an earlier run left at the broker.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._devices: dict[str, Json] = {}

    def announce(self, devices: Mapping[str, Json]) -> list[Message]:
        """The messages that make these the devices from now on."""
        with self._lock:
            before, self._devices = self._devices, {}
            for topic, device in devices.items():
                self._devices[topic] = _with_farewells(device, before.get(topic, {}))
            gone = [_message(topic, b"") for topic in before if topic not in devices]
            changed = [
                _encoded(topic, device)
                for topic, device in self._devices.items()
                if device != before.get(topic)
            ]
            return [*gone, *changed]

    def found(self, topic: str, payload: bytes) -> Message | None:
        """What to publish because the broker kept this announcement of an earlier run: None where it is
        about to be replaced and names nothing that is gone."""
        with self._lock:
            ours = self._devices.get(topic)
            if ours is None:
                return _message(topic, b"")
            changed = _with_farewells(ours, _parsed(payload))
            if changed == ours:
                return None
            self._devices[topic] = changed
            return _encoded(topic, changed)

    def __contains__(self, topic: str) -> bool:
        """Whether something is announced there now."""
        with self._lock:
            return topic in self._devices


def _with_farewells(device: Json, before: Json) -> Json:
    """The device, with a farewell to each of its earlier entities that it no longer has.

    The farewells come first: of a payload that comes while the one before is still being worked on, Home
    Assistant drops what follows the first entity that both have.
    """
    entities = device["components"]
    farewells = {
        key: {"platform": part["platform"]} for key, part in _components(before) if key not in entities
    }
    return {**device, "components": {**farewells, **entities}}


def _components(device: Json) -> Iterable[tuple[str, Json]]:
    components = device.get("components")
    if not isinstance(components, dict):
        return []
    return [
        (key, part)
        for key, part in components.items()
        if isinstance(part, dict) and isinstance(part.get("platform"), str) and len(part) > 1
    ]


def _parsed(payload: bytes) -> Json:
    """What stands at the broker is not ours to trust."""
    try:
        parsed: Any = json.loads(payload)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _encoded(topic: str, payload: Json) -> Message:
    return _message(topic, json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode())


def _message(topic: str, payload: bytes) -> Message:
    return Message(topic, payload, qos=1, retain=True)
