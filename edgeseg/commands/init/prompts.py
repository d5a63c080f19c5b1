"""Prompts: questions on a terminal, each with a default answer."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeseg.errors import EdgesegError


@dataclass(frozen=True, slots=True)
class Asker:
    """asks: False where nobody is there to answer (no terminal, or ``--yes``): defaults are taken then."""

    asks: bool

    @classmethod
    def of(cls, yes: bool) -> Asker:
        return cls(not yes and sys.stdin.isatty() and sys.stdout.isatty())

    def text(self, question: str, default: str = "", flaw: Callable[[str], str] = lambda text: "") -> str:
        """flaw: what is wrong with an answer, empty where nothing is; it is asked again then."""
        while self.asks:
            hint = f" [{default}]" if default else ""
            answer = _line(f"{question}{hint}: ") or default
            wrong = flaw(answer)
            if not wrong:
                return answer
            print(f"  {wrong}")
        return default

    def needed(self, question: str, flag: str) -> str:
        """An answer that has no default. Raises EdgesegError where nobody can give it."""
        if not self.asks:
            raise EdgesegError(f"nobody is asked here; give {flag}")
        return self.text(question, flaw=lambda text: "" if text else "an answer is needed; Ctrl-C gives up")

    def password(self, question: str) -> str:
        """Not shown while it is typed. Empty where nobody is asked."""
        return getpass.getpass(f"{question}: ") if self.asks else ""

    def agreed(self, question: str, default: bool = True) -> bool:
        answer = self.text(f"{question} [{'Y/n' if default else 'y/N'}]").lower()
        return default if not answer else answer.startswith("y")

    def choice(self, question: str, options: Sequence[str]) -> int:
        """The number of the option, from 0; the first is the default."""
        if not self.asks or len(options) < 2:
            return 0
        for number, option in enumerate(options, 1):
            print(f"  {number}  {option}")

        def flaw(text: str) -> str:
            return (
                "" if text.isdigit() and 1 <= int(text) <= len(options) else f"expected 1 to {len(options)}"
            )

        return int(self.text(question, "1", flaw)) - 1


def _line(prompt: str) -> str:
    try:
        return input(prompt).strip()
    except EOFError:
        raise EdgesegError("no answer; give it as a flag, see `edgeseg init --help`") from None
