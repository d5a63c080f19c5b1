"""Worker seam: the machines or processes on which an archive is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Crashed:
    """A job during which every worker died."""

    message: str


Results = Iterator[tuple[Job, Result | Crashed]]
"""Each job with its result, in the order of completion."""


class Workers(Protocol):
    """A context manager that runs jobs. ``run`` yields each job with its result, in the order of completion.

    What a job raises is raised. Where a worker dies, its job is done again.
    """

    @property
    def description(self) -> str:
        """Such as ``2 processes``."""

    def __enter__(self) -> Workers: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, work: Callable[[Job], Result], jobs: Iterable[Job]) -> Results[Job, Result]: ...
