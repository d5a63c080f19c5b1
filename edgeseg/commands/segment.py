"""``edgeseg segment``: what the network sees in a picture, a folder of pictures or a clip."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edgeseg.commands.terminal import print_table
from edgeseg.errors import EdgesegError

if TYPE_CHECKING:
    from edgeseg.frames import U8
    from edgeseg.manifest import Model

DEFAULT_MODEL = "deeplabv3-mnv2-pascal"
SLOWEST_FPS, FASTEST_FPS = 0.05, 60.0
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
        help="show what the network sees in a picture, a folder or a clip",
        description="Writes an overlay picture (a video for a clip) and a palette PNG of the labels for each "
        "picture, and prints how much of the picture each class covers.",
    )
    parser.add_argument("input", type=Path, help="a picture, a folder of pictures, or a clip")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name or folder of a model (%(default)s)")
    parser.add_argument("--engine", default="auto", help="auto, onnxruntime or litert (%(default)s)")
    parser.add_argument("--fit", choices=("stretch", "letterbox", "tiles"), help="default: the model's own")
    parser.add_argument("--rate", type=float, default=5.0, help="pictures a second of a clip (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("out/segment"), help="folder (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from edgeseg import registry

    if not args.input.exists():
        raise EdgesegError(f"{args.input}: no such file; expected a picture, a folder of pictures or a clip")
    if not SLOWEST_FPS <= args.rate <= FASTEST_FPS:
        raise EdgesegError(f"--rate {args.rate:g}: expected {SLOWEST_FPS:g} to {FASTEST_FPS:g} a second")
    model = registry.find(args.model)
    tally = _Tally(model.classes)
    with _Output(args.output) as output:
        _segment(args, model, tally, output)
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


def _segment(args: argparse.Namespace, model: Model, tally: _Tally, output: _Output) -> None:
    from edgeseg import clip, overlay, postprocess
    from edgeseg.commands.terminal import progress
    from edgeseg.engines.select import choose, open_engine
    from edgeseg.preprocess import Preprocess
    from edgeseg.sources.pictures import pictures_in
    from edgeseg.video import VideoWriter, encode_labels

    _, artefact = choose(model, args.engine)
    preprocess = Preprocess(args.fit or model.fit, artefact.input.size_px)
    pictures = pictures_in(args.input)
    with ExitStack() as stack:
        engine = open_engine(model, args.engine, threads=os.cpu_count() or 1)
        stack.callback(engine.close)
        advance = stack.enter_context(progress(f"segmenting {args.input.name}", "picture", args.json))
        video = None if pictures else stack.enter_context(VideoWriter(output.path("overlay.mp4"), args.rate))
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
                if video is None:
                    output.path(f"{path.stem}-overlay.jpg").write_bytes(overlay.encode_jpeg(tinted))
                    name = f"{path.stem}-labels.png"
                else:
                    video.append(tinted, frame.time.camera_time_s)
                    name = f"labels-{frame.seq:06d}.png"
                output.path(name).write_bytes(encode_labels(labels, model.palette))
                advance((position + 1) / len(pictures) if pictures else clip_frame.done_share)


class _Output:
    """A folder that receives its files only when all of them are complete."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._partial = folder.with_name(folder.name + ".partial")
        self.files: list[Path] = []

    def path(self, name: str) -> Path:
        """Where to write the file that will have this name."""
        self.files.append(self._folder / name)
        return self._partial / name

    def __enter__(self) -> _Output:
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._folder.mkdir(exist_ok=True)
            for path in self.files:
                (self._partial / path.name).replace(path)
        shutil.rmtree(self._partial)


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


def _print_table(model: Model, tally: _Tally, output: _Output) -> None:
    shares = ((name, share["mean"], share["most"]) for name, share in tally.summary().items())
    rows = [(name, f"{mean:6.1%}", f"{most:6.1%}") for name, mean, most in shares if most >= SHOWN_FROM]
    pictures = f"{tally.pictures} picture" + ("" if tally.pictures == 1 else "s")
    print_table((f"{pictures} through {model.name}", "  mean", "  most"), rows)
    first, last = output.files[0], output.files[-1]
    print(f"wrote {first} ... {last}" if first != last else f"wrote {first}")
