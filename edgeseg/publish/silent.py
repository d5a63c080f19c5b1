"""Nobody to publish to: a camera is only recorded."""

from __future__ import annotations

from types import TracebackType

from edgeseg.frames import Event


class SilentPublisher:
    """Takes events and keeps none."""

    gone = False

    def start(self) -> None: ...

    def send(self, event: Event) -> None: ...

    def close(self) -> None: ...

    def __enter__(self) -> SilentPublisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
