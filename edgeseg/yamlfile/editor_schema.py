"""Editor schema: makes the JSON Schema of a file for completion and help in an editor."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def editor_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of ``schema``.

    Definitions have the ``title`` of their class in place of its name.
    """
    made = schema.model_json_schema(by_alias=True)
    parts = made.pop("$defs", {})
    titles = {name: str(part["title"]) for name, part in parts.items()}
    definitions = {
        _key(titles[name]): {"title": titles[name], **_tidy(part, titles)} for name, part in parts.items()
    }
    described = {"$schema": DIALECT, "title": made["title"], **_tidy(made, titles)}
    return {**described, "$defs": definitions} if definitions else described


def _key(title: str) -> str:
    return title.lower().replace(" ", "_")


def _tidy(node: Any, titles: dict[str, str]) -> Any:
    """Remove nulls, as optional keys are left out of a file, and pydantic's titles, which repeat the key."""
    if isinstance(node, list):
        return [_tidy(item, titles) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _tidy(value, titles) for key, value in node.items()}
    if node.get("default", ...) is None:
        del node["default"]
    # A key that is called title has a mapping here: what is text is a title.
    if isinstance(node.get("title"), str):
        del node["title"]
    if isinstance(node.get("$ref"), str):
        node["$ref"] = f"#/$defs/{_key(titles[node['$ref'].removeprefix('#/$defs/')])}"
    branches = [branch for branch in node.get("anyOf", ()) if branch != {"type": "null"}]
    if len(branches) == 1:
        del node["anyOf"]
        node = {**branches[0], **node}
    elif branches:
        node["anyOf"] = branches
    return node
