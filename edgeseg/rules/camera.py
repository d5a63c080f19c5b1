"""Camera gone and back -> Alert of kind ``camera``."""

from __future__ import annotations

from edgeseg.frames import Alert, CameraStatus, FrameTime
from edgeseg.rules import alerts

# A camera that reboots after its nightly update or a switch that relearns is back within half a minute.
AWAY_FOR_S = 30.0
# Longer than the time a reconnect that will fail again takes to look like a success.
BACK_FOR_S = 10.0

_AWAY = frozenset({"offline", "connecting", "stale"})


class CameraAlert:
    """Raises one alert for each time a camera gives no pictures for ``AWAY_FOR_S``, and ends it when it has
    given some for ``BACK_FOR_S``; at once when it is disabled, since then nobody expects any.

    A picture that is dark, frozen or covered is a picture: the zones are unknown, the camera is not gone.
    """

    def __init__(self, node: str, camera: str) -> None:
        self._node = node
        self._camera = camera
        self._since: FrameTime | None = None
        self._last_s: float | None = None
        self._alert: Alert | None = None

    def observe(self, status: CameraStatus, time: FrameTime) -> list[Alert]:
        """Call with every status and about once a second: only a call can notice that time went by."""
        now_s = time.camera_time_s
        if self._last_s is not None and now_s < self._last_s:
            self._since = None
        self._last_s = now_s
        is_on, away = self._alert is not None, status.state in _AWAY
        if away == is_on:
            self._since = None
            return []
        self._since = self._since or time
        needed_s = AWAY_FOR_S if away else 0.0 if status.state == "disabled" else BACK_FOR_S
        if now_s - self._since.camera_time_s < needed_s:
            return []
        return [self._begin(self._since, time)] if away else self._end("cleared", self._since, time)

    def retire(self, time: FrameTime) -> list[Alert]:
        """The camera is gone from the configuration: an alert that is on ends."""
        return self._end("config", time, time)

    def _begin(self, since: FrameTime, time: FrameTime) -> Alert:
        self._since = None
        self._alert = Alert(
            id=alerts.alert_id(self._node, self._camera, None, "camera", "camera", since),
            seq=0,
            event="new",
            rule="camera",
            kind="camera",
            camera=self._camera,
            zone=None,
            began_at_s=since.captured_at_s,
            at_s=time.captured_at_s,
            ended_at_s=None,
            before=None,
            after=None,
            dominant_before=None,
            dominant_after=None,
            evidence=None,
            end_reason=None,
        )
        return self._alert

    def _end(self, reason: str, since: FrameTime, time: FrameTime) -> list[Alert]:
        last, self._alert, self._since = self._alert, None, None
        return [alerts.ended(last, reason, since.captured_at_s, None, None, time)] if last else []
