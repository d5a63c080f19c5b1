"""/openapi.json: made of the table of routes and the shapes, so that it cannot say anything else."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from edgeseg import __version__
from edgeseg.config.keys.zones import ZoneFile
from edgeseg.web.routes import ROUTES, Route
from edgeseg.web.schemas import ErrorSchema, HealthSchema

_DESCRIPTION = """\
What the dashboard of edgeseg is made of, for other programs too. Where the pipeline file names a token, send
it as `Authorization: Bearer TOKEN`. Requests that change something must not come from another origin's page.

`/api/v1/live` is a WebSocket; it gives JSON messages `{"type": ..., ...}`:

- `hello`: `node`, `digest`.
- `occupancy`, `alert`, `camera` (a status), `stats`: as `data`, what MQTT subscribers get.
- `rule`: `data` with `camera`, `zone`, `rule`, `state`.
- `answer`: `camera`, `thing` (`enabled` or `rate`), `value` as text.
- `removed`: `camera`: it is no longer in force as it was; ask for /api/v1/cameras anew.
- `reload`: `digest` (in force now), `error` (why a new file was refused, or null).
- `picture`: `camera`, `version`: there is a newer picture than the one before. Only for cameras that the
  client watches: it sends `{"watch": ["yard"]}`, and `{"watch": []}` when nobody looks any more.

Of what comes faster than it can be sent, the newest occupancy of each zone is sent; no alert is left out.
"""
_ERRORS = {
    400: "Not what is described here.",
    401: "No token, or a wrong one.",
    403: "A Host or Origin that is not this server's.",
    404: "No such camera, zone or file.",
    409: "Not possible now: the file cannot be written, or is not what runs.",
    412: "The file was changed meanwhile: fetch the zones again.",
    422: "The draft has mistakes: all of them in `problems`.",
    428: "Send If-Match with the ETag of the zones.",
    429: "Too many wrong tokens; try again later.",
    503: "No picture, for the reason that `error` says.",
}
_PLACEHOLDER = re.compile(r"{(\w+)}")
_REF = "#/components/schemas/{model}"


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "edgeseg", "version": __version__, "description": _DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": {_component(name): _renamed(schema) for name, schema in _schemas().items()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def _operation(route: Route) -> dict[str, Any]:
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": "^[a-z0-9_-]{1,64}$"},
        }
        for name in _PLACEHOLDER.findall(route.path)
    ]
    parameters += [
        {"name": one.name, "in": "query", "schema": one.schema, "description": one.description}
        for one in route.query
    ]
    if route.if_match:
        parameters.append(
            {
                "name": "If-Match",
                "in": "header",
                "required": True,
                "schema": {"type": "string", "pattern": '^"[0-9a-f]{64}"$'},
                "description": "The ETag of the zones that were fetched.",
            }
        )
    said: dict[str, Any] = {
        "operationId": route.id,
        "summary": route.summary,
        "parameters": parameters,
        "responses": _responses(route),
    }
    if route.body is not None:
        name = ZoneFile.__name__ if isinstance(route.body, str) else route.body.__name__
        said["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(name)}}}
    if route.open:
        said["security"] = []
    return said


def _responses(route: Route) -> dict[str, Any]:
    if isinstance(route.answer, str):
        content: dict[str, Any] = {route.answer: {}}
    else:
        content = {"application/json": {"schema": _ref(route.answer.__name__)}}
    good: dict[str, Any] = {"description": route.summary, "content": content}
    if route.etag:
        good["headers"] = {"ETag": {"schema": {"type": "string"}, "description": "Digest of the file."}}
    refuses = {*route.refuses, 401, 403, 429} if not route.open or route.body else {*route.refuses, 403}
    responses = {str(route.status): good}
    for status in sorted(refuses):
        shape = route.answer if route.answer is HealthSchema and status == 503 else ErrorSchema
        assert not isinstance(shape, str)
        responses[str(status)] = {
            "description": _ERRORS[status],
            "content": {"application/json": {"schema": _ref(shape.__name__)}},
        }
    return responses


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=_component(name))}


def _component(name: str) -> str:
    """The name of a schema in the document, which clients are generated from: it stays as it was."""
    return f"{name.removesuffix('Schema')}Shape" if name.endswith("Schema") else name


def _renamed(schema: Any) -> Any:
    """A schema with the names of components in its references and titles."""
    if isinstance(schema, dict):
        return {
            key: _component(value) if key in ("$ref", "title") and isinstance(value, str) else _renamed(value)
            for key, value in schema.items()
        }
    return [_renamed(one) for one in schema] if isinstance(schema, list) else schema


def _schemas() -> dict[str, Any]:
    answers = {route.answer for route in ROUTES if isinstance(route.answer, type)} | {ErrorSchema}
    bodies = {route.body for route in ROUTES if isinstance(route.body, type)} | {ZoneFile}
    ordered: list[tuple[type[BaseModel], Any]] = [
        *((one, "serialization") for one in sorted(answers, key=lambda one: one.__name__)),
        *((one, "validation") for one in sorted(bodies, key=lambda one: one.__name__)),
    ]
    _, made = models_json_schema(ordered, ref_template=_REF)
    schemas: dict[str, Any] = made["$defs"]
    return schemas
