"""What Home Assistant is told of a node and its cameras: payloads of MQTT device discovery, as JSON values.

https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload. A device for the node and one for
each camera: people put cameras into rooms. None names another as its ``via_device``: Home Assistant takes one
amiss that it does not know yet, and retained messages come in any order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from edgeseg import __version__
from edgeseg.events import CameraState
from edgeseg.settings import FASTEST_FPS, SLOWEST_FPS, CameraSettings, RuleSettings, ZoneSettings

Json = dict[str, Any]
Parts = Iterator[tuple[str, Json]]

# A camera tells its state every 10 s, the node its counters every 60 s: who is silent for longer than a few
# of these has no value any more, whatever the broker believes.
CAMERA_EXPIRES_S = 60
STATS_EXPIRE_S = 180
_NOT_IN_ENTITY_IDS = re.compile(r"[^a-z0-9]+")
# Without rules and groups nothing tells which classes matter; a network with few may show them all.
_FEW_CLASSES = 25


def node_device(base: str, device_id: str, node: str) -> Json:
    """The node itself. base: ``<prefix>/<node>``, what its topics begin with."""

    def parts() -> Parts:
        running = _entity("binary_sensor", node, "running", "Running")
        # The one thing that must not become unavailable with the node.
        yield (
            "running",
            running
            | {"device_class": "running", "state_topic": f"{base}/status", "availability": []}
            | {"payload_on": "online", "payload_off": "offline", "entity_category": "diagnostic"},
        )
        for key, title, more in (
            ("outbox_waiting", "Alerts waiting", {"state_class": "measurement"}),
            ("restarts", "Unplanned restarts in 24 h", {"state_class": "measurement"}),
            ("busy", "Load", {"state_class": "measurement", "unit_of_measurement": "%"}),
        ):
            value = f"value_json.{key}" if key != "busy" else "(value_json.busy * 100) | round(0)"
            yield (
                key,
                _entity("sensor", node, key, title)
                | {"state_topic": f"{base}/stats", "value_template": f"{{{{ {value} }}}}"}
                | {"expire_after": STATS_EXPIRE_S, "entity_category": "diagnostic", **more},
            )

    return _device(base, device_id, f"edgeseg {node}", "Node", parts())


def camera_device(
    base: str,
    device_id: str,
    node: str,
    camera: CameraSettings,
    classes: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    *,
    commands: bool,
    all_classes: bool,
) -> Json:
    """One camera and its zones.

    classes: what its network tells apart, in the network's order. groups: of the file, with their classes.
    commands: whether edgeseg obeys. all_classes: a sensor for every class in each zone, those that neither a
    rule nor a group names disabled until somebody enables them; else sensors for those named alone.
    """
    place = f"{base}/{camera.name}"
    own_groups = [group for group, members in groups.items() if set(members) & set(classes)]

    def parts() -> Parts:
        yield "status", _health(place, node, camera.name)
        yield "alert", _alert(base, node, camera.name)
        if commands:
            yield from _controls(place, node, camera.name)
        for zone in camera.zones:
            prefix = f"zone.{zone.name}"
            for rule in zone.rules:
                yield f"{prefix}.rule.{rule.name}", _rule(place, node, camera.name, zone, rule)
            yield f"{prefix}.dominant", _dominant(place, node, camera.name, zone, classes)
            named = [*_named(zone), *own_groups]
            rest = [name for name in classes if name not in named] if all_classes else []
            shown = not named and len(classes) <= _FEW_CLASSES
            for name in (*dict.fromkeys(named), *rest):
                told = name in named
                sensor = _coverage(place, node, camera.name, zone, name, always_told=told)
                disabled = {} if told or shown else {"enabled_by_default": False}
                yield f"{prefix}.class.{name}", sensor | disabled

    return _device(base, device_id, title_of(camera.name), "Camera", parts())


def title_of(name: str) -> str:
    """``loading_bay`` -> ``Loading bay``."""
    words = name.replace("_", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:]


def _device(base: str, device_id: str, name: str, model: str, parts: Parts) -> Json:
    return {
        "device": {
            "identifiers": [device_id],
            "name": name,
            "manufacturer": "edgeseg",
            "model": model,
            "sw_version": __version__,
        },
        "origin": {"name": "edgeseg", "sw_version": __version__},
        "availability": [{"topic": f"{base}/status"}],
        "availability_mode": "all",
        "components": {key: {**part, "unique_id": f"{device_id}.{key}"} for key, part in parts},
    }


def _entity(platform: str, node: str, what: str, name: str) -> Json:
    """what: tells the entity from others of the node; its id is made of it once, and then is the user's."""
    slug = _NOT_IN_ENTITY_IDS.sub("_", f"{node} {what}".lower()).strip("_")
    return {"platform": platform, "name": name, "default_entity_id": f"{platform}.{slug}"}


