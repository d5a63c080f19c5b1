"""Live table of ``edgeseg listen``: the only part of it that needs rich (extra ``cli``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edgeseg.commands.listen.latest_values import NodeValues
from edgeseg.publish.mqtt.subscriber import ReceivedMessage

_REDRAWS_PER_S = 4
_STYLES = {"ON": "bold red", "OFF": "green", "unknown": "yellow"}


@contextmanager
def live_table(values: NodeValues) -> Iterator[Callable[[ReceivedMessage], None]]:
    """Draw the live table; yield the function that takes each message."""
    with Live(get_renderable=lambda: _drawn(values), refresh_per_second=_REDRAWS_PER_S, screen=False):
        yield lambda message: _take(values, message)


def _take(values: NodeValues, message: ReceivedMessage) -> None:
    values.receive(message.topic, message.payload)


def _drawn(values: NodeValues) -> Group:
    """Never as markup: names and words come from the network."""
    table = Table("node", "camera", "zone", "covered by", "rules", "at", box=None, header_style="bold")
    shown = set()
    for (node, camera, zone), row in sorted(values.zones.items()):
        shown.add((node, camera))
        state = values.cameras.get((node, camera), "")
        rules = Text(" ").join(
            Text(f"{name} {value}", _STYLES.get(value, "")) for name, value in sorted(row.rules.items())
        )
        covered = Text(row.text, "yellow" if row.text.startswith("unknown") else "")
        names = (Text(node, "" if values.nodes.get(node) != "offline" else "red"), Text(camera), Text(zone))
        table.add_row(*names, covered, rules, Text(row.at or state))
    for (node, camera), state in sorted(values.cameras.items()):
        if (node, camera) not in shown:
            table.add_row(Text(node), Text(camera), "", Text(state), "", "")
    return Group(table, *(Text(line, "bold") for line in values.alerts))
