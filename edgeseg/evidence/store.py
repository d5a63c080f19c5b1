"""Where evidence is made and kept, in a thread of its own: nothing here holds a worker up."""

from __future__ import annotations

import logging
import mmap
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from edgeseg.capture.clip_recorder import LATE_S
from edgeseg.capture.clip_request import ClipRequest
from edgeseg.capture.shared_memory import AlertClip
from edgeseg.clock import Clock, iso_utc
from edgeseg.drawing.snapshot import Snapshot
from edgeseg.events import Alert
from edgeseg.evidence.collector import CameraEvidence, Names, Request
from edgeseg.evidence.files import EvidenceFiles, KeptFile, Part, file_name
from edgeseg.evidence.rendering import EvidenceRendering, indices
from edgeseg.models.model import Model
from edgeseg.settings import CameraSettings, ClipSettings, EvidenceBudget

log = logging.getLogger(__name__)

# Each holds up to two pictures of about a megabyte. Where alerts come faster than the disk takes them, some
# go without.
MOST_WAITING = 16
_TIDY_EVERY_S = 600.0
# For what is under way when edgeseg stops; a disk that hangs must not hold it up.
_FINISH_WITHIN_S = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class _Order:
    develop: EvidenceRendering
    request: Request

    def shots(self) -> Iterator[tuple[Part, Snapshot]]:
        if self.request.before is not None:
            yield "before", self.request.before
        if self.request.after is not None:
            yield "after", self.request.after


@dataclass(frozen=True, slots=True)
class _Clip:
    """A clip in memory that is to be kept. descriptor: ours."""

    camera: str
    alert_id: str
    suffix: str
    descriptor: int


@dataclass(frozen=True, slots=True)
class EvidenceFile:
    """What is kept of an alert. suffix: ``jpg``, ``mp4`` or ``mkv``."""

    suffix: str
    data: bytes


TakesClips = Callable[[ClipRequest], "str | None"]
"""Has a clip made; returns the suffix of its file, or None where there is nothing to make it of."""


