"""Camera gone and back -> Alert of kind ``camera``."""

from __future__ import annotations

from dataclasses import replace

from edgeseg.events import Alert, CameraStatus
from edgeseg.frames import FrameTime
from edgeseg.rules import alerts
from edgeseg.rules.memory import AwayMemory

# A camera that reboots after its nightly update or a switch that relearns is back within half a minute.
AWAY_FOR_S = 30.0
# Longer than the time a reconnect that will fail again takes to look like a success.
BACK_FOR_S = 10.0

_AWAY = frozenset({"offline", "connecting", "stale"})


class CameraAlert:
    """Raises one alert for each time a camera gives no pictures for ``AWAY_FOR_S``, and ends it when it has
    given some for ``BACK_FOR_S``; at once when it is disabled, since then nobody expects any.

    A picture that is dark, frozen or covered is a picture: the zones are unknown, the camera is not gone.
    memory: what an earlier one knew, to go on from there. bridge_until_s: until then (camera time) connecting
    is edgeseg's own doing after a restart: a camera that was coming back still is.
    """

    def __init__(
        self,
        node: str,
        camera: str,
        memory: AwayMemory | None = None,
        bridge_until_s: float | None = None,
    ) -> None:
        self._node = node
        self._camera = camera
        self.memory = memory or AwayMemory()
        self._bridge_until_s = bridge_until_s

    def observe(self, status: CameraStatus, time: FrameTime) -> list[Alert]:
        """Call with every status and about once a second: only a call can notice that time went by."""
        now_s, memory = time.camera_time_s, self.memory
        rewound = memory.last_s is not None and now_s < memory.last_s
        is_on, away = memory.alert is not None, status.state in _AWAY
        bridged = self._bridge_until_s is not None and now_s < self._bridge_until_s and not rewound
        if is_on and bridged and status.state == "connecting":
            return []
        self._bridge_until_s = None
        if away == is_on:
            self.memory = replace(memory, since=None, last_s=now_s)
            return []
        since = time if memory.since is None or rewound else memory.since
        self.memory = replace(memory, since=since, last_s=now_s)
        needed_s = AWAY_FOR_S if away else 0.0 if status.state == "disabled" else BACK_FOR_S
        if now_s - since.camera_time_s < needed_s:
            return []
        return [self._begin(since, time)] if away else self._end("cleared", since, time)

    def retire(self, time: FrameTime) -> list[Alert]:
        """The camera is gone from the configuration: an alert that is on ends."""
        return self._end("config", time, time)

    def _begin(self, since: FrameTime, time: FrameTime) -> Alert:
        alert = Alert(
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
        self.memory = replace(self.memory, since=None, alert=alert)
        return alert

    def _end(self, reason: str, since: FrameTime, time: FrameTime) -> list[Alert]:
        last, self.memory = self.memory.alert, replace(self.memory, since=None, alert=None)
        return [alerts.ended(last, reason, since.captured_at_s, None, None, time)] if last else []
