"""Reads a pipeline file: pydantic checks each key by itself, then all that is sound is checked together."""

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
    """Settings of a pipeline file. Static: reads this file and the manifests of the models it names, and
    of the installed ones to say which has a class that is missing.

    registry: where models are looked up; None means the installed ones.
    In the result ``url`` of sources and ``password`` of the broker are None until ``resolve``.
    Raises ConfigError with every problem, in the order of the file.
    """
    return _settings(*load_yaml(path), path.parent, registry)


def check(text: str, path: Path, registry: Registry | None = None) -> PipelineSettings:
    """``load`` for what would stand in the file at ``path``. ``digest`` is that of ``text``."""
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
    sieve = _Sieve(raw, places)
    sieve.take_out_empty_values(())
    file = sieve.validated()
    problems = sieve.problems
    if file is not None:
        find = installed.find if registry is None else registry.find
        report = Report(places, frozenset(sieve.broken))
        settings = Builder(file, report, folder, find, installed.models_with, group_names).pipeline()
        problems += report.problems
        if not problems:
            return settings
    raise ConfigError(sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.column)))


# Let the rest of a camera or zone be checked where these are missing; that they are was told already.
_STAND_INS = {"source": "missing.mp4", "polygon": [[0, 0], [1, 0], [1, 1]]}


class _Sieve:
    """Takes mistakes out of a document, each with its problem, until the rest satisfies the schema.

    So a bad duration does not hide a bad polygon three lines below.

    broken: mappings that lost something. What is missing in them is no mistake of its own.
    """

    def __init__(self, raw: dict[str, Any], places: Places) -> None:
        self.raw = raw
        self.places = places
        self.problems: list[Problem] = []
        self.broken: set[KeyPath] = set()

    def take_out_empty_values(self, at: KeyPath) -> None:
        """``rules:`` with nothing behind it: more likely forgotten than meant."""
        value = _get(self.raw, at)
        if isinstance(value, dict):
            for key in list(value):
                if value[key] is None:
                    place = self.places.of_key((*at, key))
                    self._say((*at, key), "is empty; give it a value or remove it", place)
                    self._drop((*at, key))
                else:
                    self.take_out_empty_values((*at, key))

    def validated(self) -> PipelineFile | None:
        """What remains, or None where nothing remains to be checked further."""
        first = True
        while True:
            try:
                return PipelineFile.model_validate(self.raw)
            except ValidationError as error:
                if first:
                    self._tell(error)
                first = False
                if not self._mend(error):
                    return None

    def _mend(self, error: ValidationError) -> bool:
        """Take out, or stand in for, whatever ``error`` names. False where that is the whole document."""
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

    def _tell(self, error: ValidationError) -> None:
        told = {problem.where for problem in self.problems}
        found = problems_from(error, self.places, self.places.file, PipelineFile)
        self.problems += [problem for problem in found if problem.where not in told]

    def _path(self, detail: Any) -> KeyPath:
        """The nearest key above a mistake that can be left out: of a list the whole."""
        path: KeyPath = ()
        for step in detail["loc"]:
            # What is missing, and the names that pydantic gives to the branches of a union, are not there.
            if _get(self.raw, (*path, step)) is not None:
                path = (*path, step)
        while path and isinstance(path[-1], int):
            path = path[:-1]
        return path

    def _say(self, at: KeyPath, message: str, place: tuple[int, int]) -> None:
        self.problems.append(Problem(self.places.file, *place, dotted(at), message))

    def _drop(self, path: KeyPath) -> None:
        self.broken.add(path[:-1])
        above = _get(self.raw, path[:-1])
        if isinstance(above, dict):
            above.pop(str(path[-1]), None)


def _get(value: Any, steps: KeyPath) -> Any:
    for step in steps:
        if isinstance(value, dict):
            value = value.get(str(step))
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a pipeline file, for editors; the descriptions are their help texts."""
    return editor_schema(PipelineFile)
