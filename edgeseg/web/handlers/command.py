"""Answers that change something: switches, rates, zones, the login; and rules that are tried first."""

from __future__ import annotations

from edgeseg.clock import iso_utc
from edgeseg.publish.base import Command
from edgeseg.publish.payloads import AlertPayload
from edgeseg.web import draft_preview, schemas
from edgeseg.web.auth import COOKIE, SESSION_S, Authenticator
from edgeseg.web.daemon_view import DaemonView
from edgeseg.web.handlers.picture import body_of
from edgeseg.web.history_recorder import HistoryRecorder
from edgeseg.web.request import RefusedError, Request, Response, json_response
from edgeseg.web.zone_editor import ZoneEditor


class CommandHandlers:
    """Handlers for ``server``. Thread-safe."""

    def __init__(
        self, daemon: DaemonView, history: HistoryRecorder, editor: ZoneEditor, auth: Authenticator
    ) -> None:
        self._daemon = daemon
        self._history = history
        self._editor = editor
        self._auth = auth

    def switch(self, request: Request) -> Response:
        camera = self._daemon.camera(request.path["camera"]).settings.name
        self._daemon.command(Command(camera, "enabled", body_of(request, schemas.EnabledSchema).enabled))
        return json_response(schemas.DoneSchema(), 202)

    def set_rate(self, request: Request) -> Response:
        camera = self._daemon.camera(request.path["camera"]).settings.name
        self._daemon.command(Command(camera, "rate", body_of(request, schemas.RateSchema).rate))
        return json_response(schemas.DoneSchema(), 202)

    def zones(self, request: Request) -> Response:
        digest, zones = self._editor.zones(self._daemon.camera(request.path["camera"]).settings.name)
        return json_response(schemas.ZonesFileSchema(digest=digest, zones=zones), headers=_etag(digest))

    def save_zone(self, request: Request) -> Response:
        return self._change(request, request.body)

    def delete_zone(self, request: Request) -> Response:
        return self._change(request, None)

    def try_rule(self, request: Request) -> Response:
        running, trial = self._daemon.camera(request.path["camera"]), body_of(request, schemas.TrySchema)
        camera = running.settings.name
        settings = self._editor.with_rule(camera, trial.zone, trial.rule)
        zone = next(
            zone
            for one in settings.cameras
            if one.name == camera
            for zone in one.zones
            if zone.name == trial.zone
        )
        recorded = self._history.recorded(camera, zone.name, running.model.name)
        alerts = draft_preview.tried(settings.node, camera, zone, zone.rules[0], recorded)
        return json_response(
            schemas.TriedSchema(
                recorded_from=iso_utc(recorded[0].time.captured_at_s) if recorded else None,
                recorded_to=iso_utc(recorded[-1].time.captured_at_s) if recorded else None,
                observations=len(recorded),
                alerts=tuple(AlertPayload.of(alert) for alert in alerts),
            )
        )

    def login(self, request: Request) -> Response:
        self._auth.check_token(body_of(request, schemas.LoginSchema).token, request.remote)
        cookie = f"{COOKIE}={self._auth.session()}; Max-Age={SESSION_S}" if self._auth.wants_token else ""
        return json_response(schemas.DoneSchema(), headers=_cookie(cookie, request) if cookie else None)

    def logout(self, request: Request) -> Response:
        return json_response(schemas.DoneSchema(), headers=_cookie(f"{COOKIE}=; Max-Age=0", request))

    def _change(self, request: Request, body: bytes | None) -> Response:
        camera = self._daemon.camera(request.path["camera"]).settings.name
        if not self._editor.writable:
            raise RefusedError(409, f"{self._editor.name} is not writable for edgeseg")
        digest, kept = self._editor.save(camera, request.path["zone"], body, request.headers.get("if-match"))
        return json_response(schemas.SavedSchema(digest=digest, kept=kept), headers=_etag(digest))


def _etag(digest: str) -> dict[str, str]:
    return {"ETag": f'"{digest}"'}


def _cookie(value: str, request: Request) -> dict[str, str]:
    # The page came over TLS, from a proxy; over plain HTTP a Secure cookie would not come back.
    secure = "; Secure" if request.headers.get("origin", "").startswith("https://") else ""
    return {"Set-Cookie": f"{value}; Path=/; HttpOnly; SameSite=Strict{secure}"}
