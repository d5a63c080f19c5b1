"""Rewrite: changes one mapping of a YAML file and nothing else; comments, order and spacing stay.

Only the lines of the mapping are written anew, and of these only what is another value. Where the file is
written so that its lines are not enough (flow style, aliases), the whole document goes through ruamel.yaml,
which keeps comments and order and may change spacing. Whatever comes out is read again and compared with
what it should mean before it is written.
"""

from __future__ import annotations

import copy
import io
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from edgeseg.errors import ConfigError
from edgeseg.yamlfile.document import Places, parse
from edgeseg.yamlfile.messages import KeyPath, dotted

# A line for each list, however long.
_WIDTH = 100_000
# What needs no quotes by any reader of YAML; ``22:00`` would.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ %./-]*")
_KEPT_SUFFIX = ".bak"


class RewriteError(ValueError):
    """The file is written in a way that cannot be changed by a program."""


def with_mapping(text: str, path: KeyPath, value: Mapping[str, object] | None) -> str:
    """Return the document with the mapping at ``path`` set to ``value``, or without it (None).

    value: mappings, lists, text, numbers, bools. Mappings above are made where they are missing; one that
    would be left empty goes too. Raises ConfigError for text that is no settings file, RewriteError.
    """
    data, _ = parse(text, "")
    wanted = _changed(data, path, value)
    for way in (_line_by_line, _spliced, _round_tripped):
        with suppress(YAMLError, RewriteError, ConfigError, KeyError, TypeError):
            made = way(text, path, value)
            if parse(made, "")[0] == wanted:
                return made
    raise RewriteError(f"{dotted(path)}: the file is written in a way that only a person can change")


def write_file(path: Path, text: str) -> Path:
    """Put ``text`` in the file's place: whole or not at all, with its mode, and its owner where that may be.

    Returns where the version before is kept, beside it. Raises OSError.
    """
    path = path.resolve()
    before = path.stat()
    partial, kept = (path.with_name(f".{path.name}.{what}") for what in ("partial", "before"))
    target = path.with_name(path.name + _KEPT_SUFFIX)
    for left in (partial, kept):
        left.unlink(missing_ok=True)
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            with suppress(PermissionError):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.fchmod(file.fileno(), before.st_mode & 0o7777)
            os.fsync(file.fileno())
        # A second name first: at no time is there no file.
        os.link(path, kept)
        kept.replace(target)
        partial.replace(path)
    finally:
        for left in (partial, kept):
            left.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return target


def _changed(data: object, path: KeyPath, value: Mapping[str, object] | None) -> object:
    root = copy.deepcopy(data)
    if not isinstance(root, dict):
        raise RewriteError("the file holds no keys")
    above: list[tuple[dict[str, Any], str]] = []
    here: Any = root
    for part in path[:-1]:
        if not isinstance(here, dict):
            raise RewriteError(f"{dotted(path)}: what is above it is no mapping")
        above.append((here, str(part)))
        here = here.setdefault(str(part), {})
    if not isinstance(here, dict):
        raise RewriteError(f"{dotted(path)}: what is above it is no mapping")
    if value is None:
        here.pop(str(path[-1]), None)
        if not here and above:
            holder, key = above[-1]
            del holder[key]
    else:
        here[str(path[-1])] = dict(value)
    return root


def _line_by_line(text: str, path: KeyPath, value: object, depth: int = 0) -> str:
    """Change only keys that have another value, each by itself."""
    held = parse(text, "")[0]
    for part in path:
        held = held[part] if isinstance(held, dict) and part in held else None
    if not isinstance(held, dict) or not isinstance(value, Mapping):
        return _spliced(text, path, value, depth)
    for key, one in value.items():
        if key not in held or _differ(held[key], one):
            text = _line_by_line(text, (*path, key), one, depth + 1)
    for key in held.keys() - value.keys():
        text = _spliced(text, (*path, key), None, depth + 1)
    return text


