"""``edgeseg bench``: measures what edgeseg costs on this machine, beside other ways of doing the same."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.commands.shared.terminal import print_table, progress
from edgeseg.errors import EdgesegError
from edgeseg.models.runtimes import ENGINE_NAMES
from edgeseg.tools.bench.schema import JSON_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeseg.tools.bench.clips import Clips
    from edgeseg.tools.bench.statistics import Figure
    from edgeseg.tools.bench.workload import Network

__all__ = ["JSON_SCHEMA", "add_parser", "run"]

PARTS = ("inference", "stages", "comparison", "cameras")
_DESCRIPTION = """\
Measures in turns, so that other load on the machine affects all alike:

  inference   a network alone, by engine, precision, size and streams
  stages      the pipeline stage by stage, and what it adds to bare inference
  comparison  the same work the naive way and by other projects that are installed, as ratios
  cameras     how many RTSP cameras this machine holds, with CPU, memory and frame age

and leaves bench.json and bench.png. `edgeseg bench growth` measures how cost grows with cameras, zones and
classes; `edgeseg bench sizes` accuracy against speed.
"""
_EPILOG = """\
The networks that other ways are compared on have random weights and are made once:
  pip install 'edgeseg[zoo]' && python -m edgeseg.zoo.workloads
openvino-model-api needs OpenCV 4 and takes part from a Python of its own:
  python -m venv peers && peers/bin/pip install openvino-model-api
  edgeseg bench --peer-python peers/bin/python
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "bench",
        help="measure this machine: inference, stages, cameras, other ways of working",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _common(parser)
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=PARTS,
        default=list(PARTS),
        metavar="PART",
        help="only some of the above",
    )
    parser.add_argument(
        "--engine", default="auto", choices=ENGINE_NAMES, help="default: the cheapest measured"
    )
    parser.add_argument("--peer-python", metavar="PYTHON", help="a Python that has openvino-model-api")
    parser.set_defaults(run=run, action=None)
    actions = parser.add_subparsers(title="more", metavar="[growth | sizes]")
    growing = actions.add_parser(
        "growth", help="cost against cameras, zones and classes", description=_GROWTH
    )
    _common(growing)
    growing.set_defaults(run=run, action="growth")
    sized = actions.add_parser("sizes", help="accuracy against speed", description=_SIZES)
    _common(sized)
    sized.add_argument(
        "--data", type=Path, required=True, help="labelled pictures, as `edgeseg eval` takes them"
    )
    sized.add_argument(
        "--sizes", nargs="+", metavar="WIDTHxHEIGHT", help="default: the model's and smaller ones"
    )
    sized.add_argument("--engine", default="auto", choices=ENGINE_NAMES, help="(%(default)s)")
    sized.set_defaults(run=run, action="sizes")


_GROWTH = (
    "Measures cost with 1 to 32 cameras, 1 to 256 zones and 11 to 150 classes; leaves growth.json and "
    "growth.png."
)
_SIZES = "Scores models at several input sizes and measures what each costs; leaves sizes.json and sizes.png."


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no search: at most five minutes")
    parser.add_argument(
        "--models", nargs="+", metavar="MODEL", help="default: the bench's own and the shipped one"
    )
    parser.add_argument("--clip", default=os.environ.get("EDGESEG_DEMO_CLIP"), help="a clip of your own")
    parser.add_argument("--rounds", type=_at_least_one, help="turns of each work (default: 9, quick 3)")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the JSON instead of the table")


def run(args: argparse.Namespace) -> int:
    """Measure. Raises EdgesegError."""
    from edgeseg.tools.bench import machine, report

    described = machine.describe()
    notes: list[str] = []
    args.rounds = args.rounds or (3 if args.quick else 9)
    if not args.json:
        print(report.title(described))
    more: dict[str, Any] = {}
    with _progress(args, notes) as (add_note, advance):
        if args.action == "growth":
            figures, more = _growth(args, add_note, advance)
        elif args.action == "sizes":
            figures, more = _sizes(args, add_note, advance)
        else:
            figures = _all(args, add_note, advance)
    name = args.action or "bench"
    options = {key: value for key, value in vars(args).items() if key in _OPTIONS}
    path = args.out / f"{name}.json"
    report.write(path, figures, notes, described, options, **more)
    if args.json:
        print(path.read_text(encoding="utf-8"), end="")
    else:
        _print(args, figures, more, notes)
    return 0


_OPTIONS = ("action", "quick", "models", "rounds", "engine", "parts", "sizes")


def _all(
    args: argparse.Namespace, add_note: Callable[[str], None], advance: Callable[[], None]
) -> list[Figure]:
    from edgeseg.tools.bench import capacity, compare, inference, plot, stages, workload

    networks = _networks(args.models or (workload.SEGFORMER, workload.DEEPLAB, workload.SHIPPED), add_note)
    clips = _clips(args, advance)
    figures: list[Figure] = []
    for network in networks:
        model = network.model
        engines = inference.by_engine(model, args.rounds, add_note, advance)
        candidate = engines.pick(model, args.engine)
        add_note(f"{model.name}: measured with {candidate}")
        if "inference" in args.parts:
            figures += engines.figures
            figures += inference.by_streams(model, candidate, args.rounds, 4, advance)
            figures += [] if args.quick else inference.by_size(model, candidate, args.rounds, advance)
        if "stages" in args.parts:
            figures += stages.by_stage(model, candidate, clips, 40, advance)
            figures += stages.overhead(model, candidate, clips, args.rounds, advance)
        if "comparison" in args.parts:
            figures += compare.compare(
                network, candidate, clips, args.rounds, args.peer_python, add_note, advance
            )
        if "cameras" in args.parts:
            try:
                figures += capacity.measure(
                    model, candidate, engines.cpu_ms[candidate], clips, add_note, advance,
                    gate=network.naive is not None, quick=args.quick or network.naive is None,
                )  # fmt: skip
                figures += stages.waiting(model, figures)
            except EdgesegError as error:
                add_note(f"{model.name}: cameras not measured: {error}")
    if "stages" in args.parts:
        figures += stages.decoding(clips, args.rounds, advance)
    args.out.mkdir(parents=True, exist_ok=True)
    _draw(lambda: plot.overview(figures, args.out / "bench.png"), add_note)
    return figures


