"""Live table of ``edgeseg listen``: the only part of it that needs rich (extra ``cli``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edgeseg.commands.listen.board import Board
from edgeseg.publish.mqtt.subscriber import ReceivedMessage

_REDRAWS_PER_S = 4
_STYLES = {"ON": "bold red", "OFF": "green", "unknown": "yellow"}


@contextmanager
def live_table(board: Board) -> Iterator[Callable[[ReceivedMessage], None]]:
    """Draws the board now and then; what it yields takes each message."""
    with Live(get_renderable=lambda: _drawn(board), refresh_per_second=_REDRAWS_PER_S, screen=False):
        yield lambda heard: _take(board, heard)


def _take(board: Board, heard: ReceivedMessage) -> None:
    board.receive(heard.topic, heard.payload)


def _drawn(board: Board) -> Group:
    """Never as markup: names and words come from the network."""
    table = Table("node", "camera", "zone", "covered by", "rules", "at", box=None, header_style="bold")
    shown = set()
    for (node, camera, zone), row in sorted(board.zones.items()):
        shown.add((node, camera))
        state = board.cameras.get((node, camera), "")
        rules = Text(" ").join(
            Text(f"{name} {value}", _STYLES.get(value, "")) for name, value in sorted(row.rules.items())
        )
        covered = Text(row.told, "yellow" if row.told.startswith("unknown") else "")
        names = (Text(node, "" if board.nodes.get(node) != "offline" else "red"), Text(camera), Text(zone))
        table.add_row(*names, covered, rules, Text(row.at or state))
    for (node, camera), state in sorted(board.cameras.items()):
        if (node, camera) not in shown:
            table.add_row(Text(node), Text(camera), "", Text(state), "", "")
    return Group(table, *(Text(line, "bold") for line in board.alerts))
