"""A progress bar with rate and time left for long commands; on standard error, and only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(title: str, unit: str, quiet: bool = False) -> Iterator[Callable[[float], None]]:
    """Yields ``advance(done_share)``, to be called after each ``unit`` (picture, frame) with 0-1.

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