def _growth(
    args: argparse.Namespace, add_note: Callable[[str], None], advance: Callable[[], None]
) -> tuple[list[Figure], dict[str, Any]]:
    from edgeseg.tools.bench import plot, scaling, workload

    names = args.models or [workload.DEEPLAB]
    model = (_networks(names, add_note) or _networks([workload.SHIPPED], add_note))[0].model
    curves = [
        scaling.zones(args.rounds, advance),
        *scaling.classes(model, args.rounds, advance),
        scaling.cameras(model, args.rounds, advance),
    ]
    if not args.quick:
        try:
            curves += scaling.daemons(model, _clips(args, advance), advance)
        except EdgesegError as error:
            add_note(f"daemons not measured: {error}")
    args.out.mkdir(parents=True, exist_ok=True)
    _draw(lambda: plot.growth(curves, args.out / "growth.png"), add_note)
    described = [
        {
            "name": curve.name,
            "of": curve.of,
            "unit": curve.unit,
            "costs": {str(size): round(cost, 5) for size, cost in curve.costs.items()},
        }
        for curve in curves
    ]
    return [curve.figure for curve in curves], {"curves": described}


def _sizes(
    args: argparse.Namespace, add_note: Callable[[str], None], advance: Callable[[], None]
) -> tuple[list[Figure], dict[str, Any]]:
    from edgeseg.config.units import size_px
    from edgeseg.tools.bench import plot, sizes, workload

    if not args.data.exists():
        raise EdgesegError(f"{args.data}: no such folder")
    try:
        wanted = [size_px(text) for text in args.sizes] if args.sizes else None
    except ValueError as error:
        raise EdgesegError(f"--sizes: {error}") from None
    names = args.models or [workload.SHIPPED]
    points = sizes.measure(
        names, args.data, args.engine, ("int8", "float"), wanted, args.rounds, add_note, advance
    )
    if not points:
        raise EdgesegError("nothing could be scored")
    args.out.mkdir(parents=True, exist_ok=True)
    _draw(lambda: plot.sizes(points, args.out / "sizes.png"), add_note)
    return [], {"points": [point.as_json() for point in points]}


def _networks(names: Sequence[str], add_note: Callable[[str], None]) -> list[Network]:
    from edgeseg.tools.bench import workload

    found = []
    for name in names:
        try:
            found.append(workload.network(name))
        except EdgesegError as error:
            add_note(str(error))
    if not found:
        raise EdgesegError("none of the models could be found")
    return found


def _clips(args: argparse.Namespace, advance: Callable[[], None]) -> Clips:
    from edgeseg.commands.demo.clip import find_clip
    from edgeseg.system.paths import cache_dir
    from edgeseg.tools.bench import clips, workload

    found = find_clip(args.clip, cache_dir() / "demo", lambda line: print(line, file=sys.stderr))
    return clips.prepare(found.path, workload.home(), advance)


def _draw(drawing: Callable[[], None], add_note: Callable[[str], None]) -> None:
    try:
        drawing()
    except EdgesegError as error:
        add_note(f"no picture: {error}")


@contextmanager
def _progress(
    args: argparse.Namespace, notes: list[str]
) -> Iterator[tuple[Callable[[str], None], Callable[[], None]]]:
    """Yield ``add_note``, which also prints a line at once, and ``advance``, called after each step."""
    done = 0

    with progress("measuring", "step", args.json) as bar:

        def add_note(line: str) -> None:
            notes.append(line)
            if not args.json:
                print(line, file=sys.stderr)

        def advance() -> None:
            nonlocal done
            done += 1
            # The number of steps is known only at the end: a search takes as many as it needs.
            bar(done / (done + 60 * args.rounds / 3))

        yield add_note, advance


def _print(
    args: argparse.Namespace, figures: Sequence[Figure], more: dict[str, Any], notes: Sequence[str]
) -> None:
    from edgeseg.tools.bench import report

    if figures:
        print_table(report.HEADER, report.rows(figures))
    if points := more.get("points"):
        print_table(tuple(points[0]), [tuple(str(value) for value in point.values()) for point in points])
    judged = [figure for figure in figures if figure.bar is not None]
    short = [figure.what for figure in judged if figure.verdict == "short"]
    if judged:
        print(
            f"\n{len(judged) - len(short)} of {len(judged)} bars cleared"
            + "".join(f"\n  short: {what}" for what in short)
        )
    print(f"{args.out}: {', '.join(sorted(path.name for path in args.out.iterdir()))}")


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected at least 1")
    return value
