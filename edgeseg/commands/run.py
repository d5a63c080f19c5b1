"""``edgeseg run``: runs the daemon."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from edgeseg.system.logs import LOG_STYLES, log_to_stderr


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "run",
        help="watch the cameras of a pipeline file",
        description="Watches until SIGTERM or Ctrl-C; SIGHUP reads the file again. Publishes over MQTT, or "
        "as JSON lines on standard output where the file names no broker. Waiting alerts, the state of rules "
        "and overrides by commands are saved in $STATE_DIRECTORY, or else ~/.local/state/edgeseg, and "
        "restored after a restart. Exit code 3: a thread hung, and systemd should start the daemon again.",
    )
    parser.add_argument("pipeline", type=Path, help="the pipeline file")
    parser.add_argument("--verbose", action="store_true", help="log more")
    parser.add_argument(
        "--log",
        choices=LOG_STYLES,
        default="text",
        help="how log lines on standard error look: text for people (the default), or a JSON object each. "
        "Under systemd each carries its priority, for journalctl -p",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from edgeseg import config
    from edgeseg.clock import SystemClock
    from edgeseg.daemon import Daemon
    from edgeseg.settings import PipelineSettings
    from edgeseg.system.paths import state_dir
    from edgeseg.system.redaction import Redaction

    redaction = Redaction()
    log_to_stderr(args.log, logging.DEBUG if args.verbose else logging.INFO, redaction)

    def load() -> PipelineSettings:
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        settings = config.resolve(
            config.load(args.pipeline), os.environ, Path(credentials) if credentials else None
        )
        redaction.learn(config.secrets_of(settings))
        return settings

    return Daemon(load, SystemClock(), state_dir()).run()
