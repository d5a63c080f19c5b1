"""``edgeseg doctor``: checks this machine, its cameras and its broker, and measures its engines."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.commands.doctor import engines as doctor_engines
from edgeseg.commands.doctor.output import show_section, show_verdict
from edgeseg.errors import ConfigError, EdgesegError

if TYPE_CHECKING:
    from edgeseg.settings import PipelineSettings
    from edgeseg.tools.doctor.finding import Finding

# In the order in which they are shown: what the rest stands on comes first.
SECTIONS = (
    "device", "accelerators", "runtimes", "decoding", "disk", "clock", "service", "web", "broker",
    "cameras", "engines",
)  # fmt: skip
_LIMIT_S = 15.0
_EXPORT = "export NAME='...' in this shell; a service has it in /etc/edgeseg/*.env"

_FINDING: dict[str, Any] = {
    "type": "object",
    "required": ["section", "subject", "state", "text", "mend"],
    "additionalProperties": False,
    "properties": {
        "section": {"enum": list(SECTIONS)},
        "subject": {"type": "string", "description": "what was looked at, such as a camera's name"},
        "state": {
            "enum": ["ok", "note", "problem", "skipped"],
            "description": "note: worth knowing, not wrong; skipped: cannot be checked here",
        },
        "text": {"type": "string"},
        "mend": {"type": ["string", "null"], "description": "the command or step that would help"},
    },
}

JSON_SCHEMA = {
    "title": "edgeseg doctor --json",
    "type": "object",
    "required": ["ok", "findings", "engines"],
    "additionalProperties": False,
    "properties": {
        "ok": {"type": "boolean", "description": "no finding is a problem"},
        "findings": {"type": "array", "items": _FINDING},
        "engines": {
            "type": "array",
            "description": "a table for each model and input size that was measured",
            "items": doctor_engines.SCHEMA,
        },
    },
}

_DESCRIPTION = """\
Looks at this machine and says in plain sentences what is wrong and which command mends it. With a pipeline
file also at all that the file needs: each camera (a few seconds of its stream, in a confined process), the
broker (TLS, login, and whether its access list lets every topic through: an empty message that is not
retained goes to each), its service. With a model it only measures engines with that model. `--only engines`
measures which engine is fastest and remembers it for `edgeseg run`; that takes longest. Every check is
bounded in time. Exit code: 0 all is well, 1 something is wrong.
"""


@dataclass(slots=True)
class _Report:
    """What was found so far, by section."""

    findings: list[tuple[str, Finding]]
    engines: list[dict[str, Any]]

    @property
    def problems(self) -> int:
        return sum(finding.state == "problem" for _, finding in self.findings)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="what is wrong with this machine, its cameras and its broker, and what mends it",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "target",
        nargs="?",
        metavar="PIPELINE|MODEL",
        help="a pipeline file; or a model's name or folder, to measure engines with it alone",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=SECTIONS,
        metavar="SECTION",
        help=f"check this alone; may be repeated: {', '.join(SECTIONS)}",
    )
    doctor_engines.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON (`edgeseg schema cli` describes it)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns the exit code: 1 where something is wrong."""
    settings = _pipeline(args.target)
    model = args.target if settings is None else None
    sections: Sequence[str] = args.only or (SECTIONS if model is None else ("engines",))
    report = _Report([], [])
    for section in SECTIONS:
        if section in sections:
            found = list(_examine(section, settings, model, args, report))
            report.findings += [(section, finding) for finding in found]
            if not args.json and found:
                for table in report.engines:
                    doctor_engines.show(table)
                show_section(section, found)
    if args.json:
        print(json.dumps(_as_json(report), indent=2, ensure_ascii=False))
    else:
        show_verdict(report.problems)
    return 1 if report.problems else 0


def _examine(
    section: str,
    settings: PipelineSettings | None,
    model: str | None,
    args: argparse.Namespace,
    report: _Report,
) -> Iterator[Finding]:
    from edgeseg.tools.doctor import finding, host, machine

    def bounded(check: finding.Check) -> list[Finding]:
        return finding.bounded(section, check, _LIMIT_S)

    cameras = settings.cameras if settings else ()
    if section == "device":
        yield from bounded(machine.device)
    elif section == "accelerators":
        engines = {camera.engine for camera in cameras}
        yield from bounded(lambda stop: machine.accelerators(stop, engines))
    elif section == "runtimes":
        yield from bounded(machine.runtimes)
    elif section == "decoding":
        decoders = {camera.decode for camera in cameras}
        yield from bounded(lambda stop: machine.decoding(stop, decoders))
    elif section == "disk":
        yield from bounded(host.disk)
    elif section == "clock":
        yield from bounded(host.time)
    elif section == "service":
        file = Path(settings.file) if settings else None
        yield from bounded(lambda stop: host.service(stop, file))
    elif section == "engines":
        for table, verdict in doctor_engines.examine(settings, model, args):
            report.engines += [table] if table else []
            yield verdict
    elif section == "web":
        served = settings.web if settings else None
        if served is not None:
            yield from bounded(lambda stop: host.web(stop, served))
    elif settings is not None:
        yield from _outside(section, settings)


def _outside(section: str, settings: PipelineSettings) -> Iterator[Finding]:
    """Broker and cameras, with passwords filled in as far as they are here."""
    from edgeseg import config
    from edgeseg.clock import SystemClock
    from edgeseg.models import registry
    from edgeseg.tools.doctor import broker, cameras
    from edgeseg.tools.doctor.finding import Finding, bounded, bounded_all

    clock = SystemClock()
    if section == "broker" and settings.mqtt is not None:
        try:
            alone = replace(settings, cameras=(), web=None)
            whole = config.resolve(alone, os.environ, _credentials())
        except ConfigError as error:
            yield from (Finding("password", "problem", problem.message) for problem in error.problems)
            return
        resolved = replace(whole, cameras=settings.cameras)
        models = {camera.model: registry.find(camera.model) for camera in settings.cameras}
        yield from bounded("broker", lambda stop: broker.check(resolved, models, clock, stop), broker.LIMIT_S)
    elif section == "cameras":
        checks = []
        for camera in settings.cameras:
            alone = replace(settings, cameras=(camera,), mqtt=None, web=None)
            try:
                (filled,) = config.resolve(alone, os.environ, _credentials()).cameras
            except ConfigError as error:
                yield from (Finding(camera.name, "problem", one.message, _EXPORT) for one in error.problems)
                continue
            checks.append((camera.name, cameras.check_of(filled, clock)))
        yield from bounded_all(checks, cameras.LIMIT_S, cameras.AT_ONCE)


def _pipeline(target: str | None) -> PipelineSettings | None:
    """The settings of a pipeline file; None where ``target`` is a model. Raises ConfigError."""
    from edgeseg import config

    if target is None or not (Path(target).is_file() or target.endswith((".yaml", ".yml"))):
        return None
    if not Path(target).is_file():
        raise EdgesegError(f"{target}: no such file; `edgeseg init` makes one")
    return config.load(Path(target))


def _credentials() -> Path | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(folder) if folder else None


def _as_json(report: _Report) -> dict[str, Any]:
    return {
        "ok": report.problems == 0,
        "findings": [{"section": section, **asdict(finding)} for section, finding in report.findings],
        "engines": report.engines,
    }
