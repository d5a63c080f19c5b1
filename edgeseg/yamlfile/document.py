"""Document: reads a YAML file with the place of everything in it.

PyYAML reads YAML 1.1, in which ``no`` is False, ``22:00`` is 1320, ``0123`` is 83, ``1e3`` is text and a
repeated key silently wins. Here plain scalars follow the YAML 1.2 core schema instead: ``true``,
``false``, ``null``, decimal integers and decimal floats are values, all else is text exactly as written.
Fields that want a switch take ``Switch``; fields that want a time of day can refuse ``Sexagesimal``.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from edgeseg.errors import ConfigError, Problem
from edgeseg.yamlfile.messages import KeyPath, PathPart, dotted, quoted

# A pipeline of eight cameras is about 10 KB; PyYAML needs about a second for 512 KiB.
MAX_BYTES = 512 * 1024
MAX_DEPTH = 40
# Aliases are expanded: nine levels of nine references would be 400 million values.
MAX_VALUES = 50_000

# More digits than a float or an int64 can hold are text, so that the schema refuses them.
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(?=[0-9]*[.eE])((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")


class Sexagesimal(str):
    """Unquoted text such as ``22:00`` that other YAML readers take for a number to base 60."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Places:
    """Where the values and keys of a document stand.

    values, keys: path from the root, e.g. ``("cameras", "yard", "zones", 0)`` -> (line, column) from 1.
    digest: sha256 of the file's bytes, lower-case hex.
    """

    file: str
    digest: str
    values: Mapping[KeyPath, tuple[int, int]]
    keys: Mapping[KeyPath, tuple[int, int]]

    def of(self, path: Iterable[PathPart]) -> tuple[int, int]:
        """Return (line, column) of the value at ``path``, or of the nearest value around it that exists."""
        existing = tuple(path)
        while existing and existing not in self.values:
            existing = existing[:-1]
        return self.values.get(existing, (0, 0))

    def of_key(self, path: Iterable[PathPart]) -> tuple[int, int]:
        """Return (line, column) of the last key of ``path``, or else of the value."""
        whole = tuple(path)
        return self.keys.get(whole) or self.of(whole)

    def existing(self, path: Iterable[PathPart]) -> KeyPath:
        """Return ``path`` without the parts that are not in the document (pydantic names union branches)."""
        found: KeyPath = ()
        for part in path:
            if (*found, part) in self.values:
                found = (*found, part)
        return found


def load(path: Path) -> tuple[object, Places]:
    """Parse one YAML document: mappings with text keys, lists, text, int, float, bool, None.

    Raises ConfigError: unreadable, larger than MAX_BYTES, not UTF-8, not YAML, several documents,
    duplicate keys, custom tags, nested or expanded beyond bounds.
    """
    file = str(path)
    try:
        with open(path, "rb", opener=_open_without_waiting) as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _bad(file, f"cannot be read: {error.strerror or error}") from None
    if len(raw) > MAX_BYTES:
        raise _bad(file, f"is larger than {MAX_BYTES} bytes; this is no settings file")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        raise _bad(file, "is not UTF-8 text here; save the file as UTF-8", (line, column)) from None
    return parse(text, file, hashlib.sha256(raw).hexdigest())


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a named pipe without waiting for a writer: one that has none is an empty file."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return descriptor


