"""``edgeseg demo``: shows segmentation, zones and alerts on a real clip with a real network."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.commands.shared.terminal import download_bars
from edgeseg.errors import EdgesegError
from edgeseg.system.atomic_files import atomic_write, write_errors
from edgeseg.system.cpu_quota import whole_cpus

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgeseg.events import Alert
    from edgeseg.runtime.camera import Camera
    from edgeseg.settings import CameraSettings, PipelineSettings

_BAR_CELLS = 30
_ALERTS_SHOWN = 6
_NEXT_STEPS = """\
a zone of your own
  {run} {file} > {output}/live.jsonl
                                         watches the clip again and again; then open http://{listen}/
                                         in a browser: "Add a zone" leads on
next steps
{activate}  edgeseg init                           a camera of your own; says what comes next
  edgeseg segment PICTURE                what does the network see in a picture of yours?
  edgeseg replay {clip} {pipelines}/demo.yaml --camera {camera}
                                         the same as JSON lines, as a broker would get them"""

_ACTIVATE = "  . {}/bin/activate                  makes the edgeseg command known to this shell\n"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="see it work on a real clip",
        description="Watches a clip (EDGESEG_DEMO_CLIP, or one that it fetches once), shows the occupancy of "
        "its zones live, and leaves an overlay video and the events in a folder.",
    )
    parser.add_argument("--clip", default=os.environ.get("EDGESEG_DEMO_CLIP"), help="a clip of your own")
    parser.add_argument("--seconds", type=float, default=60.0, help="how much of the clip (%(default)g)")
    parser.add_argument("--output", type=Path, default=Path("out/demo"), help="folder (%(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from edgeseg import config
    from edgeseg.commands.demo.clip import find_clip
    from edgeseg.commands.demo.pipeline_file import LISTEN, write_demo_pipeline
    from edgeseg.commands.replay import camera_of
    from edgeseg.models import registry
    from edgeseg.system import paths
    from edgeseg.system.paths import cache_dir

    if args.seconds <= 0:
        raise EdgesegError(f"--seconds {args.seconds:g}: expected more than 0")
    pipelines = paths.folder("pipelines")
    settings = config.load(pipelines / "demo.yaml")
    found = find_clip(args.clip, cache_dir() / "demo", _print_line)
    chosen = camera_of(settings, found.camera)
    model = registry.find(chosen.model)
    with download_bars(quiet=False) as bars:
        registry.pull(model, bars)
    _print_line(f"watching {found.credit}")
    _print_line(f"with {model.name}: {model.title}")
    with write_errors(args.output):
        args.output.mkdir(parents=True, exist_ok=True)
        _watch(settings, chosen, found.path, args.seconds, args.output)
    file = args.output / "demo.yaml"
    with write_errors(args.output):
        if not write_demo_pipeline(pipelines / "demo.yaml", found.camera, found.path, model.name, file):
            _print_line(f"{file} is there already, perhaps with zones of yours: kept as it is")
    _print_line(
        _NEXT_STEPS.format(
            run="edgeseg run" if shutil.which("edgeseg") else f"{_short(Path(sys.prefix))}/bin/edgeseg run",
            file=_short(file.absolute()),
            output=_short(args.output.absolute()),
            listen=LISTEN,
            activate="" if shutil.which("edgeseg") else _ACTIVATE.format(_short(Path(sys.prefix))),
            clip=_short(found.path),
            pipelines=_short(pipelines),
            camera=chosen.name,
        )
    )
    return 0


@dataclass(frozen=True, slots=True)
class _AlertLine:
    """A message of an alert and where in the clip it was sent."""

    time_s: float
    alert: Alert

    def __str__(self) -> str:
        alert = self.alert
        value = alert.evidence.value if alert.evidence else None
        share = "" if value is None else f", {value:.0%}"
        return f"{self.time_s:6.1f} s  {alert.event:6}  {alert.zone}/{alert.rule} {alert.kind}{share}"


def _watch(
    settings: PipelineSettings, chosen: CameraSettings, path: Path, seconds: float, output: Path
) -> None:
    from edgeseg.drawing import overlay
    from edgeseg.drawing.video_writer import VideoWriter
    from edgeseg.events import Alert
    from edgeseg.replay.clip import Replay

    alerts: deque[_AlertLine] = deque(maxlen=_ALERTS_SHOWN)
    most = 0.0
    with (
        (output / "events.jsonl").open("w", encoding="utf-8") as stream,
        Replay(settings, chosen, stream, threads=whole_cpus()) as replay,
        atomic_write(output / "overlay.mp4") as partial,
        VideoWriter(partial, chosen.rate_fps) as video,
        _live_table(chosen, replay.camera, alerts) as show,
    ):
        for clip_frame, analysis in replay.run(path):
            time_s = clip_frame.frame.time.camera_time_s
            if time_s > seconds:
                break
            picture = overlay.to_rgb(clip_frame.picture)
            drawings = replay.camera.board.drawings()
            shown = overlay.render(picture, analysis.label_map, replay.model.palette, drawings)
            video.append(shown, time_s)
            raised = [event for event in analysis.events if isinstance(event, Alert)]
            for alert in raised:
                share = alert.evidence.value if alert.evidence else None
                if alert.event == "new" and (share or 0.0) > most:
                    most = share or 0.0
                    (output / "overlay.jpg").write_bytes(overlay.encode_jpeg(shown))
            alerts.extend(_AlertLine(time_s, alert) for alert in raised)
            show(time_s)
    _print_line(f"wrote overlay.mp4, overlay.jpg (the alert that covered most) and events.jsonl to {output}")


@contextmanager
def _live_table(
    chosen: CameraSettings, camera: Camera, alerts: Sequence[_AlertLine]
) -> Iterator[Callable[[float], None]]:
    """Yields ``show(time_s)``. Without rich or a terminal it prints the alerts as they come."""

    def print_alerts(time_s: float) -> None:
        for alert_line in alerts:
            if alert_line.time_s == time_s:
                _print_line(str(alert_line))

    try:
        from rich.live import Live
    except ImportError:
        yield print_alerts
        return
    if not sys.stdout.isatty():
        yield print_alerts
        return
    with Live(refresh_per_second=10) as live:
        yield lambda time_s: live.update(_table(chosen, camera, alerts, time_s))


def _table(
    chosen: CameraSettings, camera: Camera, alerts: Sequence[_AlertLine], time_s: float
) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from edgeseg.drawing.overlay import leading_classes, watched

    zones = Table(box=None, pad_edge=False, header_style="bold")
    # Fixed widths, so that nothing jumps from one picture to the next.
    for title, cells in (("zone", 14), ("covered", 7), ("", _BAR_CELLS), ("by", 24), ("alert", 5)):
        zones.add_column(title, width=cells, no_wrap=True)
    for drawing in camera.board.drawings():
        coverage = drawing.occupancy.coverage if drawing.occupancy else None
        asked = watched(drawing.zone, coverage or {})
        covered = min(sum(asked.values()), 1.0)
        filled = round(covered * _BAR_CELLS)
        colour = "red" if drawing.alarmed else "green"
        zones.add_row(
            drawing.zone.title,
            "unknown" if coverage is None else f"{covered:6.1%}",
            Text("█" * filled, colour) + Text("░" * (_BAR_CELLS - filled), "dim"),
            leading_classes(asked, most=2),
            Text("ON", "bold red") if drawing.alarmed else Text("off", "dim"),
        )
    lines = [Text(str(alert_line), "red" if alert_line.alert.event == "new" else "") for alert_line in alerts]
    return Group(Text(f"camera {chosen.name}, {time_s:.1f} s into the clip", "bold"), zones, Text(), *lines)


def _short(path: Path) -> Path:
    """From the current or the home folder where it is inside one, for people to type."""
    for folder, name in ((Path.cwd(), "."), (Path.home(), "~")):
        if path.is_relative_to(folder):
            return Path(name) / path.relative_to(folder)
    return path


def _print_line(line: str) -> None:
    print(line, flush=True)
