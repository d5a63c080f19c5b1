"""Output of ``edgeseg doctor``: marks and colour with rich (extra ``cli``), else plain text."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from edgeseg.tools.doctor.finding import Finding

_WORDS = {"ok": "ok", "note": "note", "problem": "PROBLEM", "skipped": "-"}
_MARKS = {"ok": "[green]✓[/]", "note": "[yellow]●[/]", "problem": "[red bold]✗[/]", "skipped": "[dim]–[/]"}
_COLOURS = {"ok": "", "note": "yellow", "problem": "red", "skipped": "dim"}


def show_section(title: str, found: Sequence[Finding]) -> None:
    """Print one section's findings, each with what mends it below."""
    console = _console()
    if console is None:
        _show_plain(title, found)
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table.grid(padding=(0, 1))
    table.add_column(width=1)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for finding in found:
        colour = _COLOURS[finding.state]
        text = f"[{colour}]{escape(finding.text)}[/]" if colour else escape(finding.text)
        table.add_row(_MARKS[finding.state], escape(finding.subject), text)
        if finding.mend:
            table.add_row("", "", f"[cyan]→ {escape(finding.mend)}[/]")
    console.print(f"[bold underline]{title}[/]", highlight=False)
    console.print(table, highlight=False)


def show_verdict(problems: int) -> None:
    """The last line: whether all is well."""
    many = f"{problems} problem{'' if problems == 1 else 's'}"
    console = _console()
    if console is None:
        print(f"{many}: see PROBLEM above" if problems else "all is well")
    else:
        console.print(f"[red bold]{many}[/]" if problems else "[green bold]all is well[/]", highlight=False)


def _show_plain(title: str, found: Sequence[Finding]) -> None:
    print(f"{title}:")
    subject = max((len(finding.subject) for finding in found), default=0)
    for finding in found:
        head = f"  {_WORDS[finding.state]:<7}  {finding.subject:<{subject}}  "
        wide = max(60, 110 - len(head)) if sys.stdout.isatty() else 10_000
        lines = textwrap.wrap(finding.text, wide) or [""]
        lines += [f"-> {line}" for line in [finding.mend] if line]
        print(head + f"\n{' ' * len(head)}".join(lines))


def _console() -> Console | None:
    """None where standard output is no terminal, or rich is not installed."""
    if not sys.stdout.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console()
