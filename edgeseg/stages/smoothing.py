"""Temporal smoothing: label maps that do not flicker where nothing moves.

Networks change the class of a cell from frame to frame although the picture there is the same. A cell
that shows no motion takes a new class only when two analyses in a row agree on it, one analysis interval
later; where something moves it takes it at once. What comes and goes within one analysis never shows.

Motion is looked for in the network's own input, on the label grid: green, which is most of luma, averaged
over each cell and its neighbours. A camera's noise is below the threshold there, a walking person above.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.frames import U8, Fit, Frame, LabelMap

# Levels of 255 between two analyses, after averaging: what the gate's medium sensitivity takes for motion.
_MOTION_LEVELS = 12
_NEIGHBOURS = (3, 3)
# After a longer pause the previous label map is too old.
_LONGEST_GAP_S = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class _Previous:
    """smoothed: the label map returned last. labels: the network's own for it. green: of its picture."""

    smoothed: LabelMap
    labels: U8
    green: U8
    at_s: float


class TemporalSmoother:
    """Smooths one camera's label maps, in the order of its frames. Single-threaded."""

    def __init__(self) -> None:
        self._previous: _Previous | None = None

    def smooth(self, label_map: LabelMap, frame: Frame) -> LabelMap:
        """Return the smoothed label map of this frame; labels and confidence of the same shapes and dtypes.

        A cell that keeps its label keeps the confidence that came with it.
        """
        now, at_s = green(frame.views, label_map.labels.shape), frame.time.camera_time_s
        previous = self._previous
        # Engines use their output's memory again.
        labels = label_map.labels.copy()
        confidence = None if label_map.confidence is None else label_map.confidence.copy()
        if previous is not None and _goes_on(previous, label_map.fit, labels.shape, at_s):
            is_new = (labels != previous.smoothed.labels) & (labels != previous.labels)
            stays = is_new & ~moved(now, previous.green)
            np.copyto(labels, previous.smoothed.labels, where=stays)
            if confidence is not None and previous.smoothed.confidence is not None:
                np.copyto(confidence, previous.smoothed.confidence, where=stays)
        smoothed = LabelMap(labels, confidence, label_map.fit)
        self._previous = _Previous(smoothed, label_map.labels.copy(), now, at_s)
        return smoothed


def moved(now: U8, before: U8) -> npt.NDArray[np.bool_]:
    """Where something moved between two pictures, both uint8 (n, h, w): bool of that shape.

    A cell counts with its neighbours, since what moves uncovers what is beside it.
    """
    masks = []
    for one, other in zip(now, before, strict=True):
        difference = cv2.blur(cv2.absdiff(one, other), _NEIGHBOURS)
        mask = (difference > _MOTION_LEVELS).view(np.uint8)
        masks.append(cv2.dilate(mask, np.ones(_NEIGHBOURS, np.uint8)).view(np.bool_))
    return np.stack(masks)


def green(views: U8, grid: tuple[int, ...]) -> U8:
    """uint8 (n, grid_h, grid_w): each view's green channel, averaged over the cells of the label grid."""
    size_px = grid[2], grid[1]
    channels = (np.ascontiguousarray(view[:, :, 1]) for view in views)
    return np.stack([cv2.resize(one, size_px, interpolation=cv2.INTER_AREA) for one in channels])


def _goes_on(previous: _Previous, fit: Fit, grid: tuple[int, ...], at_s: float) -> bool:
    same = previous.smoothed.fit == fit and previous.labels.shape == grid
    return same and 0 <= at_s - previous.at_s <= _LONGEST_GAP_S