def _spliced(text: str, path: KeyPath, value: object, depth: int = 0) -> str:
    """Write the lines of one key anew, or remove them (None). depth: below what is being changed."""
    _, places = parse(text, "")
    lines = text.splitlines(keepends=True)
    newline = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += newline
    name = str(path[-1])
    if value is None:
        siblings = [other for other in places.keys if other[:-1] == path[:-1]]
        first, last, _ = _block(lines, places, path[:-1] if len(siblings) == 1 else path)
        return "".join(lines[:first] + lines[last:])
    if path in places.keys:
        first, last, column = _block(lines, places, path)
        snippet = "".join(line[column:] if line[:column].isspace() else line for line in lines[first:last])
        held = _ruamel().load(snippet)
        _merge(held, name, value, depth)
    else:
        held, above = CommentedMap({name: _styled(value, depth)}), path[:-1]
        while above not in places.keys:
            held, above = CommentedMap({str(above[-1]): held}), above[:-1]
        _, last, column = _block(lines, places, above)
        children = [place[1] - 1 for other, place in places.keys.items() if other[:-1] == above]
        first, column = last, min(children, default=column + 2)
    stream = io.StringIO()
    _ruamel().dump(held, stream)
    written = [" " * column + line if line.strip() else line for line in stream.getvalue().splitlines()]
    return "".join([*lines[:first], *(line + newline for line in written), *lines[last:]])


def _block(lines: list[str], places: Places, path: KeyPath) -> tuple[int, int, int]:
    """Return (first line, line after the last, column) of a key in block style, from 0.

    Comments after its last value belong to what follows. Raises RewriteError.
    """
    line, column = places.keys[path]
    first, column = line - 1, column - 1
    if lines[first][:column].strip():
        raise RewriteError("in flow style")
    last = first + 1
    for number in range(first + 1, len(lines)):
        stripped = lines[number].strip()
        if not stripped or stripped.startswith("#"):
            continue
        if len(lines[number]) - len(lines[number].lstrip(" ")) <= column:
            break
        last = number + 1
    return first, last, column


def _round_tripped(text: str, path: KeyPath, value: object) -> str:
    ruamel = _ruamel()
    root = ruamel.load(text)
    above: list[tuple[Any, str]] = []
    here = root
    for part in path[:-1]:
        above.append((here, str(part)))
        if part not in here:
            here[part] = CommentedMap()
        here = here[part]
    name = str(path[-1])
    if value is None:
        del here[name]
        if not here:
            holder, key = above[-1]
            del holder[key]
    else:
        _merge(here, name, value, depth=0)
    stream = io.StringIO()
    ruamel.dump(root, stream)
    return stream.getvalue()


def _merge(holder: Any, key: str, value: object, depth: int) -> None:
    """Change only what is another value: what stays keeps its style and its comments."""
    held = holder.get(key)
    if isinstance(held, Mapping) and isinstance(value, Mapping):
        for gone in [name for name in held if name not in value]:
            del held[gone]  # type: ignore[attr-defined]
        for name, one in value.items():
            _merge(held, name, one, depth + 1)
    elif key not in holder or _differ(held, value):
        holder[key] = _styled(value, depth)


def _differ(held: object, value: object) -> bool:
    """Return whether two values differ; 1 and true are equal to Python alone."""
    return held != value or isinstance(held, bool) != isinstance(value, bool)


def _styled(value: object, depth: int) -> object:
    """Return a value styled as a person would write it: lists and innermost mappings in one line."""
    if isinstance(value, Mapping):
        made = CommentedMap({key: _styled(one, depth + 1) for key, one in value.items()})
        if depth > 0 and not any(isinstance(one, Mapping) for one in value.values()):
            made.fa.set_flow_style()
        return made
    if isinstance(value, (list, tuple)):
        listed = CommentedSeq([_styled(one, depth + 1) for one in value])
        listed.fa.set_flow_style()
        return listed
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        return DoubleQuotedScalarString(value)
    return value


def _ruamel() -> YAML:
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = _WIDTH
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml
