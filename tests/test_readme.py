"""What README.md says exists: commands, files, make targets."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from edgeseg.cli import parser

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "systemd" / "README.md"]
FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#:]+)\)")


def code_pieces(page: Path) -> list[str]:
    text = page.read_text()
    blocks = [body.splitlines() for language, body in FENCE.findall(text) if language == "sh"]
    lines = [line for block in blocks for line in block]
    return [piece.split("#")[0].strip() for piece in lines + CODE.findall(FENCE.sub("", text))]


def subcommands() -> dict[str, object]:
    actions = parser()._subparsers._group_actions  # type: ignore[union-attr]
    return dict(actions[0].choices)  # type: ignore[arg-type]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    known = subcommands()
    for piece in code_pieces(page):
        words = shlex.split(piece) if piece.startswith("edgeseg ") else []
        if len(words) > 1 and not words[1].startswith(("-", "$")):
            assert words[1] in known, f"{page.name} speaks of `{piece}`"
            flags = {word for word in words if word.startswith("--")}
            command = known[words[1]]
            actions = command._subparsers and command._subparsers._group_actions[0].choices  # type: ignore[attr-defined]
            if actions and len(words) > 2 and re.fullmatch("[a-z]+(-[a-z]+)*", words[2]):
                assert words[2] in actions, f"{page.name} speaks of `{piece}`"
                command = actions[words[2]]
            text = command.format_help()  # type: ignore[attr-defined]
            assert all(flag in text for flag in flags), f"{page.name}: `{piece}` has a flag that is not there"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for piece in code_pieces(page):
        if match := re.search(r"\bmake ([a-z-]+)$", piece):
            assert match.group(1) in targets, f"{page.name} speaks of `{piece}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_exist(page: Path) -> None:
    named = set(LINK.findall(page.read_text()))
    named |= {
        piece
        for piece in code_pieces(page)
        if re.fullmatch(r"(edgeseg|pipelines|models|systemd|docs|tests)/[\w./@-]*", piece)
    }
    for name in named:
        place = ROOT if (ROOT / name).exists() else page.parent
        assert (place / name).exists(), f"{page.name} names {name}"


def test_the_readme_has_exactly_two_setup_commands() -> None:
    section = (ROOT / "README.md").read_text().split("## Set up")[1].split("\n## ")[0]
    block = FENCE.findall(section)[0][1]
    commands = [line.split("#")[0].strip() for line in block.splitlines() if line.strip()]
    assert commands == ["make demo", "make test"]
