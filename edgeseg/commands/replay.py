"""``edgeseg replay``: what the daemon would have published for a recording."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from edgeseg.appearing import appearing
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
        "--ungated",
        action="store_true",
        help="analyse every picture at the camera's rate, as with gate: off",
    )
    parser.add_argument(
        "--output", type=Path, help="write the transcript to a file instead of standard output"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from edgeseg import config
    from edgeseg.clip import Replay
    from edgeseg.commands.terminal import progress

    if _is_yaml(args.clip) and not _is_yaml(args.pipeline):
        raise EdgesegError(
            f"{args.clip}: is no clip; the clip comes first, then the pipeline file: "
            f"edgeseg replay {args.pipeline} {args.clip}"
        )
    settings = config.load(args.pipeline)
    chosen = camera_of(settings, args.camera)
    if args.ungated:
        chosen = replace(chosen, gate=None)
    if not args.clip.exists():
        raise EdgesegError(f"{args.clip}: no such file or folder; name the clip to replay")
    with (
        _transcript(args.output) as stream,
        Replay(settings, chosen, stream) as replay,
        progress(f"replaying {args.clip.name}", "frame") as advance,
    ):
        for clip_frame, _ in replay.run(args.clip, args.start):
            advance(clip_frame.done_share)
            if replay.publisher.gone:
                break
    return 0


def _is_yaml(path: Path) -> bool:
    return path.suffix.lower() in (".yaml", ".yml")


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
    with appearing(path) as partial, partial.open("w", encoding="utf-8") as stream:
        yield stream


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected e.g. 2026-11-22T21:30:00+01:00") from None
    # Without an offset it is UTC: the machine's own zone would change the transcript.
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
