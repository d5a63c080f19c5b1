"""A second stream of a camera, read for clips alone: nothing of it is decoded."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from edgeseg.capture.clip_request import TakeClip
from edgeseg.capture.process import CaptureProcess
from edgeseg.capture.shared_memory import TakenClip
from edgeseg.errors import SourceError
from edgeseg.settings import SourceUrl
from edgeseg.sources.packets import suffix_of
from edgeseg.stages.preprocess import Preprocess

log = logging.getLogger(__name__)

KeepClip = Callable[[str, TakenClip, str], None]
"""Takes a camera's name, a clip of it and the suffix of its file; the descriptor is the taker's to close."""

_RECEIVE_TIMEOUT_S = 0.5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 60.0
# Of no effect where nothing is decoded.
_NO_PICTURES = Preprocess("stretch", (16, 16))


class ClipStream:
    """Keeps the newest packets of ``source`` in a process of its own, watched by a thread, and reads it again
    whenever it fails. ``start`` and ``stop`` belong to one thread, ``take`` to any.

    before_s: how far back clips begin. keep: is given each clip.
    """

    def __init__(self, camera: str, source: SourceUrl, before_s: float, keep: KeepClip) -> None:
        self._camera = camera
        self._source = source
        self._before_s = before_s
        self._keep = keep
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._capture: CaptureProcess | None = None
        self._was_well = False

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

    def take(self, wish: TakeClip) -> str | None:
        """Make a clip. Returns the suffix of its file; None while there is nothing to make it of."""
        return take_from(self._capture, wish)

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                self._read()
            except SourceError as error:
                log.warning("camera %s: no clips: %s; trying again", self._camera, error)
            pause_s = _FIRST_PAUSE_S if self._was_well else min(2 * pause_s, _LONGEST_PAUSE_S)
            self._stop.wait(pause_s)

    def _read(self) -> None:
        """Read until told to stop. Raises SourceError."""
        self._was_well = False
        assert self._source.url is not None, "its address was not resolved"
        capture = CaptureProcess(
            f"{self._camera} (clips)",
            self._source.url.reveal(),
            self._source.shown,
            _NO_PICTURES,
            1.0,
            record_s=self._before_s,
            record_only=True,
        )
        with capture:
            self._capture = capture
            try:
                while not self._stop.is_set():
                    capture.receive(_RECEIVE_TIMEOUT_S)
                    self._was_well = self._was_well or capture.stream is not None
                    hand_over(self._camera, capture, self._keep)
            finally:
                self._capture = None
                hand_over(self._camera, capture, self._keep)


def take_from(capture: CaptureProcess | None, wish: TakeClip) -> str | None:
    """Have a clip made. Returns the suffix of its file; None where there is nothing to make it of."""
    stream = capture.stream if capture is not None else None
    if capture is None or stream is None:
        return None
    capture.take_clip(wish)
    return suffix_of(stream.codec)


def hand_over(camera: str, capture: CaptureProcess, keep: KeepClip) -> None:
    """Give what clips there are to who keeps them."""
    for clip in capture.taken_clips():
        keep(camera, clip, suffix_of(capture.stream.codec if capture.stream is not None else ""))
