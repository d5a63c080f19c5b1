"""Problems: turns the errors of pydantic into messages with their places."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic_core import PydanticCustomError

from edgeseg.errors import Problem
from edgeseg.yamlfile.document import Places
from edgeseg.yamlfile.messages import KeyPath, dotted, quoted, suggestion

_SECRET_KEY = re.compile(r"password|passwd|secret|token|credential", re.IGNORECASE)


def _switch(value: object) -> object:
    switches = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in switches:
        return switches[value.lower()]
    raise PydanticCustomError("switch", "got {value}, expected on or off", {"value": quoted(value)})


Switch = Annotated[bool, BeforeValidator(_switch)]
"""A boolean field: on, off, yes, no, true, false."""


def problems_from(
    error: ValidationError, places: Places, file: str, schema: type[BaseModel] | None = None
) -> list[Problem]:
    """Return what pydantic found as problems, in the order of the file.

    schema: the model that was validated; with it an unknown key is answered by the nearest known one.
    """
    found: dict[tuple[KeyPath, str], list[str]] = {}
    for detail in error.errors(include_url=False):
        loc = detail["loc"]
        path = places.existing(loc)
        kind: str = detail["type"]
        if kind == "missing":
            where, message = (*places.existing(loc[:-1]), loc[-1]), "is missing"
        elif kind == "extra_forbidden":
            where, message = path, _unknown_key(str(loc[-1]), schema, path[:-1])
        else:
            where, message = path, _message(detail, path)
        messages = found.setdefault((where, "key" if kind in ("missing", "extra_forbidden") else "value"), [])
        if message not in messages:
            messages.append(message)
    problems = []
    for (where, about), messages in found.items():
        place = places.of_key(where) if about == "key" else places.of(where)
        problems.append(Problem(file, *place, dotted(where), _joined(messages)))
    return sorted(problems, key=lambda problem: (problem.line, problem.column))


_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text (quote it if it looks like a number)",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping of names to values",
    "model": "a mapping of keys to values",
    "finite": "a finite number",
}


def _message(detail: Mapping[str, Any], path: KeyPath) -> str:
    kind: str = detail["type"]
    context: Mapping[str, Any] = detail.get("ctx") or {}
    if kind == "value_error":
        return str(context["error"])
    # The messages of pydantic's own types have no input of ours in them; those of other types are complete.
    message = str(detail["msg"])
    secret = any(_SECRET_KEY.search(str(part)) for part in path)
    got = "a value that is not shown" if secret else quoted(detail["input"])
    if kind == "literal_error":
        choices = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        text = detail["input"] if isinstance(detail["input"], str) else ""
        hint = suggestion(text, choices) if text and not secret else ""
        hint = hint if "did you mean" in hint else ""
        return f"got {got}, expected {context['expected']}{hint}"
    if kind == "int_from_float":
        return f"got {got}, expected a whole number"
    stem, _, ending = kind.partition("_")
    if ending in ("type", "parsing", "attributes_type", "number", "parsing_size") and stem in _EXPECTED:
        return f"got {got}, expected {_EXPECTED[stem]}"
    if kind in ("too_short", "too_long"):
        want = context.get("min_length", context.get("max_length"))
        bound = "at least" if kind == "too_short" else "at most"
        return f"{context.get('actual_length', '?')} entries, need {bound} {want}"
    if message.startswith(("Input should be ", "String should ")):
        rest = message.removeprefix("Input should be ").removeprefix("String should ")
        return f"got {got}, expected {rest.replace('match pattern', 'text that matches')}"
    return message


def _unknown_key(key: str, schema: type[BaseModel] | None, parent: KeyPath) -> str:
    known: set[str] = set()
    if schema is not None:
        for model in _models_at(schema, parent):
            known |= {field.alias or name for name, field in model.model_fields.items()}
    return f"unknown key{suggestion(key, known)}"


def _models_at(schema: object, path: KeyPath) -> set[type[BaseModel]]:
    """The pydantic models that may stand at ``path`` under ``schema``, whatever union they are in."""
    if get_origin(schema) is Annotated:
        return _models_at(get_args(schema)[0], path)
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        if not path:
            return {schema}
        fields = {field.alias or name: field.annotation for name, field in schema.model_fields.items()}
        return _models_at(fields[str(path[0])], path[1:]) if path[0] in fields else set()
    origin, arguments = get_origin(schema), get_args(schema)
    if origin is Literal or not arguments:
        return set()
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _models_at(arguments[1], path[1:]) if path else set()
    if isinstance(origin, type) and issubclass(origin, (list, tuple)):
        found: set[type[BaseModel]] = set()
        if path:
            found.update(*(_models_at(item, path[1:]) for item in arguments))
        return found
    return set().union(*(_models_at(argument, path) for argument in arguments))


def _joined(messages: list[str]) -> str:
    """Join the messages of a union's branches about one value: the value once, then all that it could be."""
    head, separator, _ = messages[0].partition(", expected ")
    if separator and all(message.startswith(head + separator) for message in messages):
        return head + separator + " or ".join(message.removeprefix(head + separator) for message in messages)
    return "; ".join(messages)
