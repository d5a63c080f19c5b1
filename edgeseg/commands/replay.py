"""``edgeseg replay``: what the daemon would have published for a recording."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from edgeseg.errors import EdgesegError

if TYPE_CHECKING:
    from edgeseg.settings import CameraSettings, PipelineSettings


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "replay",
        help="show what the daemon would have published for a recording",
        description="Runs a clip through a pipeline file without camera or broker and prints every message "
        "as a JSON line. The same clip, file and engine give the same bytes again.",
    )
    parser.add_argument("clip", type=Path, help="a clip, or a folder of pictures (one a second)")
    parser.add_argument("pipeline", type=Path, help="the pipeline file whose zones and rules apply")
    parser.add_argument("--camera", help="which camera's; needed where the file has several")
    parser.add_argument(
        "--start",
        type=_moment,
        metavar="TIME",
        help="when the clip began, e.g. 2026-11-22T21:30:00+01:00; matters to rules with hours "
        "(default: the recording's own time, or else 1970)",
    )
    parser.add_argument(
        "--output", type=Path, help="write the transcript to a file instead of standard output"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from edgeseg import clip, config, registry
    from edgeseg.camera import Camera
    from edgeseg.clock import ManualClock
    from edgeseg.commands.progress import progress
    from edgeseg.engines.select import choose, open_engine
    from edgeseg.pipeline import CameraPipeline
    from edgeseg.preprocess import Preprocess
    from edgeseg.publish.jsonl import JsonLinesPublisher
    from edgeseg.publish.topics import Topics

    settings = config.load(args.pipeline)
    chosen = camera_of(settings, args.camera)
    if not args.clip.exists():
        raise EdgesegError(f"{args.clip}: no such file or folder; name the clip to replay")
    model = registry.find(chosen.model)
    _, artefact = choose(model, chosen.engine, chosen.input_size_px)
    preprocess = Preprocess(chosen.fit or model.fit, chosen.input_size_px or artefact.input.size_px)
    clock = ManualClock()
    prefix = settings.mqtt.prefix if settings.mqtt else "edgeseg"
    topics = Topics(prefix, settings.node, boot="replay", clock=clock)
    with contextlib.ExitStack() as stack:
        engine = open_engine(model, chosen.engine, preprocess.input_size_px)
        stack.callback(engine.close)
        # The clip is opened before the transcript: a clip that is none leaves no empty file behind.
        clip_frames = clip.frames(args.clip, chosen.name, preprocess, chosen.rate_fps, args.start)
        stream = stack.enter_context(_transcript(args.output))
        publisher = stack.enter_context(JsonLinesPublisher(topics, stream))
        camera = Camera(
            settings.node,
            chosen,
            CameraPipeline(settings.node, chosen, model, settings.groups),
            model,
            publisher,
            clock,
        )
        advance = stack.enter_context(progress(f"replaying {args.clip.name}", "frame"))
        for clip_frame, _ in clip.replay(clip_frames, camera, engine, clock):
            advance(clip_frame.done_share)
            if publisher.gone:
                break
    return 0


def camera_of(settings: PipelineSettings, name: str | None) -> CameraSettings:
    """The camera of that name, or the only one. Raises EdgesegError."""
    names = ", ".join(camera.name for camera in settings.cameras)
    if name is None and len(settings.cameras) > 1:
        raise EdgesegError(f"{settings.file}: has several cameras ({names}); say which with --camera NAME")
    for camera in settings.cameras:
        if name in (None, camera.name):
            return camera
    raise EdgesegError(f"--camera {name}: not in {settings.file}; expected one of {names}")


@contextlib.contextmanager
def _transcript(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears under its name only when it is complete."""
    if path is None:
        yield sys.stdout
        return
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8") as stream:
            yield stream
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected e.g. 2026-11-22T21:30:00+01:00") from None
    # Without an offset it is UTC: the machine's own zone would change the transcript.
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
