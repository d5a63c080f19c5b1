"""Fleet formats: a table, sentences on what differs, and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgeseg.clock import iso_utc
from edgeseg.tools.fleet.node_status import SILENT_AFTER_S, Fleet, NodeStatus

HEADER = ("node", "state", "cameras", "alerts waiting", "restarts", "heard", "edgeseg", "pipeline")
_DIGEST_SHOWN = 8
_NAMED = 5

JSON_SCHEMA: Mapping[str, Any] = {
    "title": "edgeseg fleet status --json",
    "type": "object",
    "required": ["at", "nodes", "versions", "pipelines"],
    "additionalProperties": False,
    "properties": {
        "at": {"type": "string", "format": "date-time"},
        "nodes": {
            "type": "object",
            "description": "by name",
            "additionalProperties": {
                "type": "object",
                "required": [
                    *("state", "cameras", "alerts_waiting", "restarts", "heard_at", "version", "pipeline")
                ],
                "additionalProperties": False,
                "properties": {
                    "state": {
                        "enum": ["online", "offline", "silent", "unknown"],
                        "description": f"silent: online, but no stats for {SILENT_AFTER_S:g} s",
                    },
                    "cameras": {"type": "object", "additionalProperties": {"type": "string"}},
                    "alerts_waiting": {"type": ["integer", "null"]},
                    "restarts": {"type": ["integer", "null"], "description": "unplanned, in 24 hours"},
                    "heard_at": {"type": ["string", "null"], "description": "by the node's own clock"},
                    "version": {"type": ["string", "null"]},
                    "pipeline": {"type": ["string", "null"], "description": "sha256 of the file in force"},
                },
            },
        },
        "versions": {"type": "object", "description": "version -> nodes"},
        "pipelines": {"type": "object", "description": "sha256 -> nodes"},
    },
}


def state(node: NodeStatus, now_s: float) -> str:
    """``online``, ``offline``, ``silent`` (online to its broker, but without new stats) or ``unknown``."""
    reported_at_s = node.reported_at_s
    if node.online and reported_at_s is not None and now_s - reported_at_s > SILENT_AFTER_S:
        return "silent"
    return node.availability if node.availability in ("online", "offline") else "unknown"


def rows(fleet: Fleet, now_s: float) -> list[tuple[str, ...]]:
    """Return a row for each node, those with problems first."""
    return [_row(name, node, now_s) for name, node in sorted(fleet.nodes.items(), key=_need(now_s))]


def sentences(fleet: Fleet, now_s: float) -> Iterator[str]:
    """How many are well, and what differs."""
    nodes = fleet.nodes
    well = sum(state(node, now_s) == "online" for node in nodes.values())
    live = sum(node.live for node in nodes.values())
    cameras = sum(len(node.cameras) for node in nodes.values())
    yield f"{well} of {len(nodes)} nodes online, {live} of {cameras} cameras live"
    versions = by(fleet, "version")
    if len(versions) > 1:
        yield "versions differ: " + "; ".join(
            f"{version}: {_names(names)}" for version, names in versions.items()
        )
    pipelines = by(fleet, "pipeline")
    if 1 < len(pipelines) < len(nodes):
        yield "pipeline files differ: " + "; ".join(
            f"{digest[:_DIGEST_SHOWN]}: {_names(names)}" for digest, names in pipelines.items()
        )


def as_json(fleet: Fleet, now_s: float) -> dict[str, object]:
    """See ``JSON_SCHEMA``."""
    return {
        "at": iso_utc(now_s),
        "nodes": {
            name: {
                "state": state(node, now_s),
                "cameras": dict(sorted(node.cameras.items())),
                "alerts_waiting": node.alerts_waiting,
                "restarts": node.restarts,
                "heard_at": None if node.reported_at_s is None else iso_utc(node.reported_at_s),
                "version": node.version,
                "pipeline": node.pipeline,
            }
            for name, node in sorted(fleet.nodes.items())
        },
        "versions": by(fleet, "version"),
        "pipelines": by(fleet, "pipeline"),
    }


def by(fleet: Fleet, key: str) -> dict[str, list[str]]:
    """What nodes tell under ``key`` -> their names, the most common first; who does not tell is left out."""
    found: dict[str, list[str]] = {}
    for name, node in sorted(fleet.nodes.items()):
        if (value := getattr(node, key)) is not None:
            found.setdefault(value, []).append(name)
    return dict(sorted(found.items(), key=lambda pair: (-len(pair[1]), pair[0])))


def _row(name: str, node: NodeStatus, now_s: float) -> tuple[str, ...]:
    cameras = ", ".join(f"{count} {state}" for state, count in node.states.items()) or "none"
    reported = "never" if node.reported_at_s is None else _ago(now_s - node.reported_at_s)
    digest = (node.pipeline or "?")[:_DIGEST_SHOWN]
    waiting, restarts = _count_text(node.alerts_waiting), _count_text(node.restarts)
    return (name, state(node, now_s), cameras, waiting, restarts, reported, node.version or "?", digest)


def _need(now_s: float) -> Any:
    def order(pair: tuple[str, NodeStatus]) -> tuple[bool, bool, str]:
        name, node = pair
        return state(node, now_s) == "online", node.live == len(node.cameras), name

    return order


def _count_text(count: int | None) -> str:
    return "?" if count is None else str(count)


def _names(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _ago(duration_s: float) -> str:
    # A node's clock may be ahead of ours.
    seconds = max(0, round(duration_s))
    for unit_s, word in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds // unit_s} {word} ago"
    return f"{seconds} s ago"
