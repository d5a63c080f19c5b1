"""Publishers that tell nobody: what they take stays in this process."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

from edgeseg.frames import Event

Self = TypeVar("Self", bound="SilentPublisher")


class SilentPublisher:
    """Takes events and keeps none. The base of those that keep a copy: they have nothing to acquire."""

    gone = False

    def start(self) -> None: ...

    def send(self, event: Event) -> None: ...

    def close(self) -> None: ...

    def __enter__(self: Self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
