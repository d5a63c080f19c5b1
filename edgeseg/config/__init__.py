"""pipelines/*.yaml -> frozen settings, every mistake at once with file, line and column.

``load`` is static: it reads the file and the manifests of the models it names, nothing else. ``resolve``
fills in what the machine has to give: secrets from the environment and from files.
"""

from __future__ import annotations

from edgeseg.config.loader import check, json_schema, load
from edgeseg.config.resolve import resolve, secrets_of
from edgeseg.config.warnings import notes

__all__ = ["check", "json_schema", "load", "notes", "resolve", "secrets_of"]
