"""Every path of the server: what it takes, what it answers. /openapi.json is made of this table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from edgeseg.web import schemas
from edgeseg.web.handlers.command import CommandHandlers
from edgeseg.web.handlers.documents import DocumentHandlers
from edgeseg.web.handlers.evidence import EvidenceHandlers
from edgeseg.web.handlers.picture import PictureHandlers
from edgeseg.web.handlers.status import StatusHandlers
from edgeseg.web.request import Request, Response

_NAME = {"type": "string", "pattern": "^[a-z0-9_-]{1,64}$"}


Respond = Callable[[Request], Response]
"""Answers a request in a thread that may wait for a disk. Raises RefusedError."""


@dataclass(frozen=True, slots=True)
class Handlers:
    """All handlers of a server, by what they are about."""

    status: StatusHandlers
    picture: PictureHandlers
    evidence: EvidenceHandlers
    command: CommandHandlers
    documents: DocumentHandlers


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query. schema: JSON Schema."""

    name: str
    schema: Mapping[str, object]
    description: str


@dataclass(frozen=True, slots=True)
class Route:
    """One operation.

    id: the operationId of the API. handler: the function that answers, as one of ``Handlers``; None for what
    ``streaming`` sends. answer: a schema, or the media type of what is no JSON. body: None where it takes
    none. refuses: statuses beside 401, 403 (with a token, or for another Host or Origin) and 429, which any
    may give. etag: whether it answers with one; if_match: whether it wants one. open: no token needed.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    summary: str
    id: str
    handler: Callable[[Handlers], Respond] | None
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
    Route("GET", "/api/v1/node", "This device", "node", lambda on: on.status.node, schemas.NodeSchema),
    Route(
        "GET",
        "/api/v1/cameras",
        "All cameras",
        "cameras",
        lambda on: on.status.cameras,
        schemas.CamerasSchema,
    ),
    Route(
        "GET",
        _CAMERA,
        "One camera",
        "camera",
        lambda on: on.status.camera,
        schemas.CameraSchema,
        refuses=(404,),
    ),
    Route(
        "GET",
        f"{_CAMERA}/picture.jpg",
        "The newest analysed picture, at the size the network sees; analysed anew where it is old",
        "picture",
        lambda on: on.picture.picture,
        "image/jpeg",
        query=(_OVERLAY,),
        refuses=(400, 404, 503),
    ),
    Route(
        "GET",
        f"{_CAMERA}/labels.png",
        "The label map of that picture; pixel values are class indices, the palette their colours",
        "labels",
        lambda on: on.picture.labels,
        "image/png",
        refuses=(404, 503),
    ),
    Route(
        "GET",
        f"{_CAMERA}/stream.mjpeg",
        "Pictures as they are analysed, at least one a second while the camera is live",
        "stream",
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
        lambda on: on.status.occupancy,
        schemas.OccupanciesSchema,
        query=(_OF_CAMERA,),
        refuses=(404,),
    ),
    Route(
        "GET",
        f"{_ZONE}/history",
        "Occupancy over time: 1m for a day, 15m for a month. Default: the last 3 hours, or the last day",
        "history",
        lambda on: on.status.history,
        schemas.HistorySchema,
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
        lambda on: on.status.alerts,
        schemas.AlertsSchema,
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
        lambda on: on.evidence.evidence_picture,
        "image/jpeg",
        refuses=(404,),
    ),
    Route(
        "GET",
        "/api/v1/alerts/{alert}/clip",
        "The clip kept of an alert, MP4 or Matroska, some seconds after the alert",
        "evidence_clip",
        lambda on: on.evidence.evidence_clip,
        "video/*",
        refuses=(404,),
    ),
    Route(
        "POST",
        f"{_CAMERA}/enabled",
        "Switch a camera on or off",
        "switch",
        lambda on: on.command.switch,
        schemas.DoneSchema,
        body=schemas.EnabledSchema,
        status=202,
        refuses=(400, 404),
    ),
    Route(
        "POST",
        f"{_CAMERA}/rate",
        "Analyse at another rate",
        "set_rate",
        lambda on: on.command.set_rate,
        schemas.DoneSchema,
        body=schemas.RateSchema,
        status=202,
        refuses=(400, 404),
    ),
    Route(
        "GET",
        f"{_CAMERA}/zones",
        "Zones as the pipeline file has them",
        "zones",
        lambda on: on.command.zones,
        schemas.ZonesFileSchema,
        refuses=(404, 409),
        etag=True,
    ),
    Route(
        "PUT",
        _ZONE,
        "Save a zone to the pipeline file, new or changed; the daemon reads it again then",
        "save_zone",
        lambda on: on.command.save_zone,
        schemas.SavedSchema,
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
        lambda on: on.command.delete_zone,
        schemas.SavedSchema,
        refuses=(400, 404, 409, 412, 422, 428),
        etag=True,
        if_match=True,
    ),
    Route(
        "POST",
        f"{_CAMERA}/measure",
        "What the newest picture shows in a draft",
        "measure",
        lambda on: on.picture.measure,
        schemas.MeasureSchema,
        body=schemas.DraftSchema,
        refuses=(400, 404, 422, 503),
    ),
    Route(
        "POST",
        f"{_CAMERA}/try-rule",
        "What a rule would have said in the last hour, by what was recorded of a zone",
        "try_rule",
        lambda on: on.command.try_rule,
        schemas.TriedSchema,
        body=schemas.TrySchema,
        refuses=(400, 404, 409, 422),
    ),
    Route(
        "POST",
        "/api/v1/login",
        "Exchange the token for a cookie",
        "login",
        lambda on: on.command.login,
        schemas.DoneSchema,
        body=schemas.LoginSchema,
        refuses=(400,),
        open=True,
    ),
    Route(
        "POST",
        "/api/v1/logout",
        "Take the cookie back",
        "logout",
        lambda on: on.command.logout,
        schemas.DoneSchema,
        open=True,
    ),
    Route(
        "GET",
        "/openapi.json",
        "This document",
        "openapi",
        lambda on: on.documents.openapi,
        "application/json",
    ),
    Route("GET", "/metrics", "Prometheus metrics", "scrape", lambda on: on.documents.scrape, "text/plain"),
    Route(
        "GET",
        "/healthz",
        "Alive: it answers",
        "healthz",
        lambda on: on.status.healthz,
        schemas.HealthSchema,
        open=True,
    ),
    Route(
        "GET",
        "/readyz",
        "Ready: every camera that is switched on is live, and the broker is there",
        "readyz",
        lambda on: on.status.readyz,
        schemas.HealthSchema,
        refuses=(503,),
        open=True,
    ),
)
