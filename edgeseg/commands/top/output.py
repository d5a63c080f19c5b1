"""Output of ``edgeseg top``: bars and colour with rich (extra ``cli``), else lines of plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from edgeseg.commands.top.view import NodeRow, NodesOverview, ZoneValues

if TYPE_CHECKING:
    from rich.console import RenderableType

_BAR = 16
_STATE_COLOURS = {"live": "green", "connecting": "yellow", "stale": "yellow", "disabled": "dim"}


def rich_view(view: NodesOverview, trouble: str | None) -> RenderableType:
    """The whole picture for ``rich.live.Live``."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    if trouble is not None:
        parts.append(Text(f"broker: {trouble}", style="bold red"))
    for name, node in sorted(view.nodes.items()):
        style = "bold green" if node.availability == "online" else "bold red"
        parts.append(Text.assemble((f"{name} ", "bold"), (node.availability, style), f"   {load(node)}"))
        parts.append(_cameras(node))
        parts.append(_zones(node))
    if view.alerts:
        parts.append(Text("alerts", style="bold"))
        parts += [Text(f"  {alert_line(alert)}") for alert in reversed(view.alerts)]
    if not view.nodes and trouble is None:
        parts.append(Text("no messages yet; does `edgeseg run` run?", style="dim"))
    parts.append(Text("Ctrl-C ends", style="dim"))
    return Group(*parts)


def plain_view(view: NodesOverview, trouble: str | None) -> Iterator[str]:
    """The same as lines."""
    if trouble is not None:
        yield f"broker: {trouble}"
    for name, node in sorted(view.nodes.items()):
        yield f"{name}: {node.availability}  {load(node)}".rstrip()
        for camera, status in sorted(node.cameras.items()):
            yield f"  {camera}: {' '.join(camera_cells(status))}".rstrip()
        for (camera, zone), one in sorted(node.zones.items()):
            shares = ", ".join(f"{label} {share:.0%}" for label, share in one.shares)
            on = f"  on: {', '.join(one.on)}" if one.on else ""
            yield f"  {camera}/{zone}: {one.unknown or shares or '-'}{on}"
    for alert in reversed(view.alerts):
        yield f"alert: {alert_line(alert)}"


def load(node: NodeRow) -> str:
    """How busy the device is and what waits; empty before its first ``stats``."""
    stats = node.stats
    if not stats:
        return ""
    parts = [f"busy {_number(stats, 'busy'):.0%}, asked {_number(stats, 'demand'):.0%}"]
    parts.append(f"outbox {_number(stats, 'outbox_waiting'):.0f}")
    parts.append(f"alerts delivered {_number(stats, 'alerts_delivered'):.0f}")
    if refused := _number(stats, "messages_refused"):
        parts.append(f"refused {refused:.0f}")
    parts.append(f"up {_duration(_number(stats, 'uptime_s'))}")
    return " · ".join(parts)


def camera_cells(status: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """State with its reason, pictures a second, age, what it gets less of."""
    reason = status.get("reason")
    state = f"{status.get('state', '?')}{f' ({reason})' if reason else ''}"
    fps = f"{_number(status, 'fps'):.1f}/s" if status.get("fps") is not None else ""
    age = f"{_number(status, 'age_ms') / 1000:.1f} s old" if status.get("age_ms") is not None else ""
    degraded = status.get("degraded")
    less = ""
    if isinstance(degraded, dict):
        got = [f"{degraded['rate']:g}/s"] if isinstance(degraded.get("rate"), (int, float)) else []
        got += [str(degraded["input"])] if degraded.get("input") else []
        got += [f"engine {degraded['engine']}"] if degraded.get("engine") else []
        less = f"degraded to {' '.join(got)}" if got else ""
    return state, fps, age, less


def alert_line(alert: Mapping[str, Any]) -> str:
    """One alert: when, where, what."""
    where = "/".join(str(alert[key]) for key in ("node", "camera", "zone") if alert.get(key))
    when = str(alert.get("at", ""))[:19].replace("T", " ")
    return f"{when}  {where}  {alert.get('rule')}: {alert.get('event')}"


def _cameras(node: NodeRow) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table("camera", "state", "analysed", "newest", "", box=None, header_style="dim", padding=(0, 2))
    for camera, status in sorted(node.cameras.items()):
        state, fps, age, less = camera_cells(status)
        colour = _STATE_COLOURS.get(str(status.get("state")), "red")
        table.add_row(Text(camera), Text(state, style=colour), fps, age, Text(less, style="yellow"))
    return table


def _zones(node: NodeRow) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table("zone", "covered by", "on", box=None, header_style="dim", padding=(0, 2))
    for (camera, zone), one in sorted(node.zones.items()):
        table.add_row(Text(f"{camera}/{zone}"), _bars(one), Text(", ".join(one.on), style="bold red"))
    return table


def _bars(zone: ZoneValues) -> RenderableType:
    from rich.text import Text

    if zone.unknown is not None:
        return Text(f"unknown: {zone.unknown}", style="yellow")
    text = Text()
    for label, share in zone.shares:
        full = min(_BAR, round(share * _BAR))
        text.append(f"{label} ")
        text.append("█" * full, style="cyan")
        text.append("░" * (_BAR - full), style="dim")
        text.append(f" {share:4.0%}  ")
    return text


def _number(values: Mapping[str, Any], key: str) -> float:
    value = values.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    days, hours = minutes // 1440, minutes // 60 % 24
    return f"{days} d {hours} h" if days else f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"
