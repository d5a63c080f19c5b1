"""Loader: reads a pipeline file. pydantic checks each key, the builder the valid keys together."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from edgeseg.config.builder import Builder
from edgeseg.config.keys.pipeline import PipelineFile
from edgeseg.config.report import Report
from edgeseg.errors import ConfigError, Problem
from edgeseg.models import registry as installed
from edgeseg.models.model import Model
from edgeseg.settings import PipelineSettings
from edgeseg.yamlfile import KeyPath, Places, dotted, editor_schema, parse, problems_from
from edgeseg.yamlfile import load as load_yaml


class Registry(Protocol):
    """Finds models by name or path; ``edgeseg.models.registry`` is one."""

    def find(self, name: str) -> Model:
        """Raises ModelError (unknown) or ConfigError (its manifest is wrong)."""


def load(path: Path, registry: Registry | None = None) -> PipelineSettings:
    """Return the settings of a pipeline file.

    Static: reads this file and the manifests of the models it names, and of the installed ones to name the
    one that has a missing class.

    registry: where models are looked up; None means the installed ones.
    In the result ``url`` of sources and ``password`` of the broker are None until ``resolve``.
    Raises ConfigError with every problem, in the order of the file.
    """
    return _settings(*load_yaml(path), path.parent, registry)


def check(text: str, path: Path, registry: Registry | None = None) -> PipelineSettings:
    """Do as ``load`` for text that is not in the file at ``path`` yet. ``digest`` is that of ``text``."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return _settings(*parse(text, str(path), digest), path.parent, registry)


def _settings(raw: object, places: Places, folder: Path, registry: Registry | None) -> PipelineSettings:
    if not isinstance(raw, dict):
        got = "is empty" if raw is None else "holds no keys"
        raise ConfigError(
            [Problem(places.file, 0, 0, "", f"{got}; a pipeline file needs at least 'cameras:'")]
        )
    groups = raw.get("groups")
    group_names = frozenset(groups) if isinstance(groups, dict) else frozenset()
    validator = _Validator(raw, places)
    validator.remove_empty_values(())
    file = validator.validated()
    problems = validator.problems
    if file is not None:
        find = installed.find if registry is None else registry.find
        report = Report(places, frozenset(validator.broken))
        settings = Builder(file, report, folder, find, installed.models_with, group_names).pipeline()
        problems += report.problems
        if not problems:
            return settings
    raise ConfigError(sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.column)))


# In place of missing keys, which are reported already, so that the rest of a camera or zone is checked.
_STAND_INS = {"source": "missing.mp4", "polygon": [[0, 0], [1, 0], [1, 1]]}


class _Validator:
    """Reports and removes the mistakes of a document until the rest satisfies the schema.

    So a bad duration does not hide a bad polygon three lines below.

    broken: paths of mappings that lost a key. What is missing in them is no mistake of its own.
    """

    def __init__(self, raw: dict[str, Any], places: Places) -> None:
        self.raw = raw
        self.places = places
        self.problems: list[Problem] = []
        self.broken: set[KeyPath] = set()

    def remove_empty_values(self, at: KeyPath) -> None:
        """Report keys without a value, such as ``rules:``: more likely forgotten than meant."""
        value = _get(self.raw, at)
        if isinstance(value, dict):
            for key in list(value):
                if value[key] is None:
                    place = self.places.of_key((*at, key))
                    self._add_problem((*at, key), "is empty; give it a value or remove it", place)
                    self._drop((*at, key))
                else:
                    self.remove_empty_values((*at, key))

    def validated(self) -> PipelineFile | None:
        """Return what remains, or None where nothing remains to be checked further."""
        first = True
        while True:
            try:
                return PipelineFile.model_validate(self.raw)
            except ValidationError as error:
                if first:
                    self._report(error)
                first = False
                if not self._remove_invalid(error):
                    return None

    def _remove_invalid(self, error: ValidationError) -> bool:
        """Remove, or replace, whatever ``error`` names. Return False where that is the whole document."""
        paths = set()
        for detail in error.errors():
            path = self._path(detail)
            name = str(detail["loc"][-1])
            if detail["type"] == "missing" and name in _STAND_INS:
                self.broken.add(path)
                _get(self.raw, path)[name] = _STAND_INS[name]
            else:
                paths.add(path)
        # By length, so that what is inside goes before what is around it.
        for path in sorted(paths, key=len, reverse=True):
            if not path:
                return False
            self._drop(path)
        return True

    def _report(self, error: ValidationError) -> None:
        reported = {problem.where for problem in self.problems}
        found = problems_from(error, self.places, self.places.file, PipelineFile)
        self.problems += [problem for problem in found if problem.where not in reported]

    def _path(self, detail: Any) -> KeyPath:
        """Return the nearest key above a mistake that can be left out: of a list the whole."""
        path: KeyPath = ()
        for part in detail["loc"]:
            # What is missing, and the names that pydantic gives to the branches of a union, are not there.
            if _get(self.raw, (*path, part)) is not None:
                path = (*path, part)
        while path and isinstance(path[-1], int):
            path = path[:-1]
        return path

    def _add_problem(self, at: KeyPath, message: str, place: tuple[int, int]) -> None:
        self.problems.append(Problem(self.places.file, *place, dotted(at), message))

    def _drop(self, path: KeyPath) -> None:
        self.broken.add(path[:-1])
        above = _get(self.raw, path[:-1])
        if isinstance(above, dict):
            above.pop(str(path[-1]), None)


def _get(value: Any, path: KeyPath) -> Any:
    for part in path:
        if isinstance(value, dict):
            value = value.get(str(part))
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return None
    return value


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a pipeline file; the descriptions are an editor's help texts."""
    return editor_schema(PipelineFile)
