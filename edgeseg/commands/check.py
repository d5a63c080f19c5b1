"""``edgeseg check``: lists all mistakes of a pipeline file, with file, line and column."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.errors import ConfigError, EdgesegError, Problem, SourceError

if TYPE_CHECKING:
    from edgeseg.settings import CameraSettings, PipelineSettings

JSON_SCHEMA = {
    "title": "edgeseg check --json",
    "type": "object",
    "required": ["file", "ok", "live", "cameras", "zones", "rules", "engines", "notes", "problems"],
    "additionalProperties": False,
    "properties": {
        "file": {"type": "string"},
        "ok": {"type": "boolean"},
        "live": {"type": "boolean", "description": "whether the machine was checked too"},
        "cameras": {"type": ["integer", "null"], "description": "how many; null when the file is wrong"},
        "zones": {"type": ["integer", "null"]},
        "rules": {"type": ["integer", "null"]},
        "engines": {
            "type": "array",
            "description": "what was loaded, with --live",
            "items": {
                "type": "object",
                "required": ["model", "engine", "input", "chosen"],
                "additionalProperties": False,
                "properties": {
                    "model": {"type": "string"},
                    "engine": {"type": "string"},
                    "input": {"type": "string", "description": "width x height in pixels"},
                    "chosen": {
                        "enum": ["named", "measured", "unmeasured"],
                        "description": "by the file, by `engine: auto`, or by it once `run` has measured",
                    },
                },
            },
        },
        "notes": {"type": "array", "items": {"type": "string"}},
        "problems": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["file", "line", "column", "where", "message"],
                "additionalProperties": False,
                "properties": {
                    "file": {"type": "string"},
                    "line": {"type": "integer", "description": "from 1; 0 where it has no line"},
                    "column": {"type": "integer", "description": "from 1; 0 where it has no column"},
                    "where": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}


@dataclass(frozen=True, slots=True)
class LoadedEngine:
    """An engine that could be loaded. input: width x height in pixels. chosen: see ``JSON_SCHEMA``."""

    model: str
    engine: str
    input: str
    chosen: str

    def __str__(self) -> str:
        how = {
            "measured": " (`engine: auto` measured it to be the best here)",
            "unmeasured": " (for now: `engine: auto` measures at the first `edgeseg run`)",
        }
        return f"{self.model} in {self.engine}, {self.input}{how.get(self.chosen, '')}"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "check",
        help="check a pipeline file: syntax, names, zones, rules",
        description="Checks a pipeline file and lists what is wrong, with line and column. Reads "
        "only the file and the models' manifests; with --live it checks this machine as well.",
    )
    parser.add_argument("file", type=Path, help="the pipeline file")
    parser.add_argument(
        "--live",
        action="store_true",
        help="also check what the file needs of this machine: environment variables, password files, "
        "clips and devices, weights, and that the engines load them",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 2 with ``--json`` and problems; without ``--json`` they are raised as ConfigError."""
    from edgeseg import config
    from edgeseg.models import registry

    engines: tuple[LoadedEngine, ...] = ()
    try:
        settings = config.load(args.file)
        if args.live:
            engines = _check_machine(settings)
    except ConfigError as error:
        if not args.json:
            raise
        print(json.dumps(_report(args, None, problems=error.problems), indent=2, ensure_ascii=False))
        return 2
    warnings = config.lint_warnings(settings, registry.find)
    if args.json:
        report = _report(args, settings, engines=engines, warnings=warnings)
        print(json.dumps(report, indent=2, ensure_ascii=False))
        return 0
    for warning in warnings:
        print(f"note: {warning}")
    for loaded in engines:
        print(f"loaded: {loaded}")
    cameras, zones, rules = _counts(settings)
    print(f"ok: {_many(cameras, 'camera')}, {_many(zones, 'zone')}, {_many(rules, 'rule')}")
    return 0


