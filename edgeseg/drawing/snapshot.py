"""Snapshot: a frame and its label map, copied, so that it outlives both."""

from __future__ import annotations

from dataclasses import dataclass

from edgeseg.frames import Frame, LabelMap


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """One analysed frame. version: counts the snapshots of a camera from 1, where its maker counts."""

    frame: Frame
    label_map: LabelMap
    version: int = 0

    @classmethod
    def of(cls, frame: Frame, label_map: LabelMap, version: int = 0) -> Snapshot:
        """Copy a frame. Takes about as long as copying the network's input."""
        confidence = None if label_map.confidence is None else label_map.confidence.copy()
        return cls(
            Frame(frame.camera, frame.seq, frame.views.copy(), frame.fit, frame.time),
            LabelMap(label_map.labels.copy(), confidence, label_map.fit),
            version,
        )
