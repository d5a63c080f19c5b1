"""``edgeseg health``: lays faults over recordings and reports which are noticed, and how soon."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.errors import EdgesegError

if TYPE_CHECKING:
    from edgeseg.tools.bench.health_latency import FalseAlarms

_OUT = Path("out/health/health.json")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "health",
        help="try on recordings how soon unusable pictures are noticed",
        description="Darkens, blows out, blurs, covers, moves and freezes the pictures of each clip, 12 s "
        "from its beginning, and reports which faults a camera's checks (`health:`) notice, and how soon; "
        "then watches the clips as they are for false alarms.",
    )
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="of a fixed camera, 30 s or more")
    parser.add_argument("--out", type=Path, default=_OUT, help=f"all figures as JSON (default: {_OUT})")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from edgeseg.commands.shared.terminal import print_table, progress
    from edgeseg.tools.bench import health_latency

    for clip in args.clips:
        if not clip.exists():
            raise EdgesegError(f"{clip}: no such file; name a recording of a fixed camera")
    with progress("trying faults", "fault") as advance:
        trials = health_latency.try_faults(args.clips, advance=advance)
    table = health_latency.rows(trials)
    print_table(
        ("fault", "noticed", "rightly named", "held back after", "reported after", "transform off by"),
        [
            (
                row.fault,
                f"{row.detected} of {row.trials}",
                str(row.as_expected),
                _times(row.held_back_s),
                _times(row.told_s),
                "" if row.error is None else f"{row.error:.2%}",
            )
            for row in table
        ],
    )
    print("Times are the median and the longest, in seconds.\n")
    watches = health_latency.false_alarms(args.clips)
    kinds = list(dict.fromkeys(one.change for one in watches))
    lines = [_watched(kind, [one for one in watches if one.change == kind]) for kind in kinds]
    print_table(("without a fault", "hours", "false alarms", "at most, 95 %", "held back", "a look"), lines)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figures = {
        "faults": [asdict(row) for row in table],
        "trials": [asdict(trial) for trial in trials],
        "watched": [asdict(one) for one in watches],
    }
    args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(f"\n{args.out}")
    return 0


def _times(median_and_longest: tuple[float, float] | None) -> str:
    return "" if median_and_longest is None else "{:.1f}, {:.1f}".format(*median_and_longest)


def _watched(kind: str, watches: list[FalseAlarms]) -> tuple[str, ...]:
    from edgeseg.tools.bench.health_latency import upper_bound_per_hour

    hours = sum(one.duration_s for one in watches) / 3600
    alarms = [state for one in watches for state in one.alarms]
    return (
        kind or "as it is",
        f"{hours:.3f}",
        f"{len(alarms)} {' '.join(sorted(set(alarms)))}".strip(),
        f"{upper_bound_per_hour(len(alarms), hours):.0f} an hour",
        f"{sum(one.doubtful_s for one in watches):.1f} s",
        f"{sum(one.look_us for one in watches) / len(watches):.0f} us",
    )
