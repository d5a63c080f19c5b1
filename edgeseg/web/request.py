"""A request and its answer, free of any HTTP library."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

from edgeseg.errors import Problem

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Request:
    """One request. path: values of the route's placeholders. headers: names in lower case.

    remote: the other side's address. trusted: whether it may see everything: it has the token, or none is
    needed.
    """

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    remote: str = ""
    trusted: bool = True


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back. headers: beside Content-Type."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class RefusedError(Exception):
    """The request cannot be granted: an answer of 4xx or 503 in words, with all problems of a draft."""

    def __init__(self, status: int, message: str, problems: Sequence[Problem] = ()) -> None:
        self.status = status
        self.message = message
        self.problems = tuple(problems)
        super().__init__(message)

    def answer(self) -> Response:
        """``{"error", "problems"}``. A problem's file is left out: it is the pipeline file."""
        problems = [
            {"line": one.line, "column": one.column, "where": one.where, "message": one.message}
            for one in self.problems
        ]
        body = json.dumps({"error": self.message, "problems": problems}, ensure_ascii=False).encode()
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        return Response(self.status, body, headers=headers)


def json_response(shape: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer of JSON that is never cached."""
    body = shape.model_dump_json(by_alias=True).encode()
    return Response(status, body, headers={"Cache-Control": "no-store", **(headers or {})})
