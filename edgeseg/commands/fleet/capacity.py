"""``edgeseg fleet capacity``: computes the load of many cameras from measurements of single ones."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.errors import EdgesegError

if TYPE_CHECKING:
    from edgeseg.tools.fleet.broker_cost import BrokerCost

_CAMERAS = (10, 1000, 100_000)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``capacity`` to ``edgeseg fleet``."""
    parser = commands.add_parser(
        "capacity",
        help="what many cameras add up to: messages, broker, network, storage",
        description="Draws many cameras from messages that single ones were measured to publish (`edgeseg "
        "replay CLIP PIPELINE --output FILE`, one file for each), and adds them up at one broker. What a "
        "message costs a broker is measured on this machine with a mosquitto of its own. Mean, peaks and "
        "sums are a simulation; everything that lies beyond one broker's core is extrapolated.",
    )
    parser.add_argument(
        "messages",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="messages of one camera each; who is named twice counts twice",
    )
    parser.add_argument(
        "--cameras", nargs="+", type=int, default=_CAMERAS, metavar="N", help="how many (10 1000 100000)"
    )
    parser.add_argument("--cameras-per-node", type=int, default=4, metavar="N", help="on each device (4)")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="also draw it (extra bench)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints what was measured, then the table. Returns 0."""
    from edgeseg.commands.shared.terminal import print_table
    from edgeseg.tools.fleet.capacity import Assumed, most_cameras, rows, simulate
    from edgeseg.tools.fleet.message_cost import count_messages

    if min(*args.cameras, args.cameras_per_node) < 1:
        raise EdgesegError("--cameras and --cameras-per-node: expected 1 or more")
    measured = []
    for path in args.messages:
        try:
            with path.open(encoding="utf-8") as lines:
                measured.append(count_messages(path.stem, lines))
        except OSError as error:
            raise EdgesegError(f"{path}: {error.strerror}") from None
    cost = _broker()
    each_s = cost.cpu_s / cost.messages
    held = max(0.0, cost.memory_bytes / cost.topics - cost.size_bytes)
    assumed = Assumed(args.cameras_per_node, core_per_message_s=each_s, bytes_per_retained=held)
    print("measured:")
    head = ("recording", "seconds", "messages/s", "most in 1 s", "bytes/s", "alerts", "retained topics")
    print_table(
        head,
        [
            (
                *(one.name, str(one.seconds), f"{one.messages.mean():.2f}", f"{one.messages.max():.0f}"),
                *(f"{one.bytes.mean():.0f}", str(one.alerts), str(one.retained)),
            )
            for one in {one.name: one for one in measured}.values()
        ],
    )
    print(
        f"mosquitto here: {1e6 * each_s:.1f} us of one core for a message of {cost.size_bytes} bytes to one "
        f"subscriber, {cost.messages / cost.wall_s:,.0f} a second; {held:.0f} bytes of memory a retained "
        f"topic beside its message ({cost.topics:,} topics)"
    )
    loads = [simulate(measured, cameras, assumed) for cameras in args.cameras]
    print(f"\nsimulated, at one broker, {args.cameras_per_node} cameras a device:")
    print_table(("cameras", *(f"{load.cameras:,}" for load in loads)), list(rows(loads)))
    print(f"one broker's core is 70 % busy with {most_cameras(measured, assumed):,.0f} cameras")
    if args.plot is not None:
        from edgeseg.tools.fleet.plot import draw

        draw(measured, loads, assumed, args.plot)
    return 0


def _broker() -> BrokerCost:
    from edgeseg.tools.fleet import broker_cost
    from edgeseg.tools.soak.broker import Mosquitto

    with tempfile.TemporaryDirectory() as folder, Mosquitto(Path(folder)) as broker:
        return broker_cost.measure(broker.port, broker.pid)
