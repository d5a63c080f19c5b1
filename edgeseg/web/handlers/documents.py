"""Document handlers: the API's description and Prometheus metrics."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from edgeseg.web.metrics import CONTENT_TYPE, Metrics
from edgeseg.web.request import Request, Response


class DocumentHandlers:
    """Handlers for ``server``. Thread-safe. openapi: makes the document, once."""

    def __init__(self, metrics: Metrics, openapi: Callable[[], dict[str, Any]]) -> None:
        self._metrics = metrics
        self._openapi = openapi
        self._document: bytes | None = None

    def openapi(self, request: Request) -> Response:
        if self._document is None:
            self._document = json.dumps(self._openapi(), ensure_ascii=False).encode()
        return Response(200, self._document)

    def scrape(self, request: Request) -> Response:
        return Response(200, self._metrics.text(), CONTENT_TYPE)
