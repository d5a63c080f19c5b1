"""What the documents say exists: commands, files, links, make targets, pipeline files."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from edgeseg import config
from edgeseg.cli import parser
from tests.test_architecture import FLOORS

ROOT = Path(__file__).resolve().parent.parent
README, DOCS = ROOT / "README.md", ROOT / "docs"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(DOCS.rglob("*.md")),
    ROOT / "systemd" / "README.md",
    *sorted((ROOT / "models").glob("*/card.md")),
]
FENCE = re.compile(r"^[ ]*```(\w*)\n(.*?)^[ ]*```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LAST_CELL = re.compile(r"\| `(edgeseg [^`\n]+)` \|$", re.MULTILINE)
# Where a command line ends and the shell's next word begins.
SHELL = re.compile(r"\s(>|>>|\||&&|\|\||&|\\)(\s|$)")
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def blocks(page: Path, *languages: str) -> list[str]:
    return [
        body for language, body in FENCE.findall(page.read_text(encoding="utf-8")) if language in languages
    ]


def code_pieces(page: Path) -> list[str]:
    lines = [line for body in blocks(page, "sh") for line in body.splitlines()]
    return [piece.split("#")[0].strip() for piece in lines + CODE.findall(prose(page))]


def command_lines(page: Path) -> list[list[str]]:
    """Arguments of each ``edgeseg`` in the page's shell blocks, and in the last column of its tables."""
    found = []
    for body in (*blocks(page, "sh", "console"), *LAST_CELL.findall(prose(page))):
        for line in re.sub(r"\\\n\s*", " ", body).splitlines():
            with contextlib.suppress(ValueError):  # a quote that ends on another line
                words = shlex.split(SHELL.split(line)[0], comments=True)
                while words and (words[0] == "$" or "=" in words[0]):
                    words.pop(0)
                if words[:1] == ["taskset"]:
                    words = words[3:]
                if words and Path(words[0]).name == "edgeseg":
                    found.append(words[1:])
    return [words for words in found if words]


def subcommands() -> dict[str, object]:
    actions = parser()._subparsers._group_actions  # type: ignore[union-attr]
    return dict(actions[0].choices)  # type: ignore[arg-type]


def refusal(words: list[str]) -> str | None:
    """What the command line has against these arguments; None where it takes them."""
    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
            parser().parse_args(words)
    except SystemExit as end:
        return output.getvalue() if end.code else None
    return None


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    names: list[str] = []
    for heading in HEADING.findall(prose(page)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        names.append(re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-"))
    return {
        f"{name}-{count}" if count else name for name in set(names) for count in range(Counter(names)[name])
    }


@every_page
def test_commands_exist(page: Path) -> None:
    known = subcommands()
    for piece in code_pieces(page):
        words = shlex.split(piece) if piece.startswith("edgeseg ") else []
        if len(words) > 1 and not words[1].startswith(("-", "$")):
            assert words[1] in known or words[1].isupper(), f"{page.name} speaks of `{piece}`"
            if words[1].isupper():
                continue
            flags = {word for word in words if word.startswith("--")}
            command = known[words[1]]
            actions = command._subparsers and command._subparsers._group_actions[0].choices  # type: ignore[attr-defined]
            if actions and len(words) > 2 and re.fullmatch("[a-z]+(-[a-z]+)*", words[2]):
                assert words[2] in actions, f"{page.name} speaks of `{piece}`"
                command = actions[words[2]]
            text = command.format_help()  # type: ignore[attr-defined]
            assert all(flag in text for flag in flags), f"{page.name}: `{piece}` has a flag that is not there"


@every_page
def test_commands_parse(page: Path) -> None:
    for words in command_lines(page):
        assert refusal(words) is None, f"{page.name}: edgeseg {shlex.join(words)}"


@every_page
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for piece in code_pieces(page):
        if match := re.search(r"\bmake ([a-z-]+)$", piece):
            assert match.group(1) in targets, f"{page.name} speaks of `{piece}`"


# Two pages describe the layout of the package after its modules have moved. Remove the mark then.


@pytest.mark.parametrize(
    "page",
    PAGES,
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_files_exist(page: Path) -> None:
    for name in code_pieces(page):
        if re.fullmatch(r"(edgeseg|pipelines|models|systemd|docs|tests)/[\w./@-]*", name):
            place = ROOT if (ROOT / name).exists() else page.parent
            assert (place / name).exists(), f"{page.name} names {name}"


@every_page
def test_links_resolve(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in anchors(target), (
                f"{page.name} links to {link}; there is {sorted(anchors(target))}"
            )


@every_page
def test_pipeline_files_are_accepted(page: Path) -> None:
    """A block with ``cameras:`` at its margin is a whole file, as `edgeseg check` sees it."""
    for body in blocks(page, "yaml"):
        if re.search(r"^cameras:", body, re.MULTILINE):
            config.check(body, page.with_suffix(".yaml"))


def test_the_readme_has_exactly_two_setup_commands() -> None:
    section = README.read_text().split("## Set up")[1].split("\n## ")[0]
    block = FENCE.findall(section)[0][1]
    commands = [line.split("#")[0].strip() for line in block.splitlines() if line.strip()]
    assert commands == ["make demo", "make test"]


def test_the_readme_is_a_front_door() -> None:
    assert len(README.read_text().splitlines()) <= 200


def test_the_indexes_list_every_page() -> None:
    for index, pages in (
        (DOCS / "README.md", DOCS.glob("*.md")),
        (DOCS / "decisions" / "README.md", (DOCS / "decisions").glob("*.md")),
    ):
        listed = set(LINK.findall(index.read_text()))
        assert {page.name for page in pages} - {"README.md"} <= listed


def test_the_floors_are_those_of_the_architecture_test() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", (DOCS / "architecture.md").read_text(), re.MULTILINE)
    floors = {int(number): frozenset(CODE.findall(names)) for number, names in rows}
    assert floors == {number: frozenset(names) for number, names in enumerate(FLOORS, 1)}


def test_decisions_are_numbered_without_gaps() -> None:
    records = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        number = int(record.name[:4])
        assert record.read_text().startswith(f"# {number}. ")
        assert re.search(r"^Status: (accepted|superseded by \d+)$", record.read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES[:2] + sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_plain_english(page: Path) -> None:
    """Words that hide who does what."""
    for word in ("whoever", "nobody", "somebody", "wants to know", "to be had"):
        assert not re.search(rf"\b{word}\b", prose(page), re.IGNORECASE), f"{page.name}: {word}"
