"""Which camera is analysed next: the one that has waited longest, and no camera twice at once."""

from __future__ import annotations

import threading


class Scheduler:
    """Hands waiting cameras to worker threads.

    A camera waits from its first frame that nobody has analysed; a newer frame replaces that frame but
    keeps the place in the line, so a fast camera cannot starve a slow one. Bounded by construction: one
    entry for each camera.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[str, float] = {}
        self._busy: set[str] = set()
        self._closed = False

    def offer(self, camera: str, waiting_since_s: float) -> None:
        """A frame of ``camera`` is there. ``waiting_since_s``: its camera time, less any head start."""
        with self._changed:
            self._waiting.setdefault(camera, waiting_since_s)
            self._changed.notify()

    def take(self, timeout_s: float) -> str | None:
        """The next camera, or None after ``timeout_s`` or ``close()``. Give it back with ``done``."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._free(), timeout_s)
            free = self._free()
            if self._closed or not free:
                return None
            camera = min(free, key=lambda name: self._waiting[name])
            del self._waiting[camera]
            self._busy.add(camera)
            return camera

    def done(self, camera: str) -> None:
        """The worker that took ``camera`` has finished with it."""
        with self._changed:
            self._busy.discard(camera)
            self._changed.notify()

    def forget(self, camera: str) -> None:
        """The camera is gone; a frame of it that waits is not analysed."""
        with self._changed:
            self._waiting.pop(camera, None)

    def close(self) -> None:
        """Wake every worker; ``take`` returns None from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _free(self) -> list[str]:
        return [camera for camera in self._waiting if camera not in self._busy]
