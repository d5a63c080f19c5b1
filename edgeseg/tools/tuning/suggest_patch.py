"""Suggestion patch: the pipeline file with suggested settings, otherwise unchanged."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from edgeseg.config.units import area_text, duration_text, share_text
from edgeseg.errors import EdgesegError
from edgeseg.settings import RuleSettings
from edgeseg.tools.tuning.grid import changed_keys
from edgeseg.tools.tuning.sweep import SweepResult
from edgeseg.yamlfile import load
from edgeseg.yamlfile.rewrite import RewriteError, with_mapping


def key_texts(rule: RuleSettings) -> dict[str, str]:
    """What can be tuned, as it is written in a pipeline file."""
    texts = {}
    if rule.enter is not None and rule.leave is not None:
        texts = {"enter": _threshold(rule, rule.enter), "leave": _threshold(rule, rule.leave)}
    return {**texts, "for": duration_text(rule.for_s), "clear": duration_text(rule.clear_s)}


def _threshold(rule: RuleSettings, value: float) -> str:
    if rule.ground_m2 is None:
        return share_text(round(value, 6))
    return area_text(round(value * rule.ground_m2, 3))


def changes(swept: SweepResult) -> dict[str, str]:
    """The keys to change and what to write there; empty where today's setting is the one to suggest."""
    suggested = swept.grid.rules[swept.suggested]
    new = {
        key: text for key, text in key_texts(suggested).items() if key in changed_keys(swept.rule, suggested)
    }
    # What is left out follows from others: enter decides leave, for decides clear. Said, it stays.
    if "enter" in new:
        new["leave"] = key_texts(suggested)["leave"]
    if "leave" in new and swept.rule.ground_m2 is not None:
        new["enter"] = key_texts(suggested)["enter"]
    if "for" in new:
        new["clear"] = key_texts(suggested)["clear"]
    return new


def patched(path: Path, camera: str, results: Sequence[SweepResult]) -> str:
    """The file's text with every suggestion in it. Raises EdgesegError where the file is written in a way
    that a program cannot change."""
    text = path.read_text(encoding="utf-8-sig")
    data, _ = load(path)
    for swept in results:
        steps = ("cameras", camera, "zones", swept.zone, "rules", swept.rule.name)
        rule = data
        for step in steps:
            assert isinstance(rule, dict), "the file was read before"
            rule = rule[step]
        assert isinstance(rule, dict), "the file was read before"
        try:
            text = with_mapping(text, steps, {**rule, **changes(swept)})
        except RewriteError as error:
            raise EdgesegError(f"{path}: {error}; write the suggestion into it by hand") from None
    return text


def difference(path: Path, text: str) -> str:
    """A unified diff from the file to ``text``, for people and for patch(1)."""
    before = path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    after = text.splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, str(path), str(path)))
