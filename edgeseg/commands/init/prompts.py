"""Prompts: questions on a terminal, each with a default answer."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeseg.errors import EdgesegError


@dataclass(frozen=True, slots=True)
class Prompter:
    """Asks questions. asks: False without a terminal or with ``--yes``; then it returns the defaults."""

    asks: bool

    @classmethod
    def for_terminal(cls, yes: bool) -> Prompter:
        """Return one that asks where standard input and output are terminals, unless ``yes``."""
        return cls(not yes and sys.stdin.isatty() and sys.stdout.isatty())

    def text(self, question: str, default: str = "", error: Callable[[str], str] = lambda text: "") -> str:
        """Return an answer; ask again while ``error`` returns what is wrong with it."""
        while self.asks:
            hint = f" [{default}]" if default else ""
            answer = _line(f"{question}{hint}: ") or default
            wrong = error(answer)
            if not wrong:
                return answer
            print(f"  {wrong}")
        return default

    def needed(self, question: str, flag: str) -> str:
        """Return an answer that has no default. Raises EdgesegError where it cannot ask."""
        if not self.asks:
            raise EdgesegError(f"there is no terminal to ask on; give {flag}")
        return self.text(question, error=lambda text: "" if text else "an answer is needed; Ctrl-C gives up")

    def password(self, question: str) -> str:
        """Return a password, hidden while it is typed; empty where it cannot ask."""
        return getpass.getpass(f"{question}: ") if self.asks else ""

    def confirm(self, question: str, default: bool = True) -> bool:
        """Return the answer to a yes-or-no question."""
        answer = self.text(f"{question} [{'Y/n' if default else 'y/N'}]").lower()
        return default if not answer else answer.startswith("y")

    def choice(self, question: str, options: Sequence[str]) -> int:
        """Return the number of the option, from 0; the first is the default."""
        if not self.asks or len(options) < 2:
            return 0
        for number, option in enumerate(options, 1):
            print(f"  {number}  {option}")

        def error(text: str) -> str:
            return (
                "" if text.isdigit() and 1 <= int(text) <= len(options) else f"expected 1 to {len(options)}"
            )

        return int(self.text(question, "1", error)) - 1


def _line(prompt: str) -> str:
    try:
        return input(prompt).strip()
    except EOFError:
        raise EdgesegError("no answer; give it as a flag, see `edgeseg init --help`") from None
