"""YAML files that mean what they say: their values, the place of each, and problems in plain words."""

from edgeseg.yamlfile.document import MAX_BYTES, Places, Sexagesimal, load, parse
from edgeseg.yamlfile.editors import editor_schema
from edgeseg.yamlfile.problems import Switch, problems_from
from edgeseg.yamlfile.words import Step, Steps, dotted, nearest, shown

__all__ = [
    "MAX_BYTES",
    "Places",
    "Sexagesimal",
    "Step",
    "Steps",
    "Switch",
    "dotted",
    "editor_schema",
    "load",
    "nearest",
    "parse",
    "problems_from",
    "shown",
]
