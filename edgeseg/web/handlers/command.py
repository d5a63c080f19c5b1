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
from edgeseg.web.request import Answer, Call, RefusedError, of
from edgeseg.web.zone_editor import ZoneEditor


class CommandHandlers:
    """Handlers for ``server``. Thread-safe."""

    def __init__(
        self, running: DaemonView, chronicle: HistoryRecorder, editor: ZoneEditor, guard: Authenticator
    ) -> None:
        self._running = running
        self._chronicle = chronicle
        self._editor = editor
        self._guard = guard

    def switch(self, call: Call) -> Answer:
        camera = self._running.post(call.path["camera"]).settings.name
        self._running.command(Command(camera, "enabled", body_of(call, schemas.EnabledShape).enabled))
        return of(schemas.DoneShape(), 202)

    def set_rate(self, call: Call) -> Answer:
        camera = self._running.post(call.path["camera"]).settings.name
        self._running.command(Command(camera, "rate", body_of(call, schemas.RateShape).rate))
        return of(schemas.DoneShape(), 202)

    def zones(self, call: Call) -> Answer:
        digest, zones = self._editor.zones(self._running.post(call.path["camera"]).settings.name)
        return of(schemas.ZonesFileShape(digest=digest, zones=zones), headers=_etag(digest))

    def save_zone(self, call: Call) -> Answer:
        return self._change(call, call.body)

    def delete_zone(self, call: Call) -> Answer:
        return self._change(call, None)

    def try_rule(self, call: Call) -> Answer:
        post, trial = self._running.post(call.path["camera"]), body_of(call, schemas.TryShape)
        camera = post.settings.name
        settings = self._editor.with_rule(camera, trial.zone, trial.rule)
        zone = next(
            zone
            for one in settings.cameras
            if one.name == camera
            for zone in one.zones
            if zone.name == trial.zone
        )
        recorded = self._chronicle.recorded(camera, zone.name, post.model.name)
        alerts = draft_preview.tried(settings.node, camera, zone, zone.rules[0], recorded)
        return of(
            schemas.TriedShape(
                recorded_from=iso_utc(recorded[0].time.captured_at_s) if recorded else None,
                recorded_to=iso_utc(recorded[-1].time.captured_at_s) if recorded else None,
                observations=len(recorded),
                alerts=tuple(AlertPayload.of(alert) for alert in alerts),
            )
        )

    def login(self, call: Call) -> Answer:
        self._guard.check_token(body_of(call, schemas.LoginShape).token, call.remote)
        cookie = f"{COOKIE}={self._guard.session()}; Max-Age={SESSION_S}" if self._guard.wants_token else ""
        return of(schemas.DoneShape(), headers=_cookie(cookie, call) if cookie else None)

    def logout(self, call: Call) -> Answer:
        return of(schemas.DoneShape(), headers=_cookie(f"{COOKIE}=; Max-Age=0", call))

    def _change(self, call: Call, body: bytes | None) -> Answer:
        camera = self._running.post(call.path["camera"]).settings.name
        if not self._editor.writable:
            raise RefusedError(409, f"{self._editor.name} is not writable for edgeseg")
        digest, kept = self._editor.save(camera, call.path["zone"], body, call.headers.get("if-match"))
        return of(schemas.SavedShape(digest=digest, kept=kept), headers=_etag(digest))


def _etag(digest: str) -> dict[str, str]:
    return {"ETag": f'"{digest}"'}


def _cookie(value: str, call: Call) -> dict[str, str]:
    # The page came over TLS, from a proxy; over plain HTTP a Secure cookie would not come back.
    secure = "; Secure" if call.headers.get("origin", "").startswith("https://") else ""
    return {"Set-Cookie": f"{value}; Path=/; HttpOnly; SameSite=Strict{secure}"}
