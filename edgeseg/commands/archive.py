"""``edgeseg archive``: turns days of recordings into tables of occupancy and alerts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.commands.record import duration
from edgeseg.errors import EdgesegError

if TYPE_CHECKING:
    from datetime import tzinfo

    from edgeseg.tools.archive.progress import ArchiveProgress
    from edgeseg.tools.archive.workers import Workers

_REPORT = "report"
_REPORT_EVERY_S = 10.0
_DESCRIPTION = """\
Measures recordings as the daemon measures a camera, on all cores or on many machines, and writes Parquet
files, a folder for each camera and day. Then asks the rules, once, in order. What is done stays done: run it
again after a crash, or with more recordings, and it does what is missing.

A recording is of the camera whose name is one of its folders, or begins its file's name. It began when its
file's name (--names), or else its container, or else the file's time less its length.

  edgeseg archive /mnt/recordings yard.yaml
  edgeseg archive /mnt/recordings yard.yaml --scheduler dask://10.0.0.5:8786 --output /mnt/archive
  edgeseg archive report archive

exit codes: 0 done, 1 done, but recordings are broken or belong to no camera, 2 something to mend first.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "archive",
        help="turn days of recordings into tables of occupancy and alerts",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "recordings",
        metavar="FOLDER|LIST|report",
        help="a folder of recordings, or a text file with a path on each line (a tab and the camera's name "
        "may follow); `report` draws what an archive shows",
    )
    parser.add_argument(
        "pipeline",
        type=Path,
        metavar="PIPELINE|ARCHIVE",
        help="the pipeline file; after `report` the archive",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="the archive's folder (default: archive; of a report: ARCHIVE/report)",
    )
    parser.add_argument(
        "--scheduler",
        default="local",
        metavar="local|dask://HOST:PORT",
        help="who does the work: processes here (default), or the workers of a Dask scheduler",
    )
    parser.add_argument("--workers", type=_count, help="how many processes here (default: one for each core)")
    parser.add_argument("--camera", help="whose recordings they all are")
    parser.add_argument("--engine", help="in place of the pipeline file's")
    parser.add_argument(
        "--segment",
        type=duration,
        default=120.0,
        metavar="TIME",
        help="how long pieces of work are at least (default: '2 min'); changes nothing in the tables",
    )
    parser.add_argument(
        "--names",
        action="append",
        metavar="PATTERN",
        help="how file names give the start of a recording, e.g. %%Y-%%m-%%d_%%H-%%M-%%S, or %%s for seconds "
        "since 1970 (default: the usual ones)",
    )
    parser.add_argument(
        "--timezone",
        default="UTC",
        help="of times in file names, and of days, e.g. Europe/Berlin (default: UTC)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.recordings == _REPORT:
        return _report(args)
    from edgeseg import config
    from edgeseg.tools.archive.recordings import find
    from edgeseg.tools.archive.run import ArchiveJob, make
    from edgeseg.tools.archive.start_times import USUAL_NAMES, check_pattern
    from edgeseg.tools.archive.store import ArchiveLock

    for pattern in args.names or ():
        check_pattern(pattern)
    zone = _zone(args.timezone)
    workers = _workers(args.scheduler, args.workers)
    settings = config.load(args.pipeline)
    names = [camera.name for camera in settings.cameras]
    if args.camera is not None and args.camera not in names:
        raise EdgesegError(
            f"--camera {args.camera}: not in {settings.file}; expected one of {', '.join(names)}"
        )
    if args.engine is not None:
        cameras = (replace(camera, engine=args.engine, remote=None) for camera in settings.cameras)
        settings = replace(settings, cameras=tuple(cameras))
    archive = (args.output or Path("archive")).resolve()
    found = find(Path(args.recordings), names, args.camera)
    patterns = tuple(args.names or USUAL_NAMES)
    job = ArchiveJob(archive, settings, found, patterns, zone, args.segment)
    with ArchiveLock(archive), _progress() as (report, advance):
        outcome = make(job, workers, report, advance)
    for problem in outcome.problems:
        print(f"edgeseg: {problem}", file=sys.stderr)
    print(
        f"{args.output or 'archive'}: {outcome.clips} recordings, {outcome.segments} segments "
        f"({outcome.reused} known before), {outcome.pictures} pictures analysed, {outcome.rows} rows, "
        f"{outcome.alerts} alerts"
    )
    if outcome.problems:
        print(f"{len(outcome.problems)} problems; the rest is complete", file=sys.stderr)
    return 1 if outcome.problems else 0


def _report(args: argparse.Namespace) -> int:
    from edgeseg.tools.archive.report import report

    for path in report(args.pipeline, args.output or args.pipeline / _REPORT):
        print(path)
    return 0


def _workers(scheduler: str, count: int | None) -> Workers:
    from edgeseg.tools.archive.dask_workers import SCHEME, DaskWorkers
    from edgeseg.tools.archive.local_workers import LocalWorkers

    if scheduler == "local":
        return LocalWorkers(count)
    host, _, port = scheduler.removeprefix(SCHEME).rpartition(":")
    if not scheduler.startswith(SCHEME) or not host or not port.isdecimal():
        raise EdgesegError(f"--scheduler {scheduler}: expected local, or e.g. dask://10.0.0.5:8786")
    if count is not None:
        raise EdgesegError("--workers: counts processes here; Dask's workers are as many as have joined it")
    return DaskWorkers(f"{host}:{port}")


def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, IsADirectoryError):
        raise EdgesegError(f"--timezone {name}: is not known; expected e.g. Europe/Berlin") from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number of processes")
    return int(text)


@contextmanager
def _progress() -> Iterator[tuple[Callable[[str], None], Callable[[ArchiveProgress], None]]]:
    """Show progress: a bar on a terminal with rich, else a line now and then. Yield report and advance."""
    from edgeseg.clock import SystemClock
    from edgeseg.tools.archive.progress import ProgressMeter

    pace = ProgressMeter(SystemClock())
    if not sys.stderr.isatty() or find_spec("rich") is None:

        def report(text: str) -> None:
            pace.restart()
            print(text, file=sys.stderr, flush=True)

        def advance(progress: ArchiveProgress) -> None:
            if pace.due(_REPORT_EVERY_S):
                print(f"{100 * progress.share:3.0f} %: {pace.text(progress)}", file=sys.stderr, flush=True)

        yield report, advance
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=1.0, text="")

        def report_above(text: str) -> None:
            pace.restart()
            bars.console.print(text, highlight=False, markup=False)

        def advance_bar(progress: ArchiveProgress) -> None:
            bars.update(task, completed=progress.share, text=pace.text(progress))

        yield report_above, advance_bar
