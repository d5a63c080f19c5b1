"""``edgeseg top``: nodes live in the terminal, as their broker tells."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.errors import EdgesegError

if TYPE_CHECKING:
    from edgeseg.commands.top.view import NodesOverview
    from edgeseg.publish.mqtt.subscriber import Subscriber
    from edgeseg.settings import MqttSettings

_TICK_S = 0.5
# What is retained comes at once; a pause this long says that all of it is here.
_QUIET_S = 1.0
_ANSWER_S = 15
_USER, _PASSWORD = "EDGESEG_MQTT_USERNAME", "EDGESEG_MQTT_PASSWORD"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "top",
        help="watch running nodes in the terminal: cameras, zones, rules, load",
        description="Shows what a running edgeseg says over MQTT: cameras with their state and its reason, "
        "how much of each zone is covered, rules that are on, load, alerts that wait. The broker is that of "
        "a pipeline file, whose node alone is shown, or an address, of which all nodes are shown; user and "
        f"password for an address come from ${_USER} and ${_PASSWORD}. Ctrl-C ends it.",
    )
    parser.add_argument("target", metavar="PIPELINE|mqtt://HOST", help="whose broker, or which")
    parser.add_argument("--ca-file", help="authority to trust with mqtts://, for an address")
    parser.add_argument("--prefix", default="edgeseg", help="first levels of all topics, for an address")
    parser.add_argument("--once", action="store_true", help="print what is known now, and end")
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
    """Until nothing more comes. Raises EdgesegError where there is no connection."""
    for _ in range(_ANSWER_S):
        connected = subscriber.trouble is None
        heard = subscriber.take(_QUIET_S)
        for one in heard:
            view.hear(one)
        trouble = subscriber.trouble
        if trouble is not None and trouble != "connecting":
            raise EdgesegError(f"the broker: {trouble}")
        if connected and not heard:
            return
    if subscriber.trouble is not None:
        raise EdgesegError(f"the broker does not answer within {_ANSWER_S} s")


def _live(subscriber: Subscriber, view: NodesOverview) -> None:
    from rich.live import Live

    from edgeseg.commands.top.output import rich_view

    with Live(rich_view(view, subscriber.trouble), screen=True, auto_refresh=False) as live:
        while True:
            for heard in subscriber.take(_TICK_S):
                view.hear(heard)
            _give_up(subscriber)
            live.update(rich_view(view, subscriber.trouble), refresh=True)


def _lines(subscriber: Subscriber, view: NodesOverview) -> None:
    """For a pipe, or a terminal without rich: all lines again whenever one of them is another."""
    from edgeseg.commands.top.output import plain_view

    before: list[str] = []
    while True:
        for heard in subscriber.take(_TICK_S):
            view.hear(heard)
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

    print("\n".join(plain_view(view, trouble)) or "nothing is heard; does `edgeseg run` run?")


def _broker(args: argparse.Namespace) -> tuple[MqttSettings, tuple[str, ...]]:
    """The broker and what to subscribe to. Raises ConfigError, EdgesegError."""
    from edgeseg import config
    from edgeseg.config import addresses
    from edgeseg.settings import MqttSettings, Secret

    if "://" in args.target:
        try:
            broker = addresses.broker(args.target)
        except ValueError as error:
            hint = f"; user and password go into ${_USER} and ${_PASSWORD}" if "@" in args.target else ""
            raise EdgesegError(f"the broker's address {error}{hint}") from None
        password = os.environ.get(_PASSWORD)
        settings = MqttSettings(
            broker.host, broker.port, broker.tls, args.ca_file, os.environ.get(_USER),
            Secret(password) if password else None, None, args.prefix,
        )  # fmt: skip
        return settings, (f"{args.prefix}/#",)
    pipeline = config.load(Path(args.target))
    if pipeline.mqtt is None:
        raise EdgesegError(f"{args.target}: names no broker (mqtt:), and top listens to one")
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    # The passwords of cameras and dashboard are no matter here.
    mine = replace(pipeline, cameras=(), web=None)
    filled = config.resolve(mine, os.environ, Path(folder) if folder else None)
    assert filled.mqtt is not None
    return filled.mqtt, (f"{filled.mqtt.prefix}/{pipeline.node}/#",)


def _has_rich() -> bool:
    try:
        import rich  # noqa: F401
    except ImportError:
        return False
    return True
