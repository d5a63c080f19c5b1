"""Camera publisher: takes one camera's events to subscribers, zone drawings, evidence and memory."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial

from edgeseg.drawing import overlay
from edgeseg.events import Alert, CommandAnswer, Event, RuleState
from edgeseg.frames import U8, Frame, LabelMap
from edgeseg.observers import EvidenceCollector
from edgeseg.publish.base import Publisher
from edgeseg.rules import Dwell
from edgeseg.runtime.camera_memory import CameraMemory

log = logging.getLogger(__name__)


class CameraPublisher:
    """Guarded by the camera's lock, which keeps its messages in order.

    Args:
        board: draws the zones as they stand.
        palette: uint8 (classes, 3), RGB.
        evidence: keeps pictures of alerts; None keeps none.
        memory: saves what rules know, together with each alert; None saves nothing.
    """

    def __init__(
        self,
        camera: str,
        publisher: Publisher,
        board: overlay.ZoneBoard,
        palette: U8,
        evidence: EvidenceCollector | None,
        memory: CameraMemory | None,
    ) -> None:
        self._camera = camera
        self._publisher = publisher
        self._board = board
        self._palette = palette
        self.snapshot_asked = False
        self._evidence = evidence
        self._memory = memory

    def observe(
        self,
        dwells: Sequence[Dwell],
        events: Sequence[Event],
        frame: Frame | None = None,
        label_map: LabelMap | None = None,
    ) -> None:
        """Let the evidence collector see what the rules saw, before their alerts go out."""
        if self._evidence is not None:
            self._evidence.on_observation(dwells, events, frame, label_map)

    def send(self, events: Iterable[Event]) -> None:
        """Publish events; alerts go with their evidence, in one transaction with what their rules know."""
        events = tuple(events)
        alerts = any(isinstance(event, Alert) for event in events)
        if alerts and self._evidence is not None:
            events = self._evidence.annotate(events)
        if self._memory is None or not alerts:
            self._publish(events)
        else:
            self._memory.save_with(partial(self._publish, events))

    def send_snapshot(self, frame: Frame, label_map: LabelMap) -> None:
        """Publish a frame with its classes and zones drawn, where one was asked for."""
        if self.snapshot_asked:
            self.snapshot_asked = False
            picture = overlay.picture_of(frame)
            shown = overlay.render(picture, label_map, self._palette, self._board.drawings())
            self.send([CommandAnswer(self._camera, "snapshot", overlay.encode_jpeg(shown))])

    def save_if_due(self, now_s: float, *, always: bool = False) -> None:
        """See ``CameraMemory.save_if_due``."""
        if self._memory is not None:
            self._memory.save_if_due(now_s, always=always)

    def _publish(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, RuleState) and event.reason is not None:
                log.info(
                    "camera %s: zone %s: rule %s: %s", self._camera, event.zone, event.rule, event.reason
                )
            self._board.note(event)
            self._publisher.send(event)
