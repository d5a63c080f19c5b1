"""``edgeseg run`` as its own process, as systemd or a person starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.broker import wait_until
from tests.support.passwords import note

STOPS_WITHIN_S = 90.0


class Daemon:
    """A running daemon; its output is kept. Killed at the end of the ``with`` if it still runs.

    prefix: a command that becomes the daemon by ``exec``, to start it in other surroundings.
    """

    def __init__(
        self, pipeline: Path, environment: dict[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> None:
        self.pipeline = pipeline
        self._prefix = prefix
        self._folder = Path(tempfile.mkdtemp(prefix="daemon-"))
        self._environment = {
            **os.environ,
            "XDG_STATE_HOME": str(self._folder / "state"),
            "PYTHONUNBUFFERED": "1",
            **(environment or {}),
        }

    def __enter__(self) -> Daemon:
        with (self._folder / "out").open("wb") as out, (self._folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                [*self._prefix, sys.executable, "-m", "edgeseg", "run", str(self.pipeline)],
                stdout=out,
                stderr=err,
                env=self._environment,
                # A process group of its own, as a shell or systemd gives it.
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(STOPS_WITHIN_S)
        # pytest shows it where a test failed.
        print(self.log)
        note(self.output)

    @property
    def log(self) -> str:
        return (self._folder / "err").read_text()

    @property
    def output(self) -> str:
        return (self._folder / "out").read_text()

    def messages(self, topic_end: str) -> list[Any]:
        """Payloads of the JSON lines on standard output whose topic ends so; a half line is left out."""
        lines = [json.loads(line) for line in self.output.splitlines(keepends=True) if line.endswith("\n")]
        return [line["payload"] for line in lines if line["topic"].endswith(topic_end)]

    def wait_for_log(self, words: str) -> None:
        def seen() -> bool:
            assert self.process.poll() is None or words in self.log, f"ended without {words!r}: {self.log}"
            return words in self.log

        wait_until(seen, f"{words!r} in the log")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end. Returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOPS_WITHIN_S)