def _check_machine(settings: PipelineSettings) -> tuple[LoadedEngine, ...]:
    """Raises ConfigError with everything that this machine lacks."""
    from edgeseg import config

    problems: list[Problem] = []
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    try:
        resolved = config.resolve(settings, os.environ, Path(credentials) if credentials else None)
        problems += _missing_sources(resolved)
    except ConfigError as error:
        problems += error.problems
    engines: dict[tuple[str, str, tuple[int, int] | None], LoadedEngine | None] = {}
    for camera in settings.cameras:
        key = (camera.model, camera.engine, camera.input_size_px)
        if key in engines:
            continue
        engines[key] = None
        try:
            engines[key] = _load_engine(camera)
        except EdgesegError as error:
            problems.append(Problem(settings.file, 0, 0, f"cameras.{camera.name}", str(error)))
    if problems:
        raise ConfigError(problems)
    return tuple(loaded for loaded in engines.values() if loaded is not None)


def _missing_sources(settings: PipelineSettings) -> list[Problem]:
    """Clips, folders, devices, GStreamer elements that are not there; network cameras may come and go."""
    from edgeseg.sources.open import check_pipeline

    problems = []
    for camera in settings.cameras:
        url = camera.source.url.reveal() if camera.source.url else ""
        try:
            if check_pipeline(url, camera.source.shown):
                continue
        except SourceError as error:
            problems.append(Problem(settings.file, 0, 0, f"cameras.{camera.name}.source", str(error)))
            continue
        path = url.lower().removeprefix("v4l2://")
        if "://" not in path and not os.access(url[-len(path) :], os.R_OK):
            kind = "file or folder" if path == url.lower() else "device"
            where = f"cameras.{camera.name}.source"
            message = f"{camera.source.shown}: no such {kind}, or no permission to read it"
            problems.append(Problem(settings.file, 0, 0, where, message))
    return problems


def _load_engine(camera: CameraSettings) -> LoadedEngine:
    """Verify the weights and load them. Raises ModelError, EngineError."""
    from functools import partial

    from edgeseg.engines.refine import refined
    from edgeseg.engines.select import choose, is_measured, open_engine
    from edgeseg.kserve import open_remote
    from edgeseg.models import registry
    from edgeseg.models.runtimes import AUTO

    model = registry.find(camera.model)
    if camera.remote is None:
        opened = open_engine(model, camera.engine, camera.input_size_px)
        engine = refined(opened, model, camera.refine, 1)
    else:
        size_px = camera.input_size_px or choose(model, camera.engine)[1].input.size_px
        local = partial(open_engine, model, camera.remote.fallback or AUTO, size_px)
        engine = open_remote(model, camera.remote, size_px, local)
    try:
        width, height = engine.input_size_px
        chosen = "named"
        if camera.engine == AUTO:
            chosen = "measured" if is_measured(model, engine.input_size_px) else "unmeasured"
        return LoadedEngine(model.name, engine.name, f"{width}x{height}", chosen)
    finally:
        engine.close()


def _report(
    args: argparse.Namespace,
    settings: PipelineSettings | None,
    *,
    engines: tuple[LoadedEngine, ...] = (),
    warnings: tuple[str, ...] = (),
    problems: tuple[Problem, ...] = (),
) -> dict[str, Any]:
    cameras, zones, rules = _counts(settings) if settings else (None, None, None)
    return {
        "file": str(args.file),
        "ok": not problems,
        "live": args.live,
        "cameras": cameras,
        "zones": zones,
        "rules": rules,
        "engines": [asdict(loaded) for loaded in engines],
        "notes": list(warnings),
        "problems": [asdict(problem) for problem in problems],
    }


def _counts(settings: PipelineSettings) -> tuple[int, int, int]:
    zones = [zone for camera in settings.cameras for zone in camera.zones]
    return len(settings.cameras), len(zones), sum(len(zone.rules) for zone in zones)


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
