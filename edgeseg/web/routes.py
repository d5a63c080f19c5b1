"""Every path of the server: what it takes, what it answers. /openapi.json is made of this table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from edgeseg.web import schemas

_NAME = {"type": "string", "pattern": "^[a-z0-9_-]{1,64}$"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query. schema: JSON Schema."""

    name: str
    schema: Mapping[str, object]
    description: str


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. answer: a shape, or the media type of what is no JSON. body: None where it takes none.

    handler: the method that answers, of those that ``site`` gathers; None for what ``server`` streams itself.
    refuses: statuses beside 401, 403 (with a token, or for another Host or Origin) and 429, which any may
    give. etag: whether it answers with one; if_match: whether it wants one. open: no token needed.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    summary: str
    handler: str | None
    answer: type[BaseModel] | str
    query: tuple[Parameter, ...] = ()
    body: type[BaseModel] | str | None = None
    status: int = 200
    refuses: tuple[int, ...] = ()
    etag: bool = False
    if_match: bool = False
    open: bool = False


_CAMERA = "/api/v1/cameras/{camera}"
_ZONE = f"{_CAMERA}/zones/{{zone}}"
_OVERLAY = Parameter(
    "overlay", {"enum": ["none", "classes"], "default": "none"}, "classes: label colours over the picture."
)
_OF_CAMERA = Parameter("camera", _NAME, "Of this camera alone.")
_MOMENT = {"type": "string", "format": "date-time"}

ROUTES = (
    Route("GET", "/api/v1/node", "This device", "node", schemas.NodeShape),
    Route("GET", "/api/v1/cameras", "All cameras", "cameras", schemas.CamerasShape),
    Route("GET", _CAMERA, "One camera", "camera", schemas.CameraShape, refuses=(404,)),
    Route(
        "GET",
        f"{_CAMERA}/picture.jpg",
        "The newest analysed picture, at the size the network sees; analysed anew where it is old",
        "picture",
        "image/jpeg",
        query=(_OVERLAY,),
        refuses=(400, 404, 503),
    ),
    Route(
        "GET",
        f"{_CAMERA}/labels.png",
        "The label map of that picture; pixel values are class indices, the palette their colours",
        "labels",
        "image/png",
        refuses=(404, 503),
    ),
    Route(
        "GET",
        f"{_CAMERA}/stream.mjpeg",
        "Pictures as they are analysed, at least one a second while the camera is live",
        None,
        "multipart/x-mixed-replace",
        query=(_OVERLAY,),
        refuses=(400, 404, 503),
    ),
    Route(
        "GET",
        "/api/v1/occupancy",
        "The newest occupancy of each zone",
        "occupancy",
        schemas.OccupanciesShape,
        query=(_OF_CAMERA,),
        refuses=(404,),
    ),
    Route(
        "GET",
        f"{_ZONE}/history",
        "Occupancy over time: 1m for a day, 15m for a month. Default: the last 3 hours, or the last day",
        "history",
        schemas.HistoryShape,
        query=(
            Parameter("resolution", {"enum": ["1m", "15m"], "default": "1m"}, "Length of a step."),
            Parameter("from", _MOMENT, "Steps that begin then or later."),
            Parameter("to", _MOMENT, "Steps that begin before. Default: now."),
        ),
        refuses=(400, 404),
    ),
    Route(
        "GET",
        "/api/v1/alerts",
        "Alerts, the newest first",
        "alerts",
        schemas.AlertsShape,
        query=(
            Parameter("limit", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}, "At most."),
            _OF_CAMERA,
        ),
        refuses=(400,),
    ),
    Route(
        "GET",
        "/api/v1/alerts/{alert}/pictures/{part}",
        "A picture kept of an alert: before (when its condition began) or after (when it was raised)",
        "evidence_picture",
        "image/jpeg",
        refuses=(404,),
    ),
    Route(
        "GET",
        "/api/v1/alerts/{alert}/clip",
        "The clip kept of an alert, MP4 or Matroska, some seconds after the alert",
        "evidence_clip",
        "video/*",
        refuses=(404,),
    ),
    Route(
        "POST",
        f"{_CAMERA}/enabled",
        "Switch a camera on or off",
        "switch",
        schemas.DoneShape,
        body=schemas.EnabledShape,
        status=202,
        refuses=(400, 404),
    ),
    Route(
        "POST",
        f"{_CAMERA}/rate",
        "Analyse at another rate",
        "set_rate",
        schemas.DoneShape,
        body=schemas.RateShape,
        status=202,
        refuses=(400, 404),
    ),
    Route(
        "GET",
        f"{_CAMERA}/zones",
        "Zones as the pipeline file has them",
        "zones",
        schemas.ZonesFileShape,
        refuses=(404, 409),
        etag=True,
    ),
    Route(
        "PUT",
        _ZONE,
        "Save a zone to the pipeline file, new or changed; the daemon reads it again then",
        "save_zone",
        schemas.SavedShape,
        body="zone",
        refuses=(400, 404, 409, 412, 422, 428),
        etag=True,
        if_match=True,
    ),
    Route(
        "DELETE",
        _ZONE,
        "Take a zone out of the pipeline file",
        "delete_zone",
        schemas.SavedShape,
        refuses=(400, 404, 409, 412, 422, 428),
        etag=True,
        if_match=True,
    ),
    Route(
        "POST",
        f"{_CAMERA}/measure",
        "What the newest picture shows in a draft",
        "measure",
        schemas.MeasureShape,
        body=schemas.DraftShape,
        refuses=(400, 404, 422, 503),
    ),
    Route(
        "POST",
        f"{_CAMERA}/try-rule",
        "What a rule would have said in the last hour, by what was recorded of a zone",
        "try_rule",
        schemas.TriedShape,
        body=schemas.TryShape,
        refuses=(400, 404, 409, 422),
    ),
    Route(
        "POST",
        "/api/v1/login",
        "Exchange the token for a cookie",
        "login",
        schemas.DoneShape,
        body=schemas.LoginShape,
        refuses=(400,),
        open=True,
    ),
    Route("POST", "/api/v1/logout", "Take the cookie back", "logout", schemas.DoneShape, open=True),
    Route("GET", "/openapi.json", "This document", "openapi", "application/json"),
    Route("GET", "/metrics", "Prometheus metrics", "scrape", "text/plain"),
    Route("GET", "/healthz", "Alive: it answers", "healthz", schemas.HealthShape, open=True),
    Route(
        "GET",
        "/readyz",
        "Ready: every camera that is switched on is live, and the broker is there",
        "readyz",
        schemas.HealthShape,
        refuses=(503,),
        open=True,
    ),
)
