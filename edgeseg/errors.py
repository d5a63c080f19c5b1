"""What can go wrong, by who has to act. The type decides whether a retry makes sense.

Every message gives the place, what was found there, what was expected and the next step:
``pipelines/yard.yaml:14:5: zones.gate.polygon: 2 points, need at least 3``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


class EdgesegError(Exception):
    """Base of all errors that a user can act on. Printed as one line, without a traceback, exit code 2."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file. ``line`` and ``column`` count from 1; 0 when the place has none."""

    file: str
    line: int
    column: int
    where: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.where}: {self.message}" if self.where else f"{place}: {self.message}"


# Of a file that is no such file at all, everything is wrong.
_MOST_SHOWN = 40


class ConfigError(EdgesegError):
    """A pipeline file or model manifest is wrong. Carries all its problems at once, and names the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems[:_MOST_SHOWN]]
        if more := len(self.problems) - len(lines):
            lines.append(f"{self.problems[0].file}: and {more} more problems")
        super().__init__("\n".join(lines))


class ModelError(EdgesegError):
    """A model folder or an artefact is missing, damaged, or not what its manifest says."""


class EngineError(EdgesegError):
    """A runtime is not installed, or cannot load or run the model. Never retried.

    Raised at start it is the user's to mend; raised while running it ends the daemon with exit code 1.
    """


class EngineAwayError(EngineError):
    """A server that runs the model cannot be reached, or did not answer. It may be back for the next frame.

    late: it may only have been slow, or busy.
    """

    def __init__(self, message: str, *, late: bool = False) -> None:
        self.late = late
        super().__init__(message)


class EngineCancelledError(EngineError):
    """A run hung and was cancelled. Its frame is lost, the next one is tried."""


SourceReason = Literal[
    "auth", "timeout", "not_found", "tls", "codec", "refused", "ended", "truncated", "crashed"
]


class SourceError(EdgesegError):
    """A camera or clip cannot be read. Live sources are reopened after it; files are not.

    ``reason`` is the code published in ``<camera>/status``. The message never holds credentials.
    """

    def __init__(self, reason: SourceReason, message: str) -> None:
        self.reason: SourceReason = reason
        super().__init__(message)

    def __reduce__(self) -> tuple[type[SourceError], tuple[SourceReason, str]]:
        # Crosses from the camera process by pickle; Exception's own __reduce__ would lose ``reason``.
        return type(self), (self.reason, str(self))


class PublishError(EdgesegError):
    """Events cannot be published, and waiting does not help: a broker that is absent or refuses is no error.

    Raised at start it is the user's to mend; raised while running it ends the daemon with exit code 1.
    """


class StateError(EdgesegError):
    """What was stored for a restart cannot be used: it was written by a newer edgeseg."""
