"""Answers about how things stand and stood: node, cameras, occupancy, history, alerts, health."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from pydantic import ValidationError

from edgeseg import __version__
from edgeseg.clock import iso_utc, parse_utc
from edgeseg.config.names import name_error
from edgeseg.events import CameraStatus
from edgeseg.publish.payloads import AlertPayload, CameraStatusPayload, OccupancyPayload, StatsPayload
from edgeseg.runtime.running_camera import RunningCamera
from edgeseg.settings import RuleSettings, ZoneSettings
from edgeseg.state.history import STEP_S, Resolution, ZoneStep
from edgeseg.system.cpu_quota import whole_cpus
from edgeseg.system.process_usage import Usage, usage
from edgeseg.web import schemas
from edgeseg.web.daemon_view import DaemonView
from edgeseg.web.history_recorder import HistoryRecorder
from edgeseg.web.latest import LatestValues, Standing
from edgeseg.web.picture_cache import PictureCache
from edgeseg.web.request import RefusedError, Request, Response, json_response
from edgeseg.web.zone_editor import ZoneEditor

# What is shown where nothing is asked for.
_LOOKS_BACK_S: Mapping[Resolution, int] = {"1m": 3 * 3600, "15m": 86_400}
_DEFAULT_ALERTS, _MOST_ALERTS = 50, 500
# Two pages that ask in turns would measure each other's pauses.
_LEAST_CPU_SPAN_S = 1.0


class StatusHandlers:
    """Handlers for ``server``: a request in, an answer out. Thread-safe."""

    def __init__(
        self,
        daemon: DaemonView,
        latest: LatestValues,
        pictures: PictureCache,
        history: HistoryRecorder,
        editor: ZoneEditor,
    ) -> None:
        self._daemon = daemon
        self._latest = latest
        self._pictures = pictures
        self._history = history
        self._editor = editor
        self._before: tuple[float, Usage] | None = None
        self._cpu: float | None = None

    def node(self, request: Request) -> Response:
        daemon, now = self._daemon, usage()
        stats, reload = daemon.stats, daemon.reload
        counted = StatsPayload.of(stats)
        mqtt = None
        if daemon.connected is not None:
            mqtt = schemas.MqttSchema(
                connected=daemon.connected,
                outbox_waiting=stats.outbox_waiting,
                outbox_durable=stats.outbox_durable,
            )
        return json_response(
            schemas.NodeSchema(
                node=daemon.settings.node,
                version=__version__,
                at=iso_utc(daemon.clock.utc_s()),
                file=self._editor.name,
                digest=daemon.settings.digest,
                editable=self._editor.writable,
                reload=None
                if reload is None
                else schemas.ReloadSchema(at=iso_utc(reload.at_s), error=reload.error),
                cores=whole_cpus(),
                cpu=self._cores_used(now),
                memory_bytes=now.memory_bytes,
                mqtt=mqtt,
                stats=counted,
            )
        )

    def cameras(self, request: Request) -> Response:
        return json_response(
            schemas.CamerasSchema(cameras=tuple(self._camera(running) for running in self._daemon.cameras))
        )

    def camera(self, request: Request) -> Response:
        return json_response(self._camera(self._daemon.camera(request.path["camera"])))

    def occupancy(self, request: Request) -> Response:
        cameras = self._daemon.cameras
        if (camera := request.query.get("camera")) is not None:
            cameras = [self._daemon.camera(camera)]
        now_s = self._daemon.clock.utc_s()
        found = []
        for running in cameras:
            standing = self._latest.standing(running.settings.name)
            zones = [standing.occupancies.get(zone.name) for zone in running.settings.zones]
            found += [
                OccupancyPayload.encoded(one, boot=self._daemon.boot, now_s=now_s)
                for one in zones
                if one is not None
            ]
        body = b'{"occupancy":[' + b",".join(found) + b"]}"
        return Response(200, body, headers={"Cache-Control": "no-store"})

    def history(self, request: Request) -> Response:
        camera, zone = request.path["camera"], request.path["zone"]
        self._zone(camera, zone)
        resolution = request.query.get("resolution", "1m")
        if resolution not in STEP_S:
            raise RefusedError(400, f"resolution: got {resolution[:20]!r}, expected 1m or 15m")
        chosen = cast(Resolution, resolution)
        to_s = _moment(request, "to", self._daemon.clock.utc_s())
        from_s = _moment(request, "from", to_s - _LOOKS_BACK_S[chosen])
        step_s = STEP_S[chosen]
        steps = dict(self._history.history.steps(camera, zone, chosen, from_s, to_s))
        for minute_s, part in self._history.pending(camera, zone):
            at_s = minute_s // step_s * step_s
            if from_s <= at_s < to_s:
                steps.setdefault(at_s, ZoneStep()).merge(part)
        told = tuple(_step(at_s, steps[at_s]) for at_s in sorted(steps))
        return json_response(
            schemas.HistorySchema(camera=camera, zone=zone, resolution=chosen, step_s=step_s, steps=told)
        )

    def alerts(self, request: Request) -> Response:
        limit = request.query.get("limit", str(_DEFAULT_ALERTS))
        if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:6]) <= _MOST_ALERTS):
            raise RefusedError(400, f"limit: got {limit[:20]!r}, expected 1 to {_MOST_ALERTS}")
        # Of a camera that is gone from the file there may be alerts still.
        camera = request.query.get("camera")
        if camera is not None and (flaw := name_error(camera)):
            raise RefusedError(400, f"camera: {flaw}")
        bodies = self._history.history.alerts(int(limit), camera)
        alerts = []
        for body in bodies:
            try:
                alerts.append(AlertPayload.model_validate_json(body))
            except ValidationError:
                # Kept by another version of edgeseg, whose alerts had other keys.
                continue
        return json_response(schemas.AlertsSchema(alerts=tuple(alerts)))

    def healthz(self, request: Request) -> Response:
        return json_response(schemas.HealthSchema(ok=True, reasons=()))

    def readyz(self, request: Request) -> Response:
        reasons = tuple(self._reasons())
        told = reasons if request.trusted else ()
        return json_response(schemas.HealthSchema(ok=not reasons, reasons=told), 503 if reasons else 200)

    def _reasons(self) -> list[str]:
        daemon = self._daemon
        cameras = daemon.cameras
        if len(cameras) < len(daemon.settings.cameras):
            return ["edgeseg is starting"]
        reasons = []
        for running in cameras:
            name = running.settings.name
            standing = self._latest.standing(name)
            status = standing.status
            if standing.enabled and (status is None or status.state != "live"):
                state = "connecting" if status is None else status.state
                why = f" ({status.reason})" if status is not None and status.reason else ""
                reasons.append(f"camera {name}: {state}{why}")
        if daemon.connected is False:
            reasons.append("the broker is not connected")
        return reasons

    def _camera(self, running: RunningCamera) -> schemas.CameraSchema:
        settings, model = running.settings, running.model
        standing = self._latest.standing(settings.name)
        status = standing.status or CameraStatus(
            settings.name, "connecting", None, self._daemon.clock.utc_s(), None, None
        )
        size_px = self._pictures.picture_sizes_px.get(settings.name)
        groups = self._daemon.settings.groups
        return schemas.CameraSchema(
            name=settings.name,
            status=CameraStatusPayload.of(status),
            enabled=standing.enabled,
            rate=standing.rate_fps or running.live.camera.rate_fps,
            rate_of_file=settings.rate_fps,
            gated=settings.gate is not None,
            picture=None if size_px is None else schemas.SizeSchema(width=size_px[0], height=size_px[1]),
            model=model.name,
            classes=tuple(
                schemas.ClassSchema(index=index, name=name, colour=f"#{red:02x}{green:02x}{blue:02x}")
                for index, (name, (red, green, blue)) in enumerate(
                    zip(model.classes, model.palette.tolist(), strict=True)
                )
            ),
            groups={
                name: tuple(one for one in members if one in model.classes)
                for name, members in groups.items()
                if set(members) & set(model.classes)
            },
            zones=tuple(_zone_shape(zone, standing) for zone in settings.zones),
        )

    def _zone(self, camera: str, zone: str) -> ZoneSettings:
        running = self._daemon.camera(camera)
        found = next((one for one in running.settings.zones if one.name == zone), None)
        if found is None:
            raise RefusedError(404, f"camera {camera} has no zone {zone!r}")
        return found

    def _cores_used(self, now: Usage) -> float | None:
        """Since the last time that was asked; as then where camera processes ended and took theirs along."""
        now_s = self._daemon.clock.monotonic_s()
        before, self._before = self._before, self._before or (now_s, now)
        if before is not None and now_s - before[0] >= _LEAST_CPU_SPAN_S:
            used_s = now.cpu_s - before[1].cpu_s
            if used_s >= 0:
                self._cpu = round(used_s / (now_s - before[0]), 3)
            self._before = (now_s, now)
        return self._cpu


def _zone_shape(zone: ZoneSettings, standing: Standing) -> schemas.ZoneSchema:
    return schemas.ZoneSchema(
        name=zone.name,
        title=zone.title,
        polygons=zone.include,
        exclude=zone.exclude,
        confidence=zone.confidence_floor,
        rules=tuple(_rule_shape(zone.name, rule, standing) for rule in zone.rules),
    )


def _rule_shape(zone: str, rule: RuleSettings, standing: Standing) -> schemas.RuleSchema:
    told = standing.rules.get((zone, rule.name))
    reference = () if rule.reference is None else (rule.reference,)
    return schemas.RuleSchema(
        name=rule.name,
        kind=rule.kind,
        unlike=rule.unlike,
        classes=(*rule.terms, *reference),
        enter=rule.enter,
        leave=rule.leave,
        for_s=rule.for_s,
        clear_s=rule.clear_s,
        state="unknown" if told is None else told.state.state,
        since=None if told is None else iso_utc(told.since_s),
    )


def _step(at_s: int, step: ZoneStep) -> schemas.StepSchema:
    known_s = step.known_s
    return schemas.StepSchema(
        at=iso_utc(at_s),
        known_s=round(known_s, 1),
        unknown_s=round(step.unknown_s, 1),
        classes={
            name: schemas.SpanSchema(
                min=round(min(one.least, 1.0), 4),
                mean=round(min(one.area_s / known_s, 1.0), 4) if known_s > 0 else 0.0,
                max=round(min(one.most, 1.0), 4),
                occupied_s=round(one.occupied_s, 1),
            )
            for name, one in sorted(step.classes.items())
        },
    )


def _moment(request: Request, key: str, default_s: float) -> float:
    """Unix seconds of an RFC 3339 time. Raises RefusedError (400)."""
    text = request.query.get(key)
    if text is None:
        return default_s
    try:
        # A + in a query is a space where it was not encoded.
        return parse_utc(text.replace(" ", "+"))
    except ValueError:
        message = f"{key}: got {json.dumps(text[:40])}, expected a time such as 2026-11-22T08:15:30Z"
        raise RefusedError(400, message) from None
