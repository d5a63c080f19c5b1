"""model.yaml as text: written for a new model, and changed in one place without losing a comment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from edgeseg.errors import ModelError


def fresh(
    name: str,
    title: str,
    licence: str,
    size_px: tuple[int, int],
    classes: Sequence[str],
    artefact: Mapping[str, Any],
) -> str:
    """The manifest of a deploy graph with one artefact, whose colours are Pascal VOC's."""
    head = yaml.safe_dump({"name": name, "title": title, "licence": licence}, sort_keys=False, width=1000)
    entries = [{"name": one, "colour": list(_voc_colour(index + 1))} for index, one in enumerate(classes)]
    return (
        f"{head}\n# Made by `edgeseg models import`.\nartefacts:\n{_entry(artefact, indent=2)}\n"
        "# The deploy graph: normalisation folded in, labels and confidence straight out.\n"
        f"input:\n  name: pictures\n  size: {size_px[0]}x{size_px[1]}\n  multiple_of: 32\n\n"
        "fit: letterbox\n\n"
        "output:\n  form: deploy\n  names: {labels: labels, confidence: confidence}\n\n"
        f"classes:\n{_indented(yaml.safe_dump(entries, sort_keys=False, default_flow_style=None), 2)}"
    )


def with_artefact(text: str, artefact: Mapping[str, Any], replaced: str | None, note: str = "") -> str:
    """The manifest with one more artefact, in the place of the one whose file is ``replaced`` or else first.

    A flavour other than ``cpu`` goes last instead: no CPU shall choose it. note: a comment inside the entry.
    Everything else stays as it is, to the byte. Raises ModelError where the list of artefacts is written in
    brackets, where a text cannot be put in between.
    """
    text = text if text.endswith("\n") else f"{text}\n"
    lines = text.splitlines(keepends=True)
    listed = _list_of_artefacts(yaml.compose(text, yaml.SafeLoader))
    first = listed.value[0].start_mark.line
    if listed.flow_style or listed.value[0].flow_style or "-" not in lines[first]:
        raise ModelError("model.yaml: artefacts is in brackets; write one `- file:` under the other")
    entry = _entry(artefact, indent=lines[first].index("-"), note=note)
    for node in listed.value:
        if _file(node) == replaced:
            begin, end = node.start_mark.line, _last_line(node) + 1
            break
    else:
        begin = end = first if artefact.get("flavour", "cpu") == "cpu" else _last_line(listed) + 1
    return "".join([*lines[:begin], entry, *lines[end:]])


def _list_of_artefacts(document: yaml.Node | None) -> yaml.SequenceNode:
    assert isinstance(document, yaml.MappingNode), "the manifest was loaded before"
    for key, value in document.value:
        if key.value == "artefacts" and isinstance(value, yaml.SequenceNode):
            return value
    raise AssertionError("the manifest was loaded before")


def _file(entry: yaml.MappingNode) -> str | None:
    return next((value.value for key, value in entry.value if key.value == "file"), None)


def _last_line(node: yaml.Node) -> int:
    """Of a block collection, whose own end mark lies behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(node, yaml.MappingNode) else last)
    return int(node.end_mark.line)


def _entry(artefact: Mapping[str, Any], indent: int, note: str = "") -> str:
    dumped = yaml.safe_dump([dict(artefact)], sort_keys=False, default_flow_style=None, width=1000)
    # safe_dump puts a mapping without collections into braces.
    if dumped.startswith("- {"):
        dumped = yaml.safe_dump([dict(artefact)], sort_keys=False, default_flow_style=False, width=1000)
    if note:
        head, rest = dumped.split("\n", 1)
        dumped = f"{head}\n  # {note}\n{rest}"
    return _indented(dumped, indent)


def _indented(text: str, indent: int) -> str:
    return "".join(" " * indent + line for line in text.splitlines(keepends=True))


def _voc_colour(index: int) -> tuple[int, int, int]:
    """Pascal VOC's colour map: the bits of the index, dealt out to the channels from the top."""
    colour = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            colour[channel] |= (index >> (3 * place + channel) & 1) << (7 - place)
    return colour[0], colour[1], colour[2]
