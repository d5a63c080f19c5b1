"""Clip stream: the second stream of a camera, read for clips alone. Nothing of it is decoded."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from edgeseg.capture.clip_request import ClipRequest
from edgeseg.capture.events import ClipReady
from edgeseg.capture.messages import CaptureOrder
from edgeseg.capture.process import CaptureProcess
from edgeseg.capture.shared_memory import AlertClip
from edgeseg.clock import Clock
from edgeseg.errors import SourceError
from edgeseg.runtime.reconnect import GOOD_AFTER_S, reconnect
from edgeseg.settings import SourceUrl
from edgeseg.sources.packets import suffix_of
from edgeseg.stages.preprocess import Preprocess

log = logging.getLogger(__name__)

SaveClip = Callable[[str, AlertClip, str], None]
"""Takes a camera's name, a clip of it and the suffix of its file; the descriptor is the taker's to close."""

_RECEIVE_TIMEOUT_S = 0.5
# Of no effect where nothing is decoded.
_NO_PICTURES = Preprocess("stretch", (16, 16))


class ClipStream:
    """Keeps the newest packets of a source, in a process of its own that a thread watches and reconnects.

    ``start`` and ``stop`` belong to one thread, ``take`` to any.

    Args:
        camera: the name of the camera whose second stream this is.
        source: the stream. Raises ValueError where its address was not resolved.
        before_s: how far back clips begin.
        save: is called with each clip.
    """

    def __init__(self, camera: str, source: SourceUrl, before_s: float, save: SaveClip, clock: Clock) -> None:
        if source.url is None:
            raise ValueError(f"camera {camera}: the source of its clips was not resolved")
        self._camera = camera
        self._url = source.url.reveal()
        self._shown = source.shown
        self._before_s = before_s
        self._save = save
        self._clock = clock
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._capture: CaptureProcess | None = None

    def start(self) -> None:
        """Returns at once."""
        self._stop.clear()
        name = f"clips of camera {self._camera}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Stop soon; ``stop`` waits for it."""
        self._stop.set()

    def stop(self) -> None:
        """Its process is gone when this returns. Idempotent."""
        self.ask_to_stop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def take(self, request: ClipRequest) -> str | None:
        """Make a clip. Returns the suffix of its file; None while there is nothing to make it of."""
        return take_from(self._capture, request)

    def _run(self) -> None:
        reconnect(self._connect, self._url, self._stop, self._clock)

    def _connect(self) -> bool:
        """Run one connection. Raises SourceError where a pause should follow."""
        order = CaptureOrder(
            self._url, self._shown, _NO_PICTURES, 1.0, record_s=self._before_s, record_only=True
        )
        first_s: float | None = None
        try:
            with CaptureProcess(f"{self._camera} (clips)", order) as capture:
                self._capture = capture
                try:
                    while not self._stop.is_set():
                        for event in capture.receive(_RECEIVE_TIMEOUT_S):
                            if isinstance(event, ClipReady):
                                self._save(self._camera, event.clip, clip_suffix(capture))
                        if first_s is None and capture.stream is not None:
                            first_s = self._clock.monotonic_s()
                finally:
                    self._capture = None
        except SourceError as error:
            log.warning("camera %s: no clips: %s; trying again", self._camera, error)
            if first_s is None or self._clock.monotonic_s() - first_s < GOOD_AFTER_S:
                raise
        return True


def take_from(capture: CaptureProcess | None, request: ClipRequest) -> str | None:
    """Request a clip. Returns the suffix of its file; None where there is nothing to make it of."""
    if capture is None or capture.stream is None:
        return None
    capture.take_clip(request)
    return clip_suffix(capture)


def clip_suffix(capture: CaptureProcess) -> str:
    """Return the suffix of a clip's file, which follows from the stream's codec."""
    return suffix_of(capture.stream.codec if capture.stream is not None else "")
