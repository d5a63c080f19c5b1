"""YAML's traps are harmless or errors, and every error has its place."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from edgeseg import yamlfile
from edgeseg.errors import ConfigError, Problem
from edgeseg.yamlfile import Sexagesimal, Switch, parse, problems_from


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("no", "no"),
        ("22:00", "22:00"),
        ("0123", "0123"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("2026-11-22", "2026-11-22"),
        (".nan", ".nan"),
        ("1e999", "1e999"),
        ("1" * 30, "1" * 30),
        ("1e3", 1000.0),
        ("-3", -3),
        ("+.5", 0.5),
        ("True", True),
        ("~", None),
        ("", None),
        ("'5'", "5"),
        ('"true"', "true"),
    ],
)
def test_a_scalar_means_what_it_says(text: str, value: object) -> None:
    data, _ = parse(f"key: {text}", "f.yaml")
    assert data == {"key": value}
    assert type(data["key"]) in (type(value), Sexagesimal)


def test_only_an_unquoted_time_is_marked() -> None:
    data, _ = parse("a: 22:00\nb: '22:00'\nc: 22:00-06:00", "f.yaml")
    assert [isinstance(data[key], Sexagesimal) for key in "abc"] == [True, False, False]


def test_keys_are_text_as_written() -> None:
    data, places = parse("on: 1\n5: 2\nnull: 3", "f.yaml")
    assert data == {"on": 1, "5": 2, "null": 3}
    assert places.of_key(("5",)) == (2, 1)


def test_anchors_and_merge_keys() -> None:
    data, places = parse("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a", "f.yaml")
    assert data == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 2}}
    assert places.of(("b", "y")) == (2, 16)
    assert places.of(("b", "x")) == (1, 11)


BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 10)}]\n" for old, new in ("ab", "bc", "cd", "de", "ef", "fg")
)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml:3:1", "'a' is here twice (first in line 1)"),
        ("a: !secret x", "f.yaml:1:4", "only plain YAML"),
        ("a: !!python/name:os.system ''", "f.yaml:1:4", "only plain YAML"),
        ("a: *b", "f.yaml:1:4", "without its anchor"),
        ("a: &a [*a]", "f.yaml:1:4", "contains it"),
        ("a: b: c", "f.yaml:1:5", "second ':'"),
        ("a:\n\tb: 1", "f.yaml:2:1", "a tab"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1", "second document"),
        ("[" * 5000, "f.yaml:1:41", "nested"),
        ("a: \x07", "f.yaml:1:4", "control character"),
        ("? [a]\n: 1", "f.yaml:1:3", "a single word"),
        (BOMB, "f.yaml:", "expand"),
    ],
)
def test_what_is_not_plain_yaml_is_one_problem_with_its_place(text: str, place: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.yaml")
    assert str(caught.value).startswith(place)
    assert words in str(caught.value)
    assert len(caught.value.problems) == 1


def test_unreadable_files(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: 1\nb: caf\xe9")
    huge = tmp_path / "huge.yaml"
    huge.write_bytes(b"#" * (yamlfile.MAX_BYTES + 1))
    for path, words in (
        (latin, "latin.yaml:2:7: is not UTF-8"),
        (huge, "is larger than"),
        (tmp_path / "none.yaml", "No such file"),
        (tmp_path, "directory"),
    ):
        with pytest.raises(ConfigError, match=words):
            yamlfile.load(path)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_parses_or_is_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse(text, "f.yaml")


class Rule(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["occupied", "absent"]
    share: int | float
    hot: Switch = True


class Zones(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rules: dict[str, Rule]
    points: list[tuple[float, float]] = []
    classes: int | list[str] = 3
    node: str = ""
    one: Rule | None = None


def test_every_problem_at_once_in_plain_words() -> None:
    text = """\
rules:
  a: {kind: occupid, share: x, hto: 1}
  b: {kind: absent, hot: maybe}
  c: 5
node: 12
classes: {}
points: [[1, 2], [1]]
one: {share: 4, kind: absent, shar: 4}
noode: hunter2
"""
    data, places = parse(text, "f.yaml")
    with pytest.raises(ValidationError) as caught:
        Zones.model_validate(data)
    said = [str(problem) for problem in problems_from(caught.value, places, "f.yaml", Zones)]
    assert said == [
        "f.yaml:2:13: rules.a.kind: got 'occupid', expected 'occupied' or 'absent'; did you mean 'occupied'?",
        "f.yaml:2:29: rules.a.share: got 'x', expected a whole number or a number",
        "f.yaml:2:32: rules.a.hto: unknown key; did you mean 'hot'?",
        "f.yaml:3:6: rules.b.share: is missing",
        "f.yaml:3:26: rules.b.hot: got 'maybe', expected on or off",
        "f.yaml:4:6: rules.c: got 5, expected a mapping of keys to values",
        "f.yaml:5:7: node: got 12, expected text (quote it if it looks like a number)",
        "f.yaml:6:10: classes: got a mapping, expected a whole number or a list",
        "f.yaml:7:18: points[1][1]: is missing",
        "f.yaml:8:31: one.shar: unknown key; did you mean 'share'?",
        "f.yaml:9:1: noode: unknown key; did you mean 'node'?",
    ]
    assert not any("hunter2" in line or "pydantic" in line or "http" in line for line in said)


def test_credentials_are_not_quoted() -> None:
    assert yamlfile.quoted("rtsp://viewer:p@ss/w@10.0.0.5/x") == "'rtsp://***@10.0.0.5/x'"
    assert len(yamlfile.quoted("x" * 500)) <= 60


def test_of_a_file_in_which_all_is_wrong_the_first_mistakes_are_named() -> None:
    problems = [Problem("a.yaml", line, 1, "", "is wrong") for line in range(1, 500)]
    lines = str(ConfigError(problems)).split("\n")
    assert lines[0] == "a.yaml:1:1: is wrong"
    assert lines[-1] == f"a.yaml: and {len(problems) - len(lines) + 1} more problems"
    assert len(lines) < 100


def test_a_pipe_without_a_writer_is_an_empty_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    value, _ = yamlfile.load(pipe)
    assert value is None
