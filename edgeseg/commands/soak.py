"""``edgeseg soak``: runs the daemon for hours amid faults and checks that its resources stay constant."""

from __future__ import annotations

import argparse
import json
import logging
import platform
import random
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.system.cpu_quota import whole_cpus

if TYPE_CHECKING:
    from edgeseg.tools.soak.run import SoakSettings

_COLOURS_RULE = "{occupied: [red], enter: 5 %, leave: 2 %, for: 500 ms, clear: 500 ms}"
_ANY_RULE = "{changed: dominant, for: 2 s, clear: 2 s}"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "soak",
        help="run the daemon amid random faults and check that its resources stay constant",
        description="Runs the daemon with several cameras and a broker of its own (mosquitto), kills, "
        "freezes and cuts all of them at random, and checks what the daemon must keep: memory, descriptors, "
        "threads, ages of results, order and completeness of alerts. Writes soak.json and soak.png. Exit "
        "code 1 when a check fails.",
    )
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="CLIP_OR_URL",
        help="clips (shown by cameras of the soak's own, over HTTP, in a loop) and cameras' URLs; default: "
        "four made-up cameras",
    )
    parser.add_argument("--minutes", type=_minutes, default=20.0, help="how long (default: 20)")
    parser.add_argument("--seed", type=int, default=None, help="of the faults (default: another each time)")
    parser.add_argument(
        "--model",
        default=None,
        help="a network (see `edgeseg models list`); default: one that separates colours and costs nothing",
    )
    parser.add_argument("--rate", type=float, default=5.0, help="analysed frames a second of each camera")
    parser.add_argument("--output", type=Path, default=Path("out/soak"), help="folder (default: out/soak)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from edgeseg.clock import SystemClock
    from edgeseg.errors import EdgesegError
    from edgeseg.system.atomic_files import write_errors
    from edgeseg.tools.soak.plot import draw
    from edgeseg.tools.soak.run import Soak
    from edgeseg.tools.soak.verdict import check_all, document

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    seed = random.randrange(10_000) if args.seed is None else args.seed
    plan = _plan(args, seed)
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Like Ctrl-C: nothing is left running.
        signal.signal(number, signal.default_int_handler)
    with write_errors(args.output, "choose another --output"):
        args.output.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(args.output / "state", ignore_errors=True)
    print(f"soak: {args.minutes:g} min, seed {seed}; the daemon's log is {args.output / 'daemon.log'}")
    soaked = Soak(plan, args.output.resolve(), SystemClock()).run()
    checks = check_all(soaked, alerts_expected=args.model is None)
    machine = {
        "architecture": platform.machine(),
        "cores": whole_cpus(),
        "python": platform.python_version(),
        "minutes": args.minutes,
        "seed": seed,
    }
    text = json.dumps(document(soaked, checks, machine), indent=1)
    (args.output / "soak.json").write_text(text + "\n")
    try:
        draw(soaked, args.output / "soak.png")
    except EdgesegError as error:
        print(f"soak: no picture: {error}", file=sys.stderr)
    happened = ", ".join(f"{kind} {count}" for kind, count in sorted(soaked.faults.items()))
    print(f"{sum(soaked.faults.values())} faults: {happened}")
    for check in checks:
        print(f"{'ok    ' if check.passed else 'BROKEN'}  {check.name}: {check.figure}")
    return 0 if all(check.passed for check in checks) else 1


def _plan(args: argparse.Namespace, seed: int) -> SoakSettings:
    """Raises SourceError for a clip that cannot be read."""
    from edgeseg.tools.soak import cameras
    from edgeseg.tools.soak import run as soak

    urls = [source for source in args.sources if "://" in source]
    clips = [source for source in args.sources if "://" not in source]
    pictures = [cameras.of_clip(clip) for clip in clips]
    if not args.sources:
        pictures = [cameras.blinking(number) for number in range(4)]
    colours = Path(soak.__file__).with_name("colours")
    return soak.SoakSettings(
        seconds=args.minutes * 60,
        seed=seed,
        model=args.model or str(colours),
        rule=_ANY_RULE if args.model else _COLOURS_RULE,
        rate=args.rate,
        sources=urls,
        pictures=pictures,
    )


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes <= 7 * 24 * 60:
        raise argparse.ArgumentTypeError(f"got {text}, expected more than 0 and at most a week of minutes")
    return minutes