def _health(place: str, node: str, camera: str) -> Json:
    # Not fps and age: attributes that change every few seconds fill Home Assistant's history.
    attributes = "dict(reason=value_json.reason, since=value_json.since, degraded=value_json.degraded)"
    return _entity("sensor", node, f"{camera} status", "Status") | {
        "device_class": "enum",
        "options": list(get_args(CameraState)),
        "entity_category": "diagnostic",
        "state_topic": f"{place}/status",
        "value_template": "{{ value_json.state }}",
        "json_attributes_topic": f"{place}/status",
        "json_attributes_template": f"{{{{ {attributes} | to_json }}}}",
        "expire_after": CAMERA_EXPIRES_S,
    }


def _alert(base: str, node: str, camera: str) -> Json:
    fields = ("id", "rule", "kind", "zone", "began_at", "at", "ended_at", "end_reason", "replayed")
    event = ", ".join(("event_type=value_json.event", *(f"{name}=value_json.{name}" for name in fields)))
    # An empty text is no event: the topic is that of all cameras.
    template = (
        f"{{% if value_json.camera == '{camera}' %}}{{{{ dict({event}, "
        "value=value_json.evidence.value if value_json.evidence else none) | to_json }}{% endif %}"
    )
    return _entity("event", node, f"{camera} alert", "Alert") | {
        "event_types": ["new", "update", "end"],
        "state_topic": f"{base}/alert",
        "value_template": template,
    }


def _controls(place: str, node: str, camera: str) -> Parts:
    config = {"entity_category": "config"}
    yield (
        "enabled",
        _entity("switch", node, f"{camera} enabled", "Enabled")
        | {"state_topic": f"{place}/enabled", "command_topic": f"{place}/set/enabled", **config},
    )
    yield (
        "rate",
        _entity("number", node, f"{camera} rate", "Rate")
        | {"state_topic": f"{place}/rate", "command_topic": f"{place}/set/rate"}
        # Sums of steps are floats; a command takes six decimals.
        | {"command_template": "{{ value | round(3) }}", "mode": "box"}
        | {"min": SLOWEST_FPS, "max": FASTEST_FPS, "step": 0.1, "unit_of_measurement": "fps", **config},
    )
    yield (
        "snapshot",
        _entity("image", node, f"{camera} snapshot", "Snapshot")
        | {"image_topic": f"{place}/snapshot", "content_type": "image/jpeg"},
    )
    yield (
        "take_snapshot",
        _entity("button", node, f"{camera} take snapshot", "Take snapshot")
        | {"command_topic": f"{place}/set/snapshot", **config},
    )


def _rule(place: str, node: str, camera: str, zone: ZoneSettings, rule: RuleSettings) -> Json:
    what = f"{camera} {zone.name} {rule.name}"
    return _entity("binary_sensor", node, what, f"{zone.title} {title_of(rule.name).lower()}") | {
        "device_class": "occupancy" if rule.kind == "occupied" else "problem",
        "state_topic": f"{place}/zone/{zone.name}/rule/{rule.name}",
        "value_template": "{{ 'None' if value == 'unknown' else value }}",
    }


def _dominant(place: str, node: str, camera: str, zone: ZoneSettings, classes: Sequence[str]) -> Json:
    return _entity("sensor", node, f"{camera} {zone.name} mostly", f"{zone.title} mostly") | {
        "device_class": "enum",
        "options": list(classes),
        "state_topic": f"{place}/zone/{zone.name}/occupancy",
        "value_template": "{{ value_json.dominant }}",
    }


def _coverage(
    place: str, node: str, camera: str, zone: ZoneSettings, name: str, *, always_told: bool
) -> Json:
    """always_told: the class has a value from the first picture on, not only once it was seen: its own topic
    costs less. ``None`` is unknown in both."""
    sensor = _entity("sensor", node, f"{camera} {zone.name} {name}", f"{zone.title} {name}") | {
        "unit_of_measurement": "%",
        "state_class": "measurement",
        "suggested_display_precision": 1,
    }
    if always_told:
        return sensor | {"state_topic": f"{place}/zone/{zone.name}/class/{name}"}
    share = f"(value_json.coverage.get({json.dumps(name)}, 0) * 100) | round(1)"
    return sensor | {
        "state_topic": f"{place}/zone/{zone.name}/occupancy",
        "value_template": f"{{{{ none if value_json.coverage is none else {share} }}}}",
    }


def _named(zone: ZoneSettings) -> list[str]:
    """The classes of the zone's rules, as ``ZoneMeter`` always tells them."""
    return [name for rule in zone.rules for name in (*rule.classes, *rule.reference_classes)]