def parse(text: str, file: str, digest: str = "") -> tuple[object, Places]:
    """``load`` for text that is already in memory; ``file`` is what problems name."""
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = (before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise _bad(file, f"has a control character (#x{ord(text[error.position]):02x}) here", place) from None
    except yaml.MarkedYAMLError as error:
        raise _bad(file, _syntax(error), _mark(error.problem_mark or error.context_mark)) from None
    builder = _Builder(file)
    data = builder.build(root, (), ()) if root is not None else None
    if builder.problems:
        raise ConfigError(builder.problems)
    return data, Places(file, digest, builder.values, builder.keys)


class _RefusedError(yaml.MarkedYAMLError):
    """Valid YAML that a settings file has no use for."""


class _Loader(yaml.SafeLoader):
    """Composes nodes, never Python objects; the composer recurses, so its depth is bounded."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise _RefusedError(None, None, "a tag (!name); only plain YAML is read", event.start_mark)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _RefusedError(None, None, f"nested more than {MAX_DEPTH} deep", event.start_mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


class _Builder:
    """Turns nodes into values and keeps the place of each."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.values: dict[KeyPath, tuple[int, int]] = {}
        self.keys: dict[KeyPath, tuple[int, int]] = {}
        self.problems: list[Problem] = []

    def build(self, node: yaml.Node, path: KeyPath, open_nodes: tuple[int, ...]) -> object:
        self.values[path] = _mark(node.start_mark)
        if len(self.values) > MAX_VALUES:
            message = f"its aliases expand to more than {MAX_VALUES} values"
            raise _bad(self.file, message, self.values[path])
        if id(node) in open_nodes:
            self._problem(node, path, "an alias to something that contains it")
            return None
        inside = (*open_nodes, id(node))
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, i), inside) for i, item in enumerate(node.value)]
        assert isinstance(node, yaml.MappingNode)
        return self._mapping(node, path, inside)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, inside: tuple[int, ...]) -> dict[str, object]:
        result: dict[str, object] = {}
        own: dict[str, tuple[int, int]] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, path, "a key must be a single word or quoted text")
                continue
            if key_node.value == "<<" and key_node.style is None:
                merged += value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                continue
            key = str(key_node.value)
            place: KeyPath = (*path, key)
            if key in own:
                first = own[key][0]
                self._problem(key_node, path, f"the key {quoted(key)} is here twice (first in line {first})")
                continue
            own[key] = _mark(key_node.start_mark)
            self.keys[place] = own[key]
            result[key] = self.build(value_node, place, inside)
        for source in merged:
            self._merge(source, path, inside, result)
        return result

    def _merge(
        self, source: yaml.Node, path: KeyPath, inside: tuple[int, ...], into: dict[str, object]
    ) -> None:
        if not isinstance(source, yaml.MappingNode) or id(source) in inside:
            self._problem(source, path, "<< takes an alias to a mapping that is complete by then")
            return
        for key_node, value_node in source.value:
            key = str(key_node.value)
            if not isinstance(key_node, yaml.ScalarNode) or key in into:
                continue
            if key == "<<":
                self._merge(value_node, path, (*inside, id(source)), into)
                continue
            place: KeyPath = (*path, key)
            self.keys[place] = _mark(key_node.start_mark)
            into[key] = self.build(value_node, place, inside)

    def _problem(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        self.problems.append(Problem(self.file, *_mark(node.start_mark), dotted(path), message))


def _scalar(node: yaml.ScalarNode) -> object:
    text = str(node.value)
    if node.style is not None:
        return text
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    return Sexagesimal(text) if _SEXAGESIMAL.fullmatch(text) else text


def _syntax(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "not YAML"
    if isinstance(error, _RefusedError):
        return problem
    if "'\\t'" in problem:
        return "a tab here; YAML indents with spaces"
    if "mapping values are not allowed" in problem:
        return "a second ':' in one line, or a line indented too far; quote text that contains ': '"
    if "found undefined alias" in problem:
        return "an alias (*name) without its anchor (&name); quote text that begins with *"
    if "single document" in (error.context or ""):
        return "a second document begins here (---); one file holds one"
    context = f" {error.context}" if error.context else ""
    return f"not valid YAML: {problem}{context}"


def _mark(mark: yaml.Mark | None) -> tuple[int, int]:
    return (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)


def _bad(file: str, message: str, place: tuple[int, int] = (0, 0)) -> ConfigError:
    return ConfigError([Problem(file, *place, "", message)])
