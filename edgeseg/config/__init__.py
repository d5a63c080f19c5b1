"""Configuration: reads pipelines/*.yaml into frozen settings, and reports all mistakes at once.

``load`` is static: it reads the file and the manifests of the models it names, nothing else. ``resolve``
fills in what the machine has to give: secrets from the environment and from files.
"""

from __future__ import annotations

from edgeseg.config.loader import check, json_schema, load
from edgeseg.config.resolve import resolve, secrets_of
from edgeseg.config.warnings import lint_warnings

__all__ = ["check", "json_schema", "lint_warnings", "load", "resolve", "secrets_of"]
