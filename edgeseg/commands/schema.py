"""``edgeseg schema``: prints JSON Schemas of what edgeseg reads and writes."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
from typing import Any

from edgeseg import commands

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_DESCRIPTION = """\
Prints a JSON Schema (2020-12):

  mqtt      one published message, as JSON lines show it, with every topic and payload
  pipeline  a pipeline file, for completion in an editor
  model     a model.yaml
  cli       what the commands print with --json, by command
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``schema`` to the command line."""
    parser = subparsers.add_parser(
        "schema",
        help="print JSON Schemas: MQTT payloads, pipeline file, model manifest, --json outputs",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=list(_SCHEMAS), help="which one")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the schema asked for. Returns the exit code."""
    print(json.dumps(_SCHEMAS[args.what](), indent=2, ensure_ascii=False))
    return 0


# Each imports only what it shows: the others may need libraries that are slow to load.
def _mqtt() -> dict[str, Any]:
    from edgeseg.publish.schema import mqtt_schema

    return mqtt_schema()


def _pipeline() -> dict[str, Any]:
    from edgeseg.config import json_schema

    return json_schema()


def _model() -> dict[str, Any]:
    from edgeseg.models.manifest import json_schema

    return json_schema()


def _cli() -> dict[str, Any]:
    """Collects ``JSON_SCHEMA`` of the modules in ``edgeseg.commands``."""
    outputs: dict[str, Any] = {}
    for found in sorted(pkgutil.iter_modules(commands.__path__), key=lambda module: module.name):
        schema = getattr(importlib.import_module(f"{commands.__name__}.{found.name}"), "JSON_SCHEMA", None)
        if schema is not None:
            outputs[found.name] = schema
    return {
        "$schema": DIALECT,
        "title": "edgeseg --json outputs",
        "description": "One property for each command; its value describes what the command prints.",
        "type": "object",
        "properties": outputs,
    }


_SCHEMAS = {"mqtt": _mqtt, "pipeline": _pipeline, "model": _model, "cli": _cli}
