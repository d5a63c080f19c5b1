"""YAML files: reads values with their places, reports problems, and rewrites one mapping."""

from edgeseg.yamlfile.document import MAX_BYTES, Places, Sexagesimal, load, parse
from edgeseg.yamlfile.editor_schema import editor_schema
from edgeseg.yamlfile.messages import KeyPath, PathPart, dotted, quoted, suggestion
from edgeseg.yamlfile.problems import Switch, problems_from

__all__ = [
    "MAX_BYTES",
    "KeyPath",
    "PathPart",
    "Places",
    "Sexagesimal",
    "Switch",
    "dotted",
    "editor_schema",
    "load",
    "parse",
    "problems_from",
    "quoted",
    "suggestion",
]
