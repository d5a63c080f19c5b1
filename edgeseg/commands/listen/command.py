"""``edgeseg listen``: shows what nodes publish, as a live table, as lines, or as JSON lines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.commands.shared.broker_options import (
    DEFAULT_PREFIX,
    PASSWORD_VARIABLE,
    USER_VARIABLE,
    broker_at,
    broker_of_file,
    checked_prefix,
)

if TYPE_CHECKING:
    from edgeseg.commands.listen.latest_values import NodeValues
    from edgeseg.publish.mqtt.subscriber import ReceivedMessage
    from edgeseg.settings import MqttSettings

_TAKE_TIMEOUT_S = 0.5

Show = Callable[["ReceivedMessage"], None]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "listen",
        help="show what nodes publish",
        description="Shows occupancy, rules, cameras and alerts of every node at a broker: a live table on a "
        "terminal with rich (extra cli), else a line for each change; or everything as JSON lines. Ends with "
        f"Ctrl-C. User and password come from the pipeline file, or from ${USER_VARIABLE} and "
        f"${PASSWORD_VARIABLE}: never from the command line, which other users of the machine can see.",
    )
    parser.add_argument(
        "target",
        nargs="?",
        default="mqtt://localhost",
        help="mqtt://host or mqtts://host of a broker, or a pipeline file that names one "
        "(default: mqtt://localhost)",
    )
    parser.add_argument("--json", action="store_true", help="each message as a JSON line")
    parser.add_argument("--node", help="show only this node")
    parser.add_argument(
        "--prefix", help="first level or levels of the topics (default: the file's, or edgeseg)"
    )
    parser.add_argument(
        "--ca-file", type=Path, help="certificate authority to trust with mqtts:// instead of the system's"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from edgeseg.errors import EdgesegError
    from edgeseg.publish.mqtt.subscriber import Subscriber

    mqtt = _broker(args)
    trouble: str | None = None
    try:
        filters = _filters(mqtt.prefix, args.node or "+", everything=args.json)
        with Subscriber(mqtt, filters) as subscriber, _display(args, mqtt.prefix) as show:
            while True:
                for message in subscriber.take(_TAKE_TIMEOUT_S):
                    show(message)
                if subscriber.refused:
                    raise EdgesegError(f"{_address(mqtt)}: {subscriber.trouble}")
                if subscriber.trouble != trouble:
                    trouble = subscriber.trouble
                    print(f"{_address(mqtt)}: {trouble or 'connected'}", file=sys.stderr)
    except KeyboardInterrupt:
        return 0


def _filters(prefix: str, node: str, *, everything: bool) -> tuple[str, ...]:
    """Return the topic filters to subscribe to; pictures come with ``everything`` alone."""
    base = f"{prefix}/{node}"
    if everything:
        return (f"{base}/#",)
    zone = f"{base}/+/zone/+"
    return (f"{base}/status", f"{base}/+/status", f"{zone}/occupancy", f"{zone}/rule/+", f"{base}/alert")


def _broker(args: argparse.Namespace) -> MqttSettings:
    """Raises ConfigError for a file, EdgesegError for an address or a name that is wrong."""
    from dataclasses import replace

    from edgeseg.config import names
    from edgeseg.errors import EdgesegError

    if args.node is not None and (error := names.name_error(args.node)):
        raise EdgesegError(f"--node: {error}")
    prefix = checked_prefix(args.prefix) if args.prefix is not None else None
    if "://" in args.target:
        return broker_at(args.target, args.ca_file, prefix or DEFAULT_PREFIX)
    mqtt, _ = broker_of_file(Path(args.target))
    return replace(mqtt, prefix=prefix or mqtt.prefix)


@contextmanager
def _display(args: argparse.Namespace, prefix: str) -> Iterator[Show]:
    from edgeseg.commands.listen.latest_values import NodeValues

    if args.json:
        yield _print_json
        return
    values = NodeValues(prefix)
    if sys.stdout.isatty():
        try:
            from edgeseg.commands.listen.table import live_table
        except ImportError:
            pass
        else:
            with live_table(values) as show:
                yield show
            return
    yield lambda message: _print_line(values, message)


def _print_line(values: NodeValues, message: ReceivedMessage) -> None:
    line = values.receive(message.topic, message.payload)
    if line is not None:
        print(line, flush=True)


def _print_json(message: ReceivedMessage) -> None:
    import json

    from edgeseg.publish.jsonl import payload_value

    fields = {"topic": message.topic, "retain": message.retained, "payload": payload_value(message.payload)}
    print(json.dumps(fields, separators=(",", ":")), flush=True)


def _address(mqtt: MqttSettings) -> str:
    return f"{'mqtts' if mqtt.tls else 'mqtt'}://{mqtt.host}:{mqtt.port}"
