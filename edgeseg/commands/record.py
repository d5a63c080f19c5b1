"""``edgeseg record``: records the occupancy of a live camera, for replays and for tuning."""

from __future__ import annotations

import argparse
import logging
import queue
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.errors import EdgesegError

if TYPE_CHECKING:
    from edgeseg.replay.recording.writer import RecordingWriter
    from edgeseg.settings import PipelineSettings

_TICK_S = 1.0
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMG])i?B", re.IGNORECASE)
_UNIT_BYTES = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_LEAST_BYTES = 1 << 16


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "record",
        help="record the occupancy of a live camera, without pictures",
        description="Watches one camera as `edgeseg run` does and writes the occupancy of its zones to a "
        "file of JSON lines, without pictures. `edgeseg replay` runs any rules of the same zones on it, "
        "`edgeseg tune` searches better settings. Nothing is published. Ends on Ctrl-C, SIGTERM, "
        "after --for, or with a clip.",
    )
    parser.add_argument("pipeline", type=Path, help="the pipeline file")
    parser.add_argument("--camera", help="which camera; needed where the file has several")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the recording, e.g. yard.jsonl")
    parser.add_argument(
        "--for", dest="for_s", type=duration, metavar="TIME", help="how long, e.g. '12 h' (default: no end)"
    )
    parser.add_argument(
        "--most",
        type=_size,
        default=200 << 20,
        metavar="SIZE",
        help="how much disk to use at most; the newest stays, its older half beside it as NAME.1.jsonl "
        "(default: 200 MB, some days of one camera)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import os

    from edgeseg import config
    from edgeseg.commands.replay import camera_of
    from edgeseg.models import registry
    from edgeseg.replay.recording.lines import header_for
    from edgeseg.replay.recording.writer import RecordingWriter
    from edgeseg.system.redaction import Redaction

    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    settings = config.load(args.pipeline)
    chosen = camera_of(settings, args.camera)
    if not chosen.zones:
        raise EdgesegError(f"{settings.file}: the camera {chosen.name} has no zones; draw one first")
    # Nothing is published, so the broker's secrets may be missing.
    alone = replace(settings, mqtt=None, cameras=(chosen,))
    alone = config.resolve(alone, os.environ, Path(credentials) if credentials else None)
    redaction = Redaction()
    redaction.learn(config.secrets_of(alone))
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(redaction)
    logging.basicConfig(level=logging.INFO, handlers=[handler], format="%(levelname)s %(message)s")
    model = registry.find(chosen.model)
    header = header_for(chosen, model.name, model.classes, settings.groups)
    with RecordingWriter(args.output, header, args.most) as writer:
        _watch(alone, writer, args.for_s)
    if writer.failure is not None:
        raise writer.failure
    print(f"{args.output}: {writer.moments} moments of camera {chosen.name}")
    return 0


def _watch(settings: PipelineSettings, writer: RecordingWriter, for_s: float | None) -> None:
    """Run the daemon's supervisor for one camera, without a publisher."""
    from edgeseg.clock import SystemClock
    from edgeseg.observers import Observers
    from edgeseg.publish.base import SilentPublisher
    from edgeseg.runtime.supervisor import Supervisor
    from edgeseg.state.node_state import NodeState

    clock = SystemClock()
    with (
        _signals() as signals,
        # A state of its own: the daemon's rules are not part of a recording, and it does not change them.
        tempfile.TemporaryDirectory(prefix="edgeseg-") as folder,
        NodeState(Path(folder) / settings.node, clock) as state,
    ):
        supervisor = Supervisor(
            settings,
            SilentPublisher(),
            clock,
            queue.SimpleQueue(),
            state,
            threading.Event(),
            observers=Observers(occupancies=writer.on_observation),
        )
        try:
            supervisor.start()
            until_s = None if for_s is None else clock.monotonic_s() + for_s
            while not supervisor.finished and writer.failure is None:
                with suppress(queue.Empty):
                    signals.get(timeout=_TICK_S)
                    return
                supervisor.tick()
                if until_s is not None and clock.monotonic_s() >= until_s:
                    return
        finally:
            supervisor.stop()
        supervisor.raise_for_unreadable()


@contextmanager
def _signals() -> Iterator[queue.SimpleQueue[int]]:
    """Yield a queue of SIGINT and SIGTERM. Not an Event: its lock could be held when a signal arrives."""
    received: queue.SimpleQueue[int] = queue.SimpleQueue()
    before = {
        number: signal.signal(number, lambda number, _: received.put(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def duration(text: str) -> float:
    """An argument such as '10 s'."""
    from edgeseg.config.units import duration_s

    try:
        return duration_s(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a size such as '200 MB'")
    size = int(float(found[1]) * _UNIT_BYTES[found[2].lower()])
    if size < _LEAST_BYTES:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected at least 64 KB")
    return size
