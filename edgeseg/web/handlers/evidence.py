"""Answers that are kept on disk: pictures and clips of alerts."""

from __future__ import annotations

from edgeseg.web.daemon_view import DaemonView
from edgeseg.web.request import RefusedError, Request, Response

_TYPES = {"jpg": "image/jpeg", "mp4": "video/mp4", "mkv": "video/x-matroska"}
# A file of that name never changes. Whoever may see it may keep it for as long as it is looked at.
_HEADERS = {"Cache-Control": "private, max-age=3600, immutable"}


class EvidenceHandlers:
    """Handlers for ``server``. Thread-safe."""

    def __init__(self, daemon: DaemonView) -> None:
        self._daemon = daemon

    def evidence_picture(self, request: Request) -> Response:
        part = request.path["part"]
        if part not in ("before", "after"):
            raise RefusedError(404, f"no picture {part!r}: there are before and after")
        return self._file(request.path["alert"], part)

    def evidence_clip(self, request: Request) -> Response:
        return self._file(request.path["alert"], "clip")

    def _file(self, alert: str, part: str) -> Response:
        """Raises RefusedError (404)."""
        room = self._daemon.evidence
        found = room.file(alert, part) if room is not None else None
        if found is None:
            raise RefusedError(404, f"nothing is kept of alert {alert!r} by that name (any more)")
        return Response(200, found.data, _TYPES[found.suffix], _HEADERS)
