"""What edgeseg publishes, as one JSON Schema."""

from __future__ import annotations

import re
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from edgeseg.publish.payloads import Payload
from edgeseg.publish.topics import TABLE, Topic

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def mqtt_schema() -> dict[str, object]:
    """JSON Schema (2020-12) of one message: ``{topic, qos, retain, payload}``, the shape of one JSON line.

    ``payload`` is the parsed JSON, or the text where the payload is not JSON. ``anyOf`` holds one entry
    for each row of the topic table; ``$defs`` the payloads by name.
    """
    models = [topic.payload for topic in TABLE if _is_model(topic.payload)]
    _, definitions = models_json_schema(
        [(model, "serialization") for model in models], ref_template="#/$defs/{model}"
    )
    return {
        "$schema": DIALECT,
        "title": "edgeseg MQTT messages",
        "description": "One message as JSON lines show it. Topics begin with <prefix>/<node>/.",
        "type": "object",
        "required": ["topic", "qos", "retain", "payload"],
        "additionalProperties": False,
        "properties": {"topic": {"type": "string"}, "qos": {}, "retain": {}, "payload": {}},
        "anyOf": [_row(topic) for topic in TABLE],
        "$defs": definitions["$defs"],
    }


def _row(topic: Topic) -> dict[str, object]:
    if _is_model(topic.payload):
        payload = {"$ref": f"#/$defs/{topic.payload.__name__}"}
    else:
        payload = TypeAdapter(topic.payload).json_schema(mode="serialization")
    below = re.sub(r"{\w+}", "[^/+#]+", topic.template)
    return {
        "title": "<prefix>/<node>/" + re.sub(r"{(\w+)}", r"<\1>", topic.template),
        "description": topic.description,
        "properties": {
            "topic": {"pattern": f"^[^+#]+/[^/+#]+/{below}$"},
            "qos": {"const": topic.qos},
            "retain": {"const": topic.retain},
            "payload": payload,
        },
    }


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Payload)
