"""Bench schema: JSON Schema of a run's result. Imports nothing heavy: ``edgeseg schema`` prints it."""

from __future__ import annotations

from typing import Any

JSON_SCHEMA: dict[str, Any] = {
    "title": "edgeseg bench: bench.json, growth.json",
    "type": "object",
    "required": ["v", "machine", "workload", "figures", "notes"],
    "additionalProperties": False,
    "properties": {
        "v": {"const": 1},
        "machine": {
            "type": "object",
            "required": ["when", "cpu", "cores", "system", "python", "edgeseg", "libraries", "load_before"],
        },
        "workload": {
            "type": "object",
            "required": ["seed", "zones", "rate_fps", "options"],
        },
        "figures": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["section", "what", "unit", "median", "quartiles", "samples", "bar", "verdict"],
                "additionalProperties": False,
                "properties": {
                    "section": {"type": "string"},
                    "what": {"type": "string"},
                    "unit": {"type": "string"},
                    "median": {"type": "number"},
                    "quartiles": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
                    "samples": {"type": "integer", "minimum": 1},
                    "bar": {
                        "oneOf": [
                            {"type": "null"},
                            {
                                "type": "object",
                                "required": ["kind", "limit"],
                                "properties": {
                                    "kind": {"enum": ["at least", "at most"]},
                                    "limit": {"type": "number"},
                                },
                            },
                        ]
                    },
                    "verdict": {"enum": ["pass", "short", None]},
                },
            },
        },
        "curves": {
            "type": "array",
            "description": "growth: cost by size",
            "items": {
                "type": "object",
                "required": ["name", "of", "unit", "costs"],
                "properties": {"costs": {"type": "object", "additionalProperties": {"type": "number"}}},
            },
        },
        "points": {"type": "array", "description": "sizes: accuracy and cost of a model at a size"},
        "notes": {"type": "array", "items": {"type": "string"}, "description": "what was absent, trials"},
    },
}