class EvidenceStore:
    """Keeps pictures and clips of alerts in ``folder``. Use it as a context manager.

    Without a camera that wants evidence, and without any from earlier, there is no thread. A disk that fails
    is told once: alerts go without pictures until it takes them again.
    """

    def __init__(self, folder: EvidenceFiles, budget: EvidenceBudget, clock: Clock) -> None:
        self.budget = budget
        self._folder = folder
        self._clock = clock
        self._tapes: dict[str, TakesClips] = {}
        self._orders: queue.Queue[_Order | _Clip | None] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._failing = False
        self._overrun = False

    def __enter__(self) -> EvidenceStore:
        if self._folder.path.exists():
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Finish what is under way. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        with suppress(queue.Full):
            self._orders.put(None, timeout=_FINISH_WITHIN_S)
        thread.join(_FINISH_WITHIN_S)
        if thread.is_alive():
            log.warning("evidence: %s does not take the last pictures; leaving them", self._folder.path)

    def collector(self, camera: CameraSettings, model: Model) -> CameraEvidence | None:
        """Who watches this camera; None where it wants nothing, or has no rule that could raise an alert."""
        wanted = camera.evidence
        rules = [rule for zone in camera.zones for rule in zone.rules]
        if wanted is None or not rules:
            return None
        self._start()
        develop = EvidenceRendering(wanted.pictures, model.palette, indices(model.classes, wanted.people))
        clip, pictures = wanted.clip, wanted.pictures != "none"

        def keep(request: Request) -> Names:
            name = self._order_clip(request.alert, clip) if clip is not None else None
            return Names(self._take(_Order(develop, request)) if pictures else (), name)

        # Their conditions begin when a clock strikes, or when pictures stop coming.
        always = any(rule.hours is not None or rule.on_unknown == "raise" for rule in rules)
        return CameraEvidence(keep, self._names, pictures=pictures, always=always)

    def record(self, camera: str, takes_clips: TakesClips) -> None:
        """From now on clips of this camera come from there."""
        self._tapes[camera] = takes_clips

    def keep_clip(self, camera: str, clip: AlertClip, suffix: str) -> None:
        """Keep a clip that was asked for. Its descriptor is closed here. Any thread."""
        if clip.descriptor is None:
            log.warning("evidence: camera %s: no clip of alert %s could be made", camera, clip.alert_id)
            return
        try:
            self._orders.put_nowait(_Clip(camera, clip.alert_id, suffix, clip.descriptor))
        except queue.Full:
            os.close(clip.descriptor)
            log.warning("evidence: camera %s: no room for the clip of alert %s", camera, clip.alert_id)

    def pictures_of(self, alert_id: str) -> Mapping[Part, Path]:
        """What is kept of an alert, by part; nothing for an id that is none. Any thread."""
        return {kept.part: self._folder.place_of(kept) for kept in self._kept(alert_id)}

    def picture(self, camera: str, wish: str) -> bytes | None:
        """The picture of a camera that ``wish`` names: ``<alert id>-before``, ``<alert id>-after``, or with
        ``<alert id>`` the latter of those there are. None where there is none. Any thread."""
        alert_id, _, part = wish.partition("-")
        pictures = [kept for kept in self._kept(alert_id) if kept.part != "clip"]
        found = [kept for kept in pictures if kept.camera == camera and part in ("", kept.part)]
        return self._read(found[-1]) if found else None

    def file(self, alert_id: str, part: str) -> EvidenceFile | None:
        """The picture ``before`` or ``after``, or the ``clip``, of an alert; None where there is none. Any
        thread."""
        kept = next((kept for kept in self._kept(alert_id) if kept.part == part), None)
        data = self._read(kept) if kept is not None else None
        return (
            EvidenceFile(kept.name.rpartition(".")[2], data)
            if kept is not None and data is not None
            else None
        )

    def _read(self, kept: KeptFile) -> bytes | None:
        try:
            return self._folder.read(kept)
        except OSError as error:
            log.error("evidence: %s cannot be read: %s", self._folder.place_of(kept), error.strerror)
            return None

    def _kept(self, alert_id: str) -> tuple[KeptFile, ...]:
        try:
            return self._folder.of_alert(alert_id)
        except ValueError:
            return ()

    def _names(self, alert_id: str) -> Names:
        kept = self._kept(alert_id)
        clip = next((one.name for one in kept if one.part == "clip"), None)
        return Names(tuple(one.name for one in kept if one.part != "clip"), clip)

    def _order_clip(self, alert: Alert, clip: ClipSettings) -> str | None:
        takes_clips = self._tapes.get(alert.camera)
        if takes_clips is None or self._failing:
            return None
        # Alerts tell UTC, packets have monotonic times; the clock may have been set in between.
        late_s = min(max(0.0, self._clock.utc_s() - alert.at_s), LATE_S)
        at_s = self._clock.monotonic_s() - late_s
        words = f"edgeseg: camera {alert.camera}, alert {alert.id}, {iso_utc(alert.at_s)}"
        suffix = takes_clips(ClipRequest(alert.id, at_s, clip.before_s, clip.after_s, words))
        return file_name(alert.id, "clip", suffix) if suffix is not None else None

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="evidence", daemon=True)
            self._thread.start()

    def _take(self, order: _Order) -> tuple[str, ...]:
        try:
            self._orders.put_nowait(order)
        except queue.Full:
            if not self._overrun:
                self._overrun = True
                log.warning("evidence: alerts come faster than pictures can be kept; some go without")
            return ()
        self._overrun = False
        # It is tried all the same, to notice when the disk is well again.
        if self._failing:
            return ()
        return tuple(file_name(order.request.alert.id, part) for part, _ in order.shots())

    def _run(self) -> None:
        self._try(self._folder.open)
        while True:
            self._try(partial(self._folder.tidy, self.budget))
            try:
                order = self._orders.get(timeout=_TIDY_EVERY_S)
            except queue.Empty:
                continue
            if order is None:
                return
            self._try(partial(self._fulfil, order))

    def _fulfil(self, order: _Order | _Clip) -> None:
        if isinstance(order, _Clip):
            try:
                with mmap.mmap(order.descriptor, 0, prot=mmap.PROT_READ) as data:
                    self._folder.keep(order.camera, order.alert_id, "clip", data, self.budget, order.suffix)
            finally:
                os.close(order.descriptor)
            return
        alert = order.request.alert
        for part, shot in order.shots():
            taken = iso_utc(shot.frame.time.captured_at_s)
            words = (
                f"edgeseg: camera {alert.camera}, alert {alert.id}, {part}, {taken}, {order.develop.pictures}"
            )
            self._folder.keep(alert.camera, alert.id, part, order.develop(shot, words), self.budget)
        if self._failing:
            self._failing = False
            log.info("evidence: %s takes pictures again", self._folder.path)

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            if not self._failing:
                self._failing = True
                log.error(
                    "evidence: %s: %s; alerts go without pictures until it takes them. Check the disk",
                    self._folder.path,
                    error.strerror or error,
                )
