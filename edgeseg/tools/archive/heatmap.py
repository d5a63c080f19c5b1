"""Heat map: where in the view each class was, and how often."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeseg.drawing.overlay import labels_on_picture
from edgeseg.frames import LabelMap

# Over the whole view whatever its aspect: fine enough to see a lane, small enough to keep for every segment.
COLUMNS, ROWS = 96, 54

Counts = npt.NDArray[np.uint32]


class Heat:
    """counts: uint32 (classes, ROWS, COLUMNS), in how many pictures the cell's centre showed the class."""

    def __init__(self, classes: int) -> None:
        self.counts: Counts = np.zeros((classes, ROWS, COLUMNS), np.uint32)
        self._cell = np.arange(ROWS * COLUMNS)

    def add(self, label_map: LabelMap) -> None:
        """Count one more picture."""
        labels = labels_on_picture(label_map, (COLUMNS, ROWS)).ravel()
        self.counts.reshape(len(self.counts), -1)[labels, self._cell] += np.uint32(1)
