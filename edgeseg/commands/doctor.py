"""``edgeseg doctor``: is this machine fit, and what would make it fitter? A section for each subject."""

from __future__ import annotations

import argparse
import json

from edgeseg.commands import doctor_engines

# Each has add_arguments, examine (-> what JSON shows), show and SCHEMA.
_SUBJECTS = {"engines": doctor_engines}

JSON_SCHEMA = {
    "title": "edgeseg doctor --json",
    "type": "object",
    "required": list(_SUBJECTS),
    "additionalProperties": False,
    "properties": {name: subject.SCHEMA for name, subject in _SUBJECTS.items()},
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="what this machine can do: engines measured with a model, and how to get the missing ones",
        description="Runs a model in every engine that is installed, compares time and labels, says which "
        "one `engine: auto` takes and why the others lost, and remembers it for `edgeseg run`.",
    )
    for subject in _SUBJECTS.values():
        subject.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON (`edgeseg schema cli` describes it)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns the exit code: 0, also where something is missing."""
    found = {name: subject.examine(args) for name, subject in _SUBJECTS.items()}
    if args.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    for name, subject in _SUBJECTS.items():
        subject.show(found[name])
    return 0
