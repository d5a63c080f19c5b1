"""``edgeseg listen``: what nodes publish, as a live table, as lines, or as JSON lines."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeseg.commands.listen.board import Board
    from edgeseg.publish.mqtt.subscriber import ReceivedMessage
    from edgeseg.settings import MqttSettings

_TAKE_TIMEOUT_S = 0.5
USER_VARIABLE, PASSWORD_VARIABLE = "EDGESEG_MQTT_USERNAME", "EDGESEG_MQTT_PASSWORD"

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
    parser.add_argument("--node", help="this node alone")
    parser.add_argument(
        "--prefix", help="first level or levels of the topics (default: the file's, or edgeseg)"
    )
    parser.add_argument(
        "--ca-file", type=Path, help="authority to trust with mqtts:// instead of the system's"
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
                for heard in subscriber.take(_TAKE_TIMEOUT_S):
                    show(heard)
                if subscriber.refused:
                    raise EdgesegError(f"{_shown(mqtt)}: {subscriber.trouble}")
                if subscriber.trouble != trouble:
                    trouble = subscriber.trouble
                    print(f"{_shown(mqtt)}: {trouble or 'connected'}", file=sys.stderr)
    except KeyboardInterrupt:
        return 0


def _filters(prefix: str, node: str, *, everything: bool) -> tuple[str, ...]:
    """What is listened to; pictures come only where everything is wanted."""
    base = f"{prefix}/{node}"
    if everything:
        return (f"{base}/#",)
    zone = f"{base}/+/zone/+"
    return (f"{base}/status", f"{base}/+/status", f"{zone}/occupancy", f"{zone}/rule/+", f"{base}/alert")


def _broker(args: argparse.Namespace) -> MqttSettings:
    """Raises ConfigError for a file, EdgesegError for an address or a name that is wrong."""
    from dataclasses import replace

    from edgeseg.config import addresses, names
    from edgeseg.config.keys.mqtt import check_prefix
    from edgeseg.errors import EdgesegError
    from edgeseg.settings import MqttSettings, Secret

    if args.node is not None and (flaw := names.name_error(args.node)):
        raise EdgesegError(f"--node: {flaw}")
    try:
        prefix = check_prefix(args.prefix) if args.prefix is not None else None
    except ValueError as error:
        raise EdgesegError(f"--prefix: {error}") from error
    if "://" not in args.target:
        settings = _of_file(Path(args.target))
        return replace(settings, prefix=prefix or settings.prefix)
    try:
        broker = addresses.broker(args.target)
    except ValueError as error:
        if "@" in args.target:
            hint = f"user and password do not belong there; set {USER_VARIABLE} and {PASSWORD_VARIABLE}"
            raise EdgesegError(f"the broker's address: {hint}") from error
        raise EdgesegError(f"the broker's address: {error}") from error
    password = os.environ.get(PASSWORD_VARIABLE)
    return MqttSettings(
        host=broker.host,
        port=broker.port,
        tls=broker.tls,
        ca_file=str(args.ca_file) if args.ca_file else None,
        username=os.environ.get(USER_VARIABLE),
        password=Secret(password) if password else None,
        password_file=None,
        prefix=prefix or "edgeseg",
    )


def _of_file(path: Path) -> MqttSettings:
    from dataclasses import replace

    from edgeseg import config
    from edgeseg.errors import EdgesegError

    settings = config.load(path)
    if settings.mqtt is None:
        raise EdgesegError(f"{path}: names no broker (key mqtt): its events go to standard output")
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    # Without its cameras: whoever listens need not know their passwords.
    resolved = config.resolve(
        replace(settings, cameras=(), web=None), os.environ, Path(credentials) if credentials else None
    )
    assert resolved.mqtt is not None
    return resolved.mqtt


@contextmanager
def _display(args: argparse.Namespace, prefix: str) -> Iterator[Show]:
    from edgeseg.commands.listen.board import Board

    if args.json:
        yield _print_json
        return
    board = Board(prefix)
    if sys.stdout.isatty():
        try:
            from edgeseg.commands.listen.table import live_table
        except ImportError:
            pass
        else:
            with live_table(board) as show:
                yield show
            return
    yield lambda heard: _print_line(board, heard)


def _print_line(board: Board, heard: ReceivedMessage) -> None:
    line = board.hear(heard.topic, heard.payload)
    if line is not None:
        print(line, flush=True)


def _print_json(heard: ReceivedMessage) -> None:
    import json

    from edgeseg.publish.jsonl import payload_value

    fields = {"topic": heard.topic, "retain": heard.retained, "payload": payload_value(heard.payload)}
    print(json.dumps(fields, separators=(",", ":")), flush=True)


def _shown(mqtt: MqttSettings) -> str:
    return f"{'mqtts' if mqtt.tls else 'mqtt'}://{mqtt.host}:{mqtt.port}"
