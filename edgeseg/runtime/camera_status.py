"""Camera status: the state of one camera, since when, at how many frames a second, and when it is stale."""

from __future__ import annotations

from collections import deque

from edgeseg.clock import Clock
from edgeseg.events import CameraState, CameraStatus, Degraded
from edgeseg.frames import FrameTime, Transform

# A camera that has given nothing for longer is stale; a slowly analysed one gets three intervals.
_STALE_AFTER_S = 3.0
_STALE_AFTER_INTERVALS = 3
_STATUS_EVERY_S = 10.0
_FPS_WINDOW_S = 10.0


def stale_after_s(rate_fps: float) -> float:
    """How long a camera of this rate may give nothing until its last picture says nothing about now."""
    return max(_STALE_AFTER_S, _STALE_AFTER_INTERVALS / rate_fps)


class CameraStatusTracker:
    """Tracks what ``status`` reports. Guarded by the camera's lock, but for ``received``.

    Args:
        camera: its name.
        rate_fps: frames a second that are to be analysed; changes with ``Camera.set_rate``.
    """

    def __init__(self, camera: str, rate_fps: float, clock: Clock) -> None:
        self.state: CameraState = "disabled"
        self.reason: str | None = None
        self.rate_fps = rate_fps
        self.degraded: Degraded | None = None
        self.transform: Transform | None = None
        self.received_s: float | None = None
        self._camera = camera
        self._clock = clock
        self._since_s: float | None = None
        self._gap = False
        self._analysed_at_s: deque[float] = deque()
        self._due_s = 0.0

    def enter(self, state: CameraState, reason: str | None) -> bool:
        """Change the state. Returns whether it is another one than before."""
        if self._since_s is not None and (state, reason) == (self.state, self.reason):
            return False
        self.state, self.reason, self._since_s = state, reason, self._clock.utc_s()
        return True

    def received(self, time: FrameTime) -> None:
        """A picture has arrived. Any thread."""
        before_s, self.received_s = self.received_s, time.camera_time_s
        if before_s is not None and time.camera_time_s - before_s > self.stale_after_s:
            self._gap = True

    def take_gap(self) -> bool:
        """Return whether pictures were missing for too long since the last call."""
        gap, self._gap = self._gap, False
        return gap

    def analysed(self) -> None:
        """One more frame has been analysed now."""
        self._analysed_at_s.append(self._clock.monotonic_s())

    @property
    def stale_after_s(self) -> float:
        slower_fps = self.degraded.rate_fps if self.degraded else None
        return stale_after_s(slower_fps or self.rate_fps)

    @property
    def stale_reason(self) -> str:
        return f"no picture for {self.stale_after_s:g} s"

    def is_stale(self, now_s: float) -> bool:
        """now_s: camera time."""
        return now_s - (self.received_s or 0.0) > self.stale_after_s

    def is_due(self, now_s: float) -> bool:
        """Whether the status is to be published again. now_s: camera time."""
        return now_s >= self._due_s

    def expire(self) -> None:
        """Something in the status has changed: it is due at once."""
        self._due_s = 0.0

    def status(self) -> CameraStatus:
        """Return the status to publish now; the next is due in 10 s."""
        self._due_s = self._clock.monotonic_s() + _STATUS_EVERY_S
        return self.peek()

    def peek(self) -> CameraStatus:
        """Return the status as it is, for what is not published."""
        now_s, times = self._clock.monotonic_s(), self._analysed_at_s
        while times and now_s - times[0] > _FPS_WINDOW_S:
            times.popleft()
        span_s = times[-1] - times[0] if times else 0.0
        return CameraStatus(
            camera=self._camera,
            state=self.state,
            reason=self.reason,
            since_s=self._since_s or self._clock.utc_s(),
            fps=round((len(times) - 1) / span_s, 2) if span_s > 0 else None,
            age_s=None if self.received_s is None else round(max(0.0, now_s - self.received_s), 3),
            degraded=self.degraded,
            moved=self.transform,
        )
