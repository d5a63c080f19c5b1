"""Picture baseline: a running mean of a camera's healthy pictures, and how one differs from it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.geometry.view_registration import F32, LEAST_BLOCKS, Edges
from edgeseg.screening.health.measures import PictureMeasures

# Long enough for people who walk by to blur, short enough to be of use soon.
LEARN_S = 10.0
_LEAST_PICTURES = 10
# The sun moves shadows, cars are parked: what was long ago counts less.
_FORGETS_S = 600.0
# Edges of the mean are computed anew that often.
_ANEW_S = 5.0
_NOTHING_MOVED = np.eye(2, 3)
# Blocks of the usual view with so much more than noise lose their edges when they have a quarter left and
# those lie elsewhere: dimmer or blurred edges still lie where they lay.
_HAS_EDGES = 6.0
_LEFT = 0.25
_ENOUGH_ALIKE = 0.25
# A cover hides edges everywhere; on an empty ground the only ones are those of what moves about.
_LEAST_IN_A_QUARTER = 0.05
# Ramps wider than what is compared have this sharpness.
_NO_SHARPNESS = 1 / 16


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one picture from the baseline.

    agreement: share of the blocks with edges whose edges lie where they usually do, 0-1; as a share of
    what is usual: ``alike``. lost: share of the blocks with edges that have lost them. fine: fine detail
    in relation to coarse edges, ``sharpness`` that of fine to coarser detail; 1 is usual, 0 a blur.
    """

    agreement: float
    alike: float
    lost: float
    fine: float
    sharpness: float


class PictureBaseline:
    """A running mean of healthy pictures. Single-threaded."""

    def __init__(self) -> None:
        self._luma: F32 | None = None
        self._means: npt.NDArray[np.float64] = np.zeros(4)
        self._edges: Edges | None = None
        self._edges_s = 0.0
        self._pictures = 0
        self._began_s = 0.0
        self._last_s = 0.0

    @property
    def ready(self) -> bool:
        return self._pictures >= _LEAST_PICTURES and self._last_s - self._began_s >= LEARN_S - 1e-3

    def learn(
        self, measures: PictureMeasures, edges: Edges, difference: Difference | None, time_s: float
    ) -> None:
        """Add a healthy picture to the mean. difference: of this picture, where it was compared."""
        agreement = difference.agreement if difference else 1.0
        numbers = np.array([measures.fine, measures.sharpness, float(edges.energy.mean()), agreement])
        if self._luma is None or self._luma.shape != measures.luma.shape or time_s < self._last_s:
            self._luma, self._means, self._edges = measures.luma.astype(np.float32), numbers, edges
            self._pictures, self._began_s, self._last_s = 1, time_s, time_s
            self._edges_s = time_s
            return
        self._pictures += 1
        weight = max(1 / self._pictures, min(1.0, (time_s - self._last_s) / _FORGETS_S))
        self._last_s = time_s
        cv2.accumulateWeighted(measures.luma, self._luma, weight)
        self._means += weight * (numbers - self._means)
        if time_s - self._edges_s >= _ANEW_S:
            self._edges_s = time_s
            self._edges = Edges(np.asarray(cv2.convertScaleAbs(self._luma), np.uint8))

    def compare(self, measures: PictureMeasures, edges: Edges) -> Difference | None:
        """None while too little is known, or the usual view has no edges."""
        own = self._edges
        if not self.ready or own is None or self._luma is None or self._luma.shape != measures.luma.shape:
            return None
        usual = own.energy
        has = usual >= _HAS_EDGES
        alike, compared = own.in_blocks(edges, _NOTHING_MOVED)
        if compared.sum() < LEAST_BLOCKS or not has.any():
            return None
        agreement = float((alike & compared).sum() / compared.sum())
        now = edges.energy
        dimmed = 1.0
        if (alike & has).sum() >= _ENOUGH_ALIKE * has.sum():
            # Less light, fog or a blur: edges are weaker everywhere, and lost is what lacks more than that.
            dimmed = min(1.0, float(np.median(now[alike & has] / usual[alike & has])))
        lost = has & (now < _LEFT * dimmed * usual) & ~alike if _in_every_quarter(has) else np.zeros_like(has)
        fine, sharpness, energy, usually = self._means
        contrast = max(float(now.mean()) / max(energy, 1e-6), 1e-6)
        return Difference(
            agreement=agreement,
            alike=agreement / max(usually, 1e-6),
            lost=float(lost.sum() / has.sum()),
            fine=measures.fine / max(fine, 1e-6) / contrast,
            sharpness=(measures.sharpness - _NO_SHARPNESS) / max(sharpness - _NO_SHARPNESS, 1e-6),
        )


def _in_every_quarter(blocks: npt.NDArray[np.bool_]) -> bool:
    """Whether a twentieth of the blocks of each quarter of the picture is among them."""
    halves = np.array_split(blocks, 2, axis=0)
    quarters = [quarter for half in halves for quarter in np.array_split(half, 2, axis=1)]
    return all(quarter.mean() >= _LEAST_IN_A_QUARTER for quarter in quarters)
