"""Report: collects the problems of a pipeline file, each with its place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from edgeseg.errors import Problem
from edgeseg.yamlfile import KeyPath, PathPart, Places, dotted


@dataclass(frozen=True, slots=True)
class Report:
    """The problems of one key and of everything below it.

    places: of the whole file. broken: paths of mappings from which invalid keys were left out. path: the
    key that this report is about, () for the whole file. problems: one list for all reports of a file.
    """

    places: Places
    broken: frozenset[KeyPath] = frozenset()
    path: KeyPath = ()
    problems: list[Problem] = field(default_factory=list)

    def below(self, *parts: PathPart) -> Report:
        """Return the report of a key below this one."""
        return replace(self, path=(*self.path, *parts))

    def discarding(self) -> Report:
        """Return a report of the same key whose problems are thrown away."""
        return replace(self, problems=[])

    @property
    def complete(self) -> bool:
        """Whether no key of this mapping was left out. Otherwise a missing key is no further mistake."""
        return self.path not in self.broken

    @property
    def count(self) -> int:
        """How many problems the file has so far."""
        return len(self.problems)

    def error(self, message: str, at: Sequence[PathPart] = (), *, key: bool = False) -> None:
        """Add a problem.

        Args:
            message: what was found, what was expected, and what to write instead.
            at: path below this report's key.
            key: the problem's place is the key itself, not its value.
        """
        path = (*self.path, *at)
        place = self.places.of_key(path) if key else self.places.of(path)
        self.problems.append(Problem(self.places.file, *place, dotted(path), message))

    def add(self, problems: Iterable[Problem]) -> None:
        """Add problems of another file, such as a model's manifest."""
        self.problems.extend(problems)
