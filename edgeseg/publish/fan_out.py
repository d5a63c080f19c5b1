"""Events to several takers: the broker first, then whatever else shows or keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType

from edgeseg.events import Event
from edgeseg.publish.base import Publisher


class FanOutPublisher:
    """Hands each event to ``first`` and then to ``others``, in their order.

    first: who decides whether anybody reads any more. Those after it must neither block nor raise: what they
    hold is a copy for people to look at.
    """

    def __init__(self, first: Publisher, others: Sequence[Publisher]) -> None:
        self._first = first
        self._others = others
        self._started = ExitStack()

    @property
    def gone(self) -> bool:
        return self._first.gone

    def start(self) -> None:
        """Raises what a publisher raises; those started before it are closed."""
        with ExitStack() as started:
            for publisher in (self._first, *self._others):
                started.enter_context(publisher)
            self._started = started.pop_all()

    def send(self, event: Event) -> None:
        self._first.send(event)
        for publisher in self._others:
            publisher.send(event)

    def close(self) -> None:
        self._started.close()

    def __enter__(self) -> FanOutPublisher:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
