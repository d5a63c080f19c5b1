"""Source: the interface of everything that pictures come from.

To add one: write a class with these members in a file of its own, return it from ``open.open_source``, and
add it to the cases of the source contract in ``tests/``.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol

from edgeseg.frames import Picture


class Source(Protocol):
    """Reads one camera or clip once. It never retries; the capture loop does.

    ``__enter__`` opens and raises SourceError; iteration yields pictures in order and raises
    SourceError. A live stream that ends raises ``ended``; a finite one (file, folder of pictures)
    stops iterating at its regular end and raises ``truncated`` where it is shorter than declared.

    shown: how messages may name it, without credentials. live: whether camera time is arrival time.
    corrupt_packets: skipped since the beginning because they did not decode. notice: one line on how it works
    otherwise than configured (decoding in software), None while nothing does; it may come in the middle.
    """

    shown: str
    live: bool

    @property
    def corrupt_packets(self) -> int: ...

    @property
    def notice(self) -> str | None: ...

    @property
    def duration_s(self) -> float | None:
        """A clip's declared duration; None for a live source. Open it first."""

    @property
    def rate_fps(self) -> float | None:
        """The declared picture rate, None where there is none. Open it first."""

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[Picture]: ...
