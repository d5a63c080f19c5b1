"""Answers about how things stand and stood: node, cameras, occupancy, history, alerts, health."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import cast

from pydantic import ValidationError

from edgeseg import __version__
from edgeseg.clock import iso_utc
from edgeseg.config.names import name_flaw
from edgeseg.cpu_quota import whole_cpus
from edgeseg.frames import CameraStatus
from edgeseg.publish.payloads import AlertPayload, CameraStatusPayload, OccupancyPayload, StatsPayload
from edgeseg.relief import Post
from edgeseg.settings import RuleSettings, ZoneSettings
from edgeseg.state.history import STEP_S, Resolution, ZoneStep
from edgeseg.web import shapes
from edgeseg.web.album import Album
from edgeseg.web.board import Board, Standing
from edgeseg.web.chronicle import Chronicle
from edgeseg.web.editor import ZoneEditor
from edgeseg.web.exchange import Answer, Call, RefusedError, of
from edgeseg.web.processes import Usage, usage
from edgeseg.web.running import Running

# What is shown where nothing is asked for.
_LOOKS_BACK_S: Mapping[Resolution, int] = {"1m": 3 * 3600, "15m": 86_400}
_DEFAULT_ALERTS, _MOST_ALERTS = 50, 500
# Two pages that ask in turns would measure each other's pauses.
_LEAST_CPU_SPAN_S = 1.0


class Telling:
    """Handlers for ``server``: a call in, an answer out. Thread-safe."""

    def __init__(
        self, running: Running, board: Board, album: Album, chronicle: Chronicle, editor: ZoneEditor
    ) -> None:
        self._running = running
        self._board = board
        self._album = album
        self._chronicle = chronicle
        self._editor = editor
        self._before: tuple[float, Usage] | None = None
        self._cpu: float | None = None

    def node(self, call: Call) -> Answer:
        running, now = self._running, usage()
        stats, reload = running.stats, running.reload
        counted = StatsPayload.of(stats)
        mqtt = None
        if running.connected is not None:
            mqtt = shapes.MqttShape(
                connected=running.connected,
                outbox_waiting=stats.outbox_waiting,
                outbox_durable=stats.outbox_durable,
            )
        return of(
            shapes.NodeShape(
                node=running.settings.node,
                version=__version__,
                at=iso_utc(running.clock.utc_s()),
                file=self._editor.name,
                digest=running.settings.digest,
                editable=self._editor.writable,
                reload=None
                if reload is None
                else shapes.ReloadShape(at=iso_utc(reload.at_s), error=reload.error),
                cores=whole_cpus(),
                cpu=self._cores_used(now),
                memory_bytes=now.memory_bytes,
                mqtt=mqtt,
                stats=counted,
            )
        )

    def cameras(self, call: Call) -> Answer:
        return of(shapes.CamerasShape(cameras=tuple(self._camera(post) for post in self._running.posts)))

    def camera(self, call: Call) -> Answer:
        return of(self._camera(self._running.post(call.path["camera"])))

    def occupancy(self, call: Call) -> Answer:
        posts = self._running.posts
        if (camera := call.query.get("camera")) is not None:
            posts = [self._running.post(camera)]
        now_s = self._running.clock.utc_s()
        found = []
        for post in posts:
            standing = self._board.standing(post.settings.name)
            zones = [standing.occupancies.get(zone.name) for zone in post.settings.zones]
            found += [
                OccupancyPayload.encoded(one, boot=self._running.boot, now_s=now_s)
                for one in zones
                if one is not None
            ]
        body = b'{"occupancy":[' + b",".join(found) + b"]}"
        return Answer(200, body, headers={"Cache-Control": "no-store"})

    def history(self, call: Call) -> Answer:
        camera, zone = call.path["camera"], call.path["zone"]
        self._zone(camera, zone)
        resolution = call.query.get("resolution", "1m")
        if resolution not in STEP_S:
            raise RefusedError(400, f"resolution: got {resolution[:20]!r}, expected 1m or 15m")
        chosen = cast(Resolution, resolution)
        to_s = _moment(call, "to", self._running.clock.utc_s())
        from_s = _moment(call, "from", to_s - _LOOKS_BACK_S[chosen])
        step_s = STEP_S[chosen]
        steps = dict(self._chronicle.history.steps(camera, zone, chosen, from_s, to_s))
        for minute_s, part in self._chronicle.pending(camera, zone):
            at_s = minute_s // step_s * step_s
            if from_s <= at_s < to_s:
                steps.setdefault(at_s, ZoneStep()).merge(part)
        told = tuple(_step(at_s, steps[at_s]) for at_s in sorted(steps))
        return of(shapes.HistoryShape(camera=camera, zone=zone, resolution=chosen, step_s=step_s, steps=told))

    def alerts(self, call: Call) -> Answer:
        limit = call.query.get("limit", str(_DEFAULT_ALERTS))
        if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:6]) <= _MOST_ALERTS):
            raise RefusedError(400, f"limit: got {limit[:20]!r}, expected 1 to {_MOST_ALERTS}")
        # Of a camera that is gone from the file there may be alerts still.
        camera = call.query.get("camera")
        if camera is not None and (flaw := name_flaw(camera)):
            raise RefusedError(400, f"camera: {flaw}")
        bodies = self._chronicle.history.alerts(int(limit), camera)
        alerts = []
        for body in bodies:
            try:
                alerts.append(AlertPayload.model_validate_json(body))
            except ValidationError:
                # Kept by another version of edgeseg, whose alerts had other keys.
                continue
        return of(shapes.AlertsShape(alerts=tuple(alerts)))

    def healthz(self, call: Call) -> Answer:
        return of(shapes.HealthShape(ok=True, reasons=()))

    def readyz(self, call: Call) -> Answer:
        reasons = tuple(self._reasons())
        told = reasons if call.trusted else ()
        return of(shapes.HealthShape(ok=not reasons, reasons=told), 503 if reasons else 200)

    def _reasons(self) -> list[str]:
        running = self._running
        posts = running.posts
        if len(posts) < len(running.settings.cameras):
            return ["edgeseg is starting"]
        reasons = []
        for post in posts:
            name = post.settings.name
            standing = self._board.standing(name)
            status = standing.status
            if standing.enabled and (status is None or status.state != "live"):
                state = "connecting" if status is None else status.state
                why = f" ({status.reason})" if status is not None and status.reason else ""
                reasons.append(f"camera {name}: {state}{why}")
        if running.connected is False:
            reasons.append("the broker is not connected")
        return reasons

    def _camera(self, post: Post) -> shapes.CameraShape:
        settings, model = post.settings, post.model
        standing = self._board.standing(settings.name)
        status = standing.status or CameraStatus(
            settings.name, "connecting", None, self._running.clock.utc_s(), None, None
        )
        size_px = self._album.picture_sizes_px.get(settings.name)
        groups = self._running.settings.groups
        return shapes.CameraShape(
            name=settings.name,
            status=CameraStatusPayload.of(status),
            enabled=standing.enabled,
            rate=standing.rate_fps or post.live.camera.rate_fps,
            rate_of_file=settings.rate_fps,
            gated=settings.gate is not None,
            picture=None if size_px is None else shapes.SizeShape(width=size_px[0], height=size_px[1]),
            model=model.name,
            classes=tuple(
                shapes.ClassShape(index=index, name=name, colour=f"#{red:02x}{green:02x}{blue:02x}")
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
        post = self._running.post(camera)
        found = next((one for one in post.settings.zones if one.name == zone), None)
        if found is None:
            raise RefusedError(404, f"camera {camera} has no zone {zone!r}")
        return found

    def _cores_used(self, now: Usage) -> float | None:
        """Since the last time that was asked; as then where camera processes ended and took theirs along."""
        now_s = self._running.clock.monotonic_s()
        before, self._before = self._before, self._before or (now_s, now)
        if before is not None and now_s - before[0] >= _LEAST_CPU_SPAN_S:
            used_s = now.cpu_s - before[1].cpu_s
            if used_s >= 0:
                self._cpu = round(used_s / (now_s - before[0]), 3)
            self._before = (now_s, now)
        return self._cpu


def _zone_shape(zone: ZoneSettings, standing: Standing) -> shapes.ZoneShape:
    return shapes.ZoneShape(
        name=zone.name,
        title=zone.title,
        polygons=zone.include,
        exclude=zone.exclude,
        confidence=zone.confidence_floor,
        rules=tuple(_rule_shape(zone.name, rule, standing) for rule in zone.rules),
    )


def _rule_shape(zone: str, rule: RuleSettings, standing: Standing) -> shapes.RuleShape:
    told = standing.rules.get((zone, rule.name))
    reference = () if rule.reference is None else (rule.reference,)
    return shapes.RuleShape(
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


def _step(at_s: int, step: ZoneStep) -> shapes.StepShape:
    known_s = step.known_s
    return shapes.StepShape(
        at=iso_utc(at_s),
        known_s=round(known_s, 1),
        unknown_s=round(step.unknown_s, 1),
        classes={
            name: shapes.SpanShape(
                min=round(min(one.least, 1.0), 4),
                mean=round(min(one.area_s / known_s, 1.0), 4) if known_s > 0 else 0.0,
                max=round(min(one.most, 1.0), 4),
                occupied_s=round(one.occupied_s, 1),
            )
            for name, one in sorted(step.classes.items())
        },
    )


def _moment(call: Call, key: str, default_s: float) -> float:
    """Unix seconds of an RFC 3339 time. Raises RefusedError (400)."""
    text = call.query.get(key)
    if text is None:
        return default_s
    try:
        # A + in a query is a space where it was not encoded. Python 3.10 knows no Z.
        moment = datetime.fromisoformat(text.replace(" ", "+").replace("Z", "+00:00").replace("z", "+00:00"))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return moment.timestamp()
    except (ValueError, OverflowError):
        message = f"{key}: got {json.dumps(text[:40])}, expected a time such as 2026-11-22T08:15:30Z"
        raise RefusedError(400, message) from None
