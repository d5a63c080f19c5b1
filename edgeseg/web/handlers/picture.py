"""Answers that are pictures, or come of the newest one."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from edgeseg.clock import iso_utc
from edgeseg.drawing.snapshot import Snapshot
from edgeseg.runtime.running_camera import RunningCamera
from edgeseg.web import draft_preview, schemas
from edgeseg.web.daemon_view import DaemonView
from edgeseg.web.latest import LatestValues
from edgeseg.web.picture_cache import FRESH_S, Overlay, PictureCache
from edgeseg.web.request import RefusedError, Request, Response, json_response

# A page that opens has to wait for the first picture; a camera of one frame in 10 s is not waited for.
_FIRST_WITHIN_S = 2.5

Shape = TypeVar("Shape", bound=BaseModel)


class PictureHandlers:
    """Handlers for ``server``. Thread-safe."""

    def __init__(self, daemon: DaemonView, latest: LatestValues, pictures: PictureCache) -> None:
        self._daemon = daemon
        self._latest = latest
        self._pictures = pictures

    def picture(self, request: Request) -> Response:
        running, shown = self._daemon.camera(request.path["camera"]), overlay_of(request)
        return self.jpeg(running, self._newest(running), shown)

    def jpeg(self, running: RunningCamera, snapshot: Snapshot, shown: Overlay) -> Response:
        body = self._pictures.jpeg(snapshot, running.model, shown)
        return Response(200, body, "image/jpeg", _headers(snapshot))

    def labels(self, request: Request) -> Response:
        running = self._daemon.camera(request.path["camera"])
        snapshot = self._newest(running)
        return Response(
            200, self._pictures.labels_png(snapshot, running.model), "image/png", _headers(snapshot)
        )

    def measure(self, request: Request) -> Response:
        running, draft = self._daemon.camera(request.path["camera"]), body_of(request, schemas.DraftSchema)
        area = draft_preview.area(draft)
        snapshot = self._newest(running)
        seen = draft_preview.measure(area, snapshot, running.model, self._daemon.settings.groups)
        assert seen.coverage is not None
        assert seen.uncertain is not None
        return json_response(
            schemas.MeasureSchema(
                captured_at=iso_utc(seen.time.captured_at_s),
                coverage={name: round(min(share, 1.0), 4) for name, share in seen.coverage.items()},
                uncertain=round(min(seen.uncertain, 1.0), 4),
                dominant=seen.dominant,
                confidence=seen.confidence,
            )
        )

    def why_none(self, camera: str) -> RefusedError:
        """Why there is no picture."""
        status = self._latest.standing(camera).status
        if status is None or status.state == "live":
            return RefusedError(503, f"camera {camera}: no picture was analysed yet")
        reason = f" ({status.reason})" if status.reason else ""
        return RefusedError(503, f"camera {camera}: no picture, it is {status.state}{reason}")

    def _newest(self, running: RunningCamera) -> Snapshot:
        """Raises RefusedError (503)."""
        camera = running.settings.name
        age_s, version = self._pictures.age_s(camera), self._pictures.version(camera)
        self._pictures.watch(camera)
        snapshot = None
        if age_s is None or age_s > 2 * FRESH_S:
            snapshot = self._pictures.newest(camera, after=version, timeout_s=_FIRST_WITHIN_S)
        snapshot = snapshot or self._pictures.newest(camera)
        if snapshot is None:
            raise self.why_none(camera)
        return snapshot


def overlay_of(request: Request) -> Overlay:
    """Raises RefusedError (400)."""
    shown = request.query.get("overlay", "none")
    if shown == "none":
        return "none"
    if shown == "classes":
        return "classes"
    raise RefusedError(400, f"overlay: got {shown[:20]!r}, expected none or classes")


def body_of(request: Request, shape: type[Shape]) -> Shape:
    """Raises RefusedError (400)."""
    try:
        return shape.model_validate_json(request.body)
    except ValidationError as error:
        where = "; ".join(
            f"{'.'.join(str(step) for step in detail['loc']) or 'the body'}: {detail['msg']}"
            for detail in error.errors(include_url=False, include_input=False, include_context=False)[:5]
        )
        raise RefusedError(400, where) from None


def _headers(snapshot: Snapshot) -> dict[str, str]:
    return {
        "Cache-Control": "no-store",
        "ETag": f'"{snapshot.version}"',
        "X-Captured-At": iso_utc(snapshot.frame.time.captured_at_s),
    }
