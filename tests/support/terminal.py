"""A program on a terminal of its own."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path


class Terminal:
    """A program on a terminal of its own: what it shows, and what is typed."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        self.shown = ""
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgeseg", *arguments], cwd=folder, stdin=theirs, stdout=theirs,
            stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "120"}, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)

    def answer(self, question: str, text: str) -> None:
        """Wait for the question and type."""
        self.wait_for(question)
        self.shown = ""
        os.write(self._ours, text.encode() + b"\n")

    def wait_for(self, words: str) -> None:
        while words not in self.shown:
            assert select.select([self._ours], [], [], 30)[0], f"no {words!r} in {self.shown!r}"
            try:
                self.shown += os.read(self._ours, 4096).decode(errors="replace")
            except OSError:
                raise AssertionError(f"ended without {words!r}: {self.shown}") from None

    def close(self) -> int:
        code = self.process.wait(240)
        os.close(self._ours)
        return code
