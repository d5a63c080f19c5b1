"""``edgeseg tune``: finds settings of rules that flap less, on recorded clips."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.commands.record import duration
from edgeseg.commands.replay import camera_of
from edgeseg.commands.shared.terminal import print_table, progress
from edgeseg.errors import EdgesegError

if TYPE_CHECKING:
    from edgeseg.settings import CameraSettings, PipelineSettings
    from edgeseg.tools.tuning.grid import Place
    from edgeseg.tools.tuning.observe import ClipObservations
    from edgeseg.tools.tuning.scoring import FlapLimits, Occasion
    from edgeseg.tools.tuning.sweep import SweepResult

_SETTING = {
    "type": "object",
    "required": ["keys", "alerts", "flaps", "flaps_per_hour", "delay_s", "linger_s", "missed", "extra"],
    "properties": {
        "keys": {"type": "object", "description": "enter, leave, for, clear as the pipeline file has them"},
        "alerts": {"type": "integer"},
        "flaps": {"type": "integer", "description": "alerts that were over, or came again, too soon"},
        "flaps_per_hour": {"type": "number"},
        "delay_s": {"type": "number", "description": "mean, from an event's beginning to its alert"},
        "linger_s": {"type": "number", "description": "mean, by which alerts outlast their events"},
        "missed": {"type": "integer", "description": "events without an alert"},
        "extra": {"type": "integer", "description": "alerts without an event"},
        "precision": {"type": "number"},
        "recall": {"type": "number"},
    },
}
JSON_SCHEMA: dict[str, Any] = {
    "title": "edgeseg tune --json",
    "type": "object",
    "required": ["file", "camera", "rules", "diff"],
    "properties": {
        "file": {"type": "string"},
        "camera": {"type": "string"},
        "diff": {"type": "string", "description": "from the file to the file with every suggestion"},
        "rules": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["zone", "rule", "watched_s", "settings", "events", "labelled", "today"],
                "properties": {
                    "zone": {"type": "string"},
                    "rule": {"type": "string"},
                    "watched_s": {"type": "number"},
                    "settings": {"type": "integer", "description": "how many were tried"},
                    "events": {"type": "integer"},
                    "labelled": {"type": "boolean"},
                    "today": _SETTING,
                    "suggested": {"anyOf": [_SETTING, {"type": "null"}], "description": "null: as it is"},
                    "curve": {"type": "array", "items": _SETTING},
                },
            },
        },
    },
}

_DESCRIPTION = """\
Segments each clip once (and caches the result), then tries thousands of values of enter, leave, for and
clear on every zone, with the rules' own code. Prints the best trade-offs of delay and flaps for each rule,
suggests one setting, and shows the change to the pipeline file.

A flap is an alert that was over less than --short after it was raised, or that came again less than --gap
after the one before it ended. Without labels a suggestion detects all that the rule detects now; alerts less
than --gap apart count as one. With --labels it detects as many as possible of the events that you noted:

  clip,zone,rule,begin,end
  gate.mp4,bay,blocked,12.5,1:40
  gate.mp4,bay,blocked,3:05,3:31

begin and end are seconds of the clip, m:ss or ISO 8601; columns clip, zone and rule may be left out.
Recordings of `edgeseg record` serve as clips: days of them, where a clip shows minutes.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "tune",
        help="find settings of rules that flap less, on recorded clips",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="clips of the camera, recordings")
    parser.add_argument("pipeline", type=Path, help="the pipeline file")
    parser.add_argument("--camera", help="the camera; needed where the file has several")
    parser.add_argument("--rule", help="only this rule")
    parser.add_argument("--labels", type=Path, metavar="CSV", help="events to detect")
    parser.add_argument("--gap", type=duration, default=10.0, help="default: 10 s")
    parser.add_argument("--short", type=duration, default=2.0, help="default: 2 s")
    parser.add_argument(
        "--delay",
        type=duration,
        help="the longest mean delay to accept (default: twice today's, or 5 s more where that is more)",
    )
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the results (extra bench)")
    parser.add_argument("--write", action="store_true", help="write the suggestions into the file")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from edgeseg import config
    from edgeseg.tools.tuning import plot, suggest_patch
    from edgeseg.tools.tuning.observe import observe_clip
    from edgeseg.tools.tuning.scoring import FlapLimits

    settings = config.load(args.pipeline)
    camera = camera_of(settings, args.camera)
    wanted = [rule for zone in camera.zones for rule in zone.rules if args.rule in (None, rule.name)]
    if not wanted:
        which = f"no rule {args.rule}" if args.rule else "no rules"
        raise EdgesegError(f"{settings.file}: the camera {camera.name} has {which}")
    observed = []
    for clip in args.clips:
        with progress(f"watching {clip.name}", "frame", quiet=args.json) as advance:
            observed.append(observe_clip(clip, settings, camera, advance))
    results = _sweep_rules(args, settings, camera, observed, FlapLimits(args.gap, args.short))
    better = [swept for swept in results if suggest_patch.changes(swept)]
    text = suggest_patch.patched(args.pipeline, camera.name, better) if better else ""
    diff = suggest_patch.difference(args.pipeline, text) if better else ""
    if args.json:
        document = {
            "file": settings.file,
            "camera": camera.name,
            "rules": [_json(swept) for swept in results],
            "diff": diff,
        }
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        for swept in results:
            _print(swept)
        print(diff or "nothing to change", end="" if diff else "\n")
    if args.plot is not None:
        plot.draw(results, args.plot)
    if args.write and better:
        from edgeseg.yamlfile.rewrite import write_file

        try:
            backup = write_file(args.pipeline, text)
        except OSError as error:
            raise EdgesegError(f"{args.pipeline}: cannot be written: {error.strerror or error}") from None
        if not args.json:
            print(f"\nwritten; the file as it was: {backup}")
    return 0


