"""``edgeseg fleet``: shows, updates and plans many nodes at once."""

from __future__ import annotations

import argparse

from edgeseg.commands.fleet import capacity, rollout
from edgeseg.commands.shared.broker_options import add_broker, broker_of, prefixes


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``fleet`` to the command line."""
    parser = subparsers.add_parser(
        "fleet",
        help="many nodes: how they are, new pipeline files stage by stage, what they add up to",
        description="Many nodes at once.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_status(commands)
    rollout.add_parser(commands)
    capacity.add_parser(commands)


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    status = commands.add_parser(
        "status",
        help="show the state of all nodes at a broker",
        description="Shows every node at a broker, those with problems first: whether it is online, its "
        "cameras by state, waiting alerts, unplanned restarts (24 hours), the time of its last stats (by its "
        "own clock), its version and its pipeline file; and what differs between them.",
    )
    add_broker(status)
    status.add_argument("--json", action="store_true", help="print the result as JSON")
    status.set_defaults(run=_status)


def _status(args: argparse.Namespace) -> int:
    import json

    from edgeseg.clock import SystemClock
    from edgeseg.commands.shared.terminal import print_table
    from edgeseg.tools.fleet import format
    from edgeseg.tools.fleet.collect import collect_fleet

    now_s = SystemClock().utc_s()
    fleet = collect_fleet(broker_of(args), prefixes(args))
    if args.json:
        print(json.dumps(format.as_json(fleet, now_s), indent=2, ensure_ascii=False))
        return 0
    if not fleet.nodes:
        print(
            f"no node below {', '.join(prefixes(args))}; does the user at the broker read all nodes' topics?"
        )
        return 0
    print_table(format.HEADER, format.rows(fleet, now_s))
    print("\n".join(format.sentences(fleet, now_s)))
    return 0
