"""Terminal output: tables and progress bars, drawn by rich (extra ``cli``) or as plain text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeseg.models.model import Blob


@contextmanager
def progress(title: str, unit: str, quiet: bool = False) -> Iterator[Callable[[float], None]]:
    """Yield ``advance(done_share)``, to be called after each ``unit`` (picture, frame) with 0-1.

    Shows nothing when ``quiet``, when standard error is not a terminal, or without rich (extra ``cli``).
    """
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
        from rich.text import Text
    except ImportError:
        yield lambda done_share: None
        return
    if quiet or not sys.stderr.isatty():
        yield lambda done_share: None
        return

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            count, elapsed_s = task.fields["count"], task.elapsed or 0.0
            return Text(f"{count / elapsed_s:5.1f} {unit}s/s" if elapsed_s > 0.5 else "")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=1.0, count=0)
        count = 0

        def advance(done_share: float) -> None:
            nonlocal count
            count += 1
            bars.update(task, completed=min(max(done_share, 0.0), 1.0), count=count)

        yield advance


def print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table on standard output: in colour on a terminal with rich, else as plain aligned text."""
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        pass
    else:
        if sys.stdout.isatty():
            table = Table(*header, box=None, pad_edge=False, header_style="bold")
            for row in rows:
                table.add_row(*row)
            Console().print(table)
            return
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    for line in (header, *rows):
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


@contextmanager
def download_bars(quiet: bool) -> Iterator[Callable[[Blob, int], None] | None]:
    """Yield the progress callback of ``registry.pull``: a bar for each file with rate and time left.

    None where ``quiet``, without a terminal, or without rich (extra ``cli``).
    """
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TaskID,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
    except ImportError:
        yield None
        return
    if quiet or not sys.stderr.isatty():
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def advance(blob: Blob, done_bytes: int) -> None:
            if blob.sha256 not in tasks:
                tasks[blob.sha256] = bars.add_task(blob.file, total=blob.bytes)
            bars.update(tasks[blob.sha256], completed=done_bytes)

        yield advance