def _sweep_rules(
    args: argparse.Namespace,
    settings: PipelineSettings,
    camera: CameraSettings,
    observed: list[ClipObservations],
    limits: FlapLimits,
) -> list[SweepResult]:
    from edgeseg.tools.tuning.labels import check_names, read_labels
    from edgeseg.tools.tuning.rule_run import Track
    from edgeseg.tools.tuning.sweep import sweep

    labels = None
    if args.labels is not None:
        labels = read_labels(args.labels)
        known = {
            "clip": [one.clip.name for one in observed],
            "zone": [zone.name for zone in camera.zones],
            "rule": [rule.name for zone in camera.zones for rule in zone.rules],
        }
        check_names(args.labels, labels, known)
    results = []
    for number, zone in enumerate(camera.zones):
        for rule in zone.rules:
            if args.rule not in (None, rule.name):
                continue
            tracks = [Track(rule, [moment[number] for moment in one.moments]) for one in observed]
            events: list[list[Occasion]] | None = None
            if labels is not None:
                events = [
                    sorted(
                        (
                            label.occasion(one.moments[0][0].time.captured_at_s)
                            for label in labels
                            if label.is_for(one.clip, zone.name, rule.name)
                        ),
                        key=lambda event: event.began_s,
                    )
                    for one in observed
                ]
            with progress(f"tuning {zone.name}/{rule.name}", "setting", quiet=args.json) as advance:
                results.append(sweep(zone.name, rule, tracks, events, limits, args.delay, advance))
    return results


def _print(swept: SweepResult) -> None:
    minutes = swept.watched_s / 60
    what = "labelled event" if swept.labelled else "occasion"
    count = f"{swept.today.events} {what}{'' if swept.today.events == 1 else 's'}"
    print(f"{swept.zone}/{swept.rule.name}: {count} in {minutes:.1f} min, {len(swept.scores)} settings tried")
    if not swept.today.events:
        print("  nothing to tell in these clips, so nothing can be suggested\n")
        return
    best = swept.suggested
    rows = [_row(swept, "as it is", swept.grid.today)]
    rows += [_row(swept, "", place) for place in swept.curve()[:6]]
    if best != swept.grid.today:
        rows.append(_row(swept, "suggested", best))
    more = ("recall", "precision") if swept.labelled else ()
    print_table(("", "setting", "flaps", "flaps/h", "delay", "ends late", *more), rows)
    print()


def _row(swept: SweepResult, name: str, place: Place) -> tuple[str, ...]:
    from edgeseg.tools.tuning.suggest_patch import key_texts

    score = swept.scores[place]
    setting = ", ".join(f"{key}: {text}" for key, text in key_texts(swept.grid.rules[place]).items())
    more = (f"{score.recall:.2f}", f"{score.precision:.2f}") if swept.labelled else ()
    return (
        *(name, setting, str(score.flaps), f"{swept.per_hour(score.flaps):.0f}"),
        *(f"{score.delay_s:.1f} s", f"{score.linger_s:.1f} s", *more),
    )


def _json(swept: SweepResult) -> dict[str, object]:
    best = swept.suggested
    return {
        "zone": swept.zone,
        "rule": swept.rule.name,
        "watched_s": round(swept.watched_s, 3),
        "settings": len(swept.scores),
        "events": swept.today.events,
        "labelled": swept.labelled,
        "today": _setting(swept, swept.grid.today),
        "suggested": None if best == swept.grid.today else _setting(swept, best),
        "curve": [_setting(swept, place) for place in swept.curve()],
    }


def _setting(swept: SweepResult, place: Place) -> dict[str, object]:
    from edgeseg.tools.tuning.suggest_patch import key_texts

    score = swept.scores[place]
    return {
        "keys": key_texts(swept.grid.rules[place]),
        "alerts": score.alerts,
        "flaps": score.flaps,
        "flaps_per_hour": round(swept.per_hour(score.flaps), 3),
        "delay_s": round(score.delay_s, 3),
        "linger_s": round(score.linger_s, 3),
        "missed": score.missed,
        "extra": score.extra,
        "precision": round(score.precision, 4),
        "recall": round(score.recall, 4),
    }
