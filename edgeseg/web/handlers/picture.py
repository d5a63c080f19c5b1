"""Answers that are pictures, or come of the newest one."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from edgeseg.clock import iso_utc
from edgeseg.runtime.running_camera import RunningCamera
from edgeseg.web import draft_preview, schemas
from edgeseg.web.daemon_view import DaemonView
from edgeseg.web.latest import Board
from edgeseg.web.picture_cache import FRESH_S, Overlay, PictureCache, Shot
from edgeseg.web.request import Answer, Call, RefusedError, of

# A page that opens has to wait for the first picture; a camera of one frame in 10 s is not waited for.
_FIRST_WITHIN_S = 2.5

Shape = TypeVar("Shape", bound=BaseModel)


class PictureHandlers:
    """Handlers for ``server``. Thread-safe."""

    def __init__(self, running: DaemonView, board: Board, album: PictureCache) -> None:
        self._running = running
        self._board = board
        self._album = album

    def picture(self, call: Call) -> Answer:
        post, shown = self._running.post(call.path["camera"]), overlay_of(call)
        return self.jpeg(post, self._newest(post), shown)

    def jpeg(self, post: RunningCamera, shot: Shot, shown: Overlay) -> Answer:
        body = self._album.jpeg(shot, post.model, shown)
        return Answer(200, body, "image/jpeg", _headers(shot))

    def labels(self, call: Call) -> Answer:
        post = self._running.post(call.path["camera"])
        shot = self._newest(post)
        return Answer(200, self._album.labels_png(shot, post.model), "image/png", _headers(shot))

    def measure(self, call: Call) -> Answer:
        post, draft = self._running.post(call.path["camera"]), body_of(call, schemas.DraftShape)
        area = draft_preview.area(draft)
        shot = self._newest(post)
        seen = draft_preview.measure(area, shot, post.model, self._running.settings.groups)
        assert seen.coverage is not None
        assert seen.uncertain is not None
        return of(
            schemas.MeasureShape(
                captured_at=iso_utc(seen.time.captured_at_s),
                coverage={name: round(min(share, 1.0), 4) for name, share in seen.coverage.items()},
                uncertain=round(min(seen.uncertain, 1.0), 4),
                dominant=seen.dominant,
                confidence=seen.confidence,
            )
        )

    def why_none(self, camera: str) -> RefusedError:
        """Why there is no picture."""
        status = self._board.standing(camera).status
        if status is None or status.state == "live":
            return RefusedError(503, f"camera {camera}: no picture was analysed yet")
        reason = f" ({status.reason})" if status.reason else ""
        return RefusedError(503, f"camera {camera}: no picture, it is {status.state}{reason}")

    def _newest(self, post: RunningCamera) -> Shot:
        """Raises RefusedError (503)."""
        camera = post.settings.name
        age_s, version = self._album.age_s(camera), self._album.version(camera)
        self._album.watch(camera)
        shot = None
        if age_s is None or age_s > 2 * FRESH_S:
            shot = self._album.newest(camera, after=version, timeout_s=_FIRST_WITHIN_S)
        shot = shot or self._album.newest(camera)
        if shot is None:
            raise self.why_none(camera)
        return shot


def overlay_of(call: Call) -> Overlay:
    """Raises RefusedError (400)."""
    shown = call.query.get("overlay", "none")
    if shown == "none":
        return "none"
    if shown == "classes":
        return "classes"
    raise RefusedError(400, f"overlay: got {shown[:20]!r}, expected none or classes")


def body_of(call: Call, shape: type[Shape]) -> Shape:
    """Raises RefusedError (400)."""
    try:
        return shape.model_validate_json(call.body)
    except ValidationError as error:
        where = "; ".join(
            f"{'.'.join(str(step) for step in detail['loc']) or 'the body'}: {detail['msg']}"
            for detail in error.errors(include_url=False, include_input=False, include_context=False)[:5]
        )
        raise RefusedError(400, where) from None


def _headers(shot: Shot) -> dict[str, str]:
    return {
        "Cache-Control": "no-store",
        "ETag": f'"{shot.version}"',
        "X-Captured-At": iso_utc(shot.frame.time.captured_at_s),
    }
