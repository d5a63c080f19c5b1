"""Who does the work. The seam between an archive and the machines it is made on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Crashed:
    """Every worker that tried this piece of work died of it."""

    message: str


Done = Iterator[tuple[Job, Result | Crashed]]
"""Each job with its result, as it is done."""


class Workers(Protocol):
    """A context manager. ``run`` gives each job with its result, in whatever order they are done; what a job
    raises is raised. A worker that dies does not take more with it than what it was doing: that is done anew.
    """

    @property
    def shown(self) -> str:
        """What they are, in words: ``2 processes``."""

    def __enter__(self) -> Workers: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, work: Callable[[Job], Result], jobs: Iterable[Job]) -> Done[Job, Result]: ...
