"""``edgeseg replay``: prints what the daemon would have published for a clip or a recording."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from edgeseg.clock import parse_utc
from edgeseg.errors import EdgesegError
from edgeseg.models import registry
from edgeseg.system.atomic_files import atomic_write

if TYPE_CHECKING:
    from edgeseg.settings import CameraSettings, PipelineSettings


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "replay",
        help="show what the daemon would have published for a clip or a recording",
        description="Runs a clip through a pipeline file without camera or broker and prints every message "
        "as a JSON line. The same clip, file and engine give the same bytes again. A recording of "
        "`edgeseg record` accepts the place of clip and network: it gives the messages of the zones, in "
        "seconds and the same on every machine. With --expect the messages are compared with those of an "
        "earlier replay: exit code 1 and the first difference where they are not the same.",
    )
    parser.add_argument(
        "clip", type=Path, help="a clip, a folder of pictures (one a second), or a recording (.jsonl)"
    )
    parser.add_argument("pipeline", type=Path, help="the pipeline file whose zones and rules apply")
    parser.add_argument("--camera", help="the camera; needed where the file has several")
    parser.add_argument(
        "--start",
        type=_moment,
        metavar="TIME",
        help="when the clip began, e.g. 2026-11-22T21:30:00+01:00; used by rules with hours "
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
    parser.add_argument(
        "--expect", type=Path, metavar="TRANSCRIPT", help="compare with this output of an earlier replay"
    )
    parser.add_argument(
        "--alerts", action="store_true", help="print and compare only alerts and the states of rules"
    )
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="also save the clip's occupancy as a recording"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from edgeseg import config
    from edgeseg.replay.recording.reader import is_recording
    from edgeseg.replay.transcript import TopicFilter, TranscriptDiff, alerts_only, any_topic, zones_only

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
    recorded = is_recording(args.clip)
    accepts = alerts_only if args.alerts else zones_only if recorded else any_topic
    comparison = None
    with contextlib.ExitStack() as opened:
        written = None
        if args.output is not None or args.expect is None:
            written = opened.enter_context(_transcript(args.output))
        if args.expect is not None:
            comparison = TranscriptDiff(args.expect, accepts, copy=written)
        stream = cast(TextIO, TopicFilter(comparison or written, accepts))
        (_play if recorded else _replay)(args, settings, chosen, stream)
    if comparison is None:
        return 0
    comparison.finish()
    if comparison.difference is not None:
        print(comparison.difference, file=sys.stderr)
        return 1
    print(f"{args.expect}: as expected, {comparison.agreed} messages")
    return 0


def _replay(
    args: argparse.Namespace, settings: PipelineSettings, chosen: CameraSettings, stream: TextIO
) -> None:
    from edgeseg.commands.shared.terminal import progress
    from edgeseg.replay.clip import Replay
    from edgeseg.replay.recording.lines import header_for
    from edgeseg.replay.recording.writer import RecordingWriter

    with contextlib.ExitStack() as opened:
        writer = None
        if args.record is not None:
            model = registry.find(chosen.model)
            header = header_for(chosen, model.name, model.classes, settings.groups)
            writer = opened.enter_context(RecordingWriter(args.record, header))
        replay = Replay(settings, chosen, stream, observer=writer.on_observation if writer else None)
        opened.enter_context(replay)
        advance = opened.enter_context(progress(f"replaying {args.clip.name}", "frame"))
        for clip_frame, _ in replay.run(args.clip, args.start):
            advance(clip_frame.done_share)
            if replay.publisher.gone:
                break
    if writer is not None and writer.failure is not None:
        raise writer.failure


def _play(
    args: argparse.Namespace, settings: PipelineSettings, chosen: CameraSettings, stream: TextIO
) -> None:
    from edgeseg.clock import ManualClock
    from edgeseg.replay.clip import transcript_publisher
    from edgeseg.replay.recording.playback import play

    for option in ("start", "record", "ungated"):
        if getattr(args, option):
            raise EdgesegError(f"--{option}: has no effect on a recording; leave it out")
    clock = ManualClock()
    with transcript_publisher(settings, clock, stream) as publisher:
        for _ in play(args.clip, settings, chosen, registry.find(chosen.model), publisher, clock):
            if publisher.gone:
                break


def _is_yaml(path: Path) -> bool:
    return path.suffix.lower() in (".yaml", ".yml")


def camera_of(settings: PipelineSettings, name: str | None) -> CameraSettings:
    """Return the camera of that name, or the only one. Raises EdgesegError."""
    names = ", ".join(camera.name for camera in settings.cameras)
    if name is None and len(settings.cameras) > 1:
        raise EdgesegError(f"{settings.file}: has several cameras ({names}); choose one with --camera NAME")
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
    with atomic_write(path) as partial, partial.open("w", encoding="utf-8") as stream:
        yield stream


def _moment(text: str) -> float:
    try:
        # UTC without an offset: the machine's own zone would change the transcript.
        return parse_utc(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected e.g. 2026-11-22T21:30:00+01:00") from None
