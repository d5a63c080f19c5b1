"""``edgeseg fleet``: many nodes at once."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.commands.fleet import capacity, rollout
from edgeseg.commands.listen import PASSWORD_VARIABLE, USER_VARIABLE

if TYPE_CHECKING:
    from edgeseg.settings import MqttSettings


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``fleet`` to the command line."""
    parser = subparsers.add_parser(
        "fleet",
        help="many nodes: how they are, new pipeline files stage by stage, what they add up to",
        description="Many nodes at once.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_status(commands)
    rollout.add_parser(commands, _add_broker, broker)
    capacity.add_parser(commands)


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    status = commands.add_parser(
        "status",
        help="how all nodes at a broker are, by what they retain there",
        description="Shows every node at a broker, those that need somebody first: whether it is there, its "
        "cameras by state, alerts that wait, restarts that nobody asked for (24 hours), when it was last "
        "heard (by its own clock), its version and its pipeline file; and what differs between them.",
    )
    _add_broker(status)
    status.add_argument("--json", action="store_true", help="print the result as JSON")
    status.set_defaults(run=_status)


def _add_broker(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "broker",
        metavar="mqtt://HOST",
        help=f"mqtt://host or mqtts://host; user and password from ${USER_VARIABLE} and ${PASSWORD_VARIABLE}",
    )
    parser.add_argument("--ca-file", type=Path, help="authority to trust with mqtts://")
    parser.add_argument(
        "--prefix",
        action="append",
        help="first level or levels of the topics; several times for several sites (default: edgeseg)",
    )


def _status(args: argparse.Namespace) -> int:
    import json

    from edgeseg.clock import SystemClock
    from edgeseg.commands._terminal import print_table
    from edgeseg.tools.fleet import format
    from edgeseg.tools.fleet.collect import gathered

    now_s = SystemClock().utc_s()
    fleet = gathered(broker(args), prefixes(args))
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


def prefixes(args: argparse.Namespace) -> tuple[str, ...]:
    """Raises EdgesegError for one that cannot be one."""
    from edgeseg.config.keys.mqtt import check_prefix
    from edgeseg.errors import EdgesegError

    try:
        return tuple(check_prefix(prefix) for prefix in args.prefix or ("edgeseg",))
    except ValueError as error:
        raise EdgesegError(f"--prefix: {error}") from error


def broker(args: argparse.Namespace) -> MqttSettings:
    """Raises EdgesegError for an address that is wrong."""
    from edgeseg.config import addresses
    from edgeseg.errors import EdgesegError
    from edgeseg.settings import MqttSettings, Secret

    try:
        address = addresses.broker(args.broker)
    except ValueError as error:
        hint = f"; user and password go into ${USER_VARIABLE} and ${PASSWORD_VARIABLE}"
        raise EdgesegError(f"the broker's address {error}{hint if '@' in args.broker else ''}") from None
    password = os.environ.get(PASSWORD_VARIABLE)
    return MqttSettings(
        host=address.host,
        port=address.port,
        tls=address.tls,
        ca_file=str(args.ca_file) if args.ca_file else None,
        username=os.environ.get(USER_VARIABLE),
        password=Secret(password) if password else None,
        password_file=None,
        prefix=prefixes(args)[0],
    )
