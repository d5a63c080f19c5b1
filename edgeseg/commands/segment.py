"""``edgeseg segment``: shows how a network segments a picture, a folder of pictures or a clip."""

from __future__ import annotations

import argparse
import glob
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.commands.shared.network_options import add_refine, open_refined
from edgeseg.commands.shared.terminal import print_table
from edgeseg.errors import EdgesegError
from edgeseg.models.runtimes import AUTO, ENGINE_NAMES
from edgeseg.settings import DEFAULT_MODEL, FASTEST_FPS, FIT_NAMES, SLOWEST_FPS
from edgeseg.system.atomic_files import ADVICE, temporary_sibling
from edgeseg.system.cpu_quota import whole_cpus

if TYPE_CHECKING:
    from edgeseg.frames import U8
    from edgeseg.models.model import Model

# A class that never covers a thousandth of a picture is noise of the network.
SHOWN_FROM = 0.001

JSON_SCHEMA: dict[str, Any] = {
    "title": "edgeseg segment --json",
    "type": "object",
    "required": ["model", "input", "pictures", "coverage", "files"],
    "additionalProperties": False,
    "properties": {
        "model": {"type": "string"},
        "input": {"type": "string"},
        "pictures": {"type": "integer", "description": "how many pictures were segmented"},
        "coverage": {
            "type": "object",
            "description": "class -> its share of the picture, 0-1",
            "additionalProperties": {
                "type": "object",
                "required": ["mean", "most"],
                "additionalProperties": False,
                "properties": {"mean": {"type": "number"}, "most": {"type": "number"}},
            },
        },
        "files": {"type": "array", "items": {"type": "string"}, "description": "overlays, then label PNGs"},
    },
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "segment",
        help="show how a network segments a picture, a folder or a clip",
        description="Writes an overlay picture (a video for a clip) and a palette PNG of the labels for each "
        "picture, and prints how much of the picture each class covers.",
    )
    parser.add_argument("input", type=Path, help="a picture, a folder of pictures, or a clip")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name or folder of a model (%(default)s)")
    parser.add_argument("--engine", default=AUTO, help=f"{', '.join(ENGINE_NAMES)} (%(default)s)")
    parser.add_argument(
        "--input",
        dest="input_size",
        metavar="WIDTHxHEIGHT",
        help="size the network sees; default: the model's",
    )
    parser.add_argument("--fit", choices=FIT_NAMES, help="default: the model's own")
    add_refine(parser)
    parser.add_argument("--rate", type=float, default=5.0, help="pictures a second of a clip (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("out/segment"), help="folder (%(default)s)")
    parser.add_argument(
        "--grid", action="store_true", help="draw the 0-1 coordinates that zones are given in"
    )
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from edgeseg.models import registry
    from edgeseg.sources.pictures import pictures_in

    if not args.input.exists():
        raise EdgesegError(f"{args.input}: no such file; expected a picture, a folder of pictures or a clip")
    if not SLOWEST_FPS <= args.rate <= FASTEST_FPS:
        raise EdgesegError(f"--rate {args.rate:g}: expected {SLOWEST_FPS:g} to {FASTEST_FPS:g} a second")
    model = registry.find(args.model)
    try:
        pictures = pictures_in(args.input)
    except OSError as error:
        raise EdgesegError(f"{args.input}: cannot be read: {error.strerror or error}") from None
    tally = _Tally(model.classes)
    with _output_folder(args.output) as output:
        _segment(args, model, pictures, tally, output)
    if args.json:
        summary = {
            "model": model.name,
            "input": str(args.input),
            "pictures": tally.pictures,
            "coverage": tally.summary(),
            "files": [str(path) for path in output.files],
        }
        print(json.dumps(summary, indent=2))
    else:
        _print_table(model, tally, output)
    return 0


def _segment(
    args: argparse.Namespace, model: Model, pictures: list[Path], tally: _Tally, output: _OutputFiles
) -> None:
    """pictures: in the folder that is the input; none for a clip."""
    from edgeseg.commands.shared.terminal import progress
    from edgeseg.drawing import overlay
    from edgeseg.drawing.video_writer import VideoWriter, encode_labels
    from edgeseg.replay import clip
    from edgeseg.stages import postprocess
    from edgeseg.stages.preprocess import Preprocess

    stems = Counter(path.stem for path in pictures)
    with ExitStack() as stack:
        engine = open_refined(model, args.engine, args.input_size, args.refine, threads=whole_cpus())
        stack.callback(engine.close)
        preprocess = Preprocess(args.fit or model.fit, engine.input_size_px)
        advance = stack.enter_context(progress(f"segmenting {args.input.name}", "picture", args.json))
        video = (
            None
            if pictures
            else stack.enter_context(VideoWriter(output.path(f"{args.input.stem}-overlay.mp4"), args.rate))
        )
        # Pictures are read one by one, so that each answer carries its picture's name.
        for position, path in enumerate(pictures or [args.input]):
            for clip_frame in clip.frames(path, "", preprocess, args.rate):
                frame, picture = clip_frame.frame, overlay.to_rgb(clip_frame.picture)
                label_map = postprocess.label_map(engine.run(frame.views), frame.fit, model)
                labels = overlay.labels_on_picture(label_map, (picture.shape[1], picture.shape[0]))
                tinted = overlay.tint(picture, labels, model.palette)
                overlay.write(
                    tinted, overlay.leading_classes(tally.add(labels), most=4) or "background", (8, 8)
                )
                if args.grid:
                    overlay.draw_grid(tinted)
                if video is None:
                    # a.jpg and a.png would have the same names.
                    stem = path.stem if stems[path.stem] == 1 else path.name
                    output.path(f"{stem}-overlay.jpg").write_bytes(overlay.encode_jpeg(tinted))
                    name = f"{stem}-labels.png"
                else:
                    video.append(tinted, frame.time.camera_time_s)
                    name = f"{args.input.stem}-labels-{frame.seq:06d}.png"
                output.path(name).write_bytes(encode_labels(labels, model.palette))
                advance((position + 1) / len(pictures) if pictures else clip_frame.done_share)


@dataclass(frozen=True, slots=True)
class _OutputFiles:
    """What is being written to ``folder``; ``partial`` has it until all of it is complete."""

    folder: Path
    partial: Path
    files: list[Path] = field(default_factory=list)

    def path(self, name: str) -> Path:
        """Where to write the file that will have this name."""
        self.files.append(self.folder / name)
        return self.partial / name


@contextmanager
def _output_folder(folder: Path) -> Iterator[_OutputFiles]:
    """Yield where to write; the files get their names at the end. Raises EdgesegError."""
    if folder.exists() and not folder.is_dir():
        raise EdgesegError(f"{folder}: is a file, expected a folder; {ADVICE}")
    with temporary_sibling(folder) as partial:
        output = _OutputFiles(folder, partial)
        yield output
        folder.mkdir(exist_ok=True)
        # Labels of a finer run would stand between those of this one.
        for stem in {
            path.name.removesuffix("-overlay.mp4") for path in output.files if path.suffix == ".mp4"
        }:
            for old in folder.glob(f"{glob.escape(stem)}-labels-*.png"):
                old.unlink()
        for path in output.files:
            (partial / path.name).replace(path)


@dataclass(slots=True)
class _Tally:
    """Coverage of the whole picture by class, over all pictures."""

    classes: tuple[str, ...]
    pictures: int = 0
    total: Counter[str] = field(default_factory=Counter)
    most: dict[str, float] = field(default_factory=dict)

    def add(self, labels: U8) -> dict[str, float]:
        """labels: uint8 (h, w). Returns this picture's coverage."""
        counts = Counter(labels.ravel().tolist())
        coverage = {self.classes[index]: count / labels.size for index, count in counts.items()}
        self.pictures += 1
        self.total.update(coverage)
        for name, share in coverage.items():
            self.most[name] = max(self.most.get(name, 0.0), share)
        return coverage

    def summary(self) -> dict[str, dict[str, float]]:
        """Largest mean first."""
        return {
            name: {"mean": round(total / self.pictures, 4), "most": round(self.most[name], 4)}
            for name, total in self.total.most_common()
        }


def _print_table(model: Model, tally: _Tally, output: _OutputFiles) -> None:
    shares = ((name, share["mean"], share["most"]) for name, share in tally.summary().items())
    rows = [(name, f"{mean:6.1%}", f"{most:6.1%}") for name, mean, most in shares if most >= SHOWN_FROM]
    pictures = f"{tally.pictures} picture" + ("" if tally.pictures == 1 else "s")
    print_table((f"{pictures} through {model.name}", "  mean", "  most"), rows)
    first, *more = output.files
    last = "" if not more else f" and {more[0]}" if len(more) == 1 else f" ... {more[-1]}"
    print(f"wrote {first}{last}")
