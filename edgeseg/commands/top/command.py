"""``edgeseg top``: shows running nodes live in the terminal."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.commands.shared.broker_options import PASSWORD_VARIABLE, USER_VARIABLE, broker_at, broker_of_file
from edgeseg.errors import EdgesegError

if TYPE_CHECKING:
    from edgeseg.commands.top.view import NodesOverview
    from edgeseg.publish.mqtt.subscriber import Subscriber
    from edgeseg.settings import MqttSettings

_TICK_S = 0.5
# Retained messages come at once; a pause this long means that all of them are here.
_QUIET_S = 1.0
_ANSWER_S = 15


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "top",
        help="watch running nodes in the terminal: cameras, zones, rules, load",
        description="Shows what running nodes publish over MQTT: cameras with their state and its reason, "
        "how much of each zone is covered, rules that are on, load, waiting alerts. With a pipeline file it "
        "shows that file's node; with a broker's address it shows all nodes there. User and "
        f"password for an address come from ${USER_VARIABLE} and ${PASSWORD_VARIABLE}. Ctrl-C ends it.",
    )
    parser.add_argument(
        "target",
        metavar="PIPELINE|mqtt://HOST",
        help="a pipeline file that names a broker, or a broker's address",
    )
    parser.add_argument(
        "--ca-file", type=Path, help="certificate authority to trust with mqtts://, for an address"
    )
    parser.add_argument("--prefix", default="edgeseg", help="first levels of all topics, for an address")
    parser.add_argument("--once", action="store_true", help="print the present state, and end")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns the exit code: 0 after Ctrl-C."""
    from edgeseg.commands.top.view import NodesOverview
    from edgeseg.publish.mqtt.subscriber import Subscriber

    settings, topics = _broker(args)
    view = NodesOverview(settings.prefix)
    with Subscriber(settings, topics) as subscriber:
        try:
            if args.once:
                _gather(subscriber, view)
                _print(view, subscriber.trouble)
            elif sys.stdout.isatty() and _has_rich():
                _live(subscriber, view)
            else:
                _lines(subscriber, view)
        except KeyboardInterrupt:
            return 0
    return 0


def _gather(subscriber: Subscriber, view: NodesOverview) -> None:
    """Receive until no more retained messages come. Raises EdgesegError where there is no connection."""
    for _ in range(_ANSWER_S):
        connected = subscriber.trouble is None
        messages = subscriber.take(_QUIET_S)
        for one in messages:
            view.receive(one)
        trouble = subscriber.trouble
        if trouble is not None and trouble != "connecting":
            raise EdgesegError(f"the broker: {trouble}")
        if connected and not messages:
            return
    if subscriber.trouble is not None:
        raise EdgesegError(f"the broker does not answer within {_ANSWER_S} s")


def _live(subscriber: Subscriber, view: NodesOverview) -> None:
    from rich.live import Live

    from edgeseg.commands.top.output import rich_view

    with Live(rich_view(view, subscriber.trouble), screen=True, auto_refresh=False) as live:
        while True:
            for message in subscriber.take(_TICK_S):
                view.receive(message)
            _give_up(subscriber)
            live.update(rich_view(view, subscriber.trouble), refresh=True)


def _lines(subscriber: Subscriber, view: NodesOverview) -> None:
    """Print all lines whenever one changes, for a pipe or a terminal without rich."""
    from edgeseg.commands.top.output import plain_view

    before: list[str] = []
    while True:
        for message in subscriber.take(_TICK_S):
            view.receive(message)
        _give_up(subscriber)
        lines = list(plain_view(view, subscriber.trouble))
        if lines != before:
            print("\n".join([*lines, ""]), flush=True)
        before = lines


def _give_up(subscriber: Subscriber) -> None:
    if subscriber.refused:
        raise EdgesegError(f"the broker: {subscriber.trouble}")


def _print(view: NodesOverview, trouble: str | None) -> None:
    if sys.stdout.isatty() and _has_rich():
        from rich.console import Console

        from edgeseg.commands.top.output import rich_view

        Console().print(rich_view(view, trouble))
        return
    from edgeseg.commands.top.output import plain_view

    print("\n".join(plain_view(view, trouble)) or "no messages; does `edgeseg run` run?")


def _broker(args: argparse.Namespace) -> tuple[MqttSettings, tuple[str, ...]]:
    """Return the broker and what to subscribe to. Raises ConfigError, EdgesegError."""
    if "://" in args.target:
        return broker_at(args.target, args.ca_file, args.prefix), (f"{args.prefix}/#",)
    mqtt, pipeline = broker_of_file(Path(args.target))
    return mqtt, (f"{mqtt.prefix}/{pipeline.node}/#",)


def _has_rich() -> bool:
    try:
        import rich  # noqa: F401
    except ImportError:
        return False
    return True
