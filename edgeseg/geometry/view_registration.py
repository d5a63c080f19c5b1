"""View registration: by how much a camera has moved, from small luma pictures of before and now.

Candidates for the transform come from three sides: none at all, phase correlation (shifts of whole scenes
with little texture), and ORB features with RANSAC (turns, zooms and large shifts). Each is refined by ECC
(Evangelidis and Psarakis 2008), which heeds neither brightness nor contrast and finds a tenth of a pixel. A
candidate is judged by ``agreement``: in how much of the picture the edges lie where they lay before. What
moves through the scene, parked lorries and shadows spoil a part of that, never all of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.frames import U8, Picture, Transform
from edgeseg.geometry.polygons import area_in_cells, rectangle
from edgeseg.settings import Polygon, ZoneSettings

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# As many pixels as 320 x 180 have: a tenth of a pixel is then 0.03 % of the width, and a view fits a message.
_VIEW_AREA_PX = 320 * 180
_BLOCKS = (9, 16)
# Blocks whose mean squared gradient is below hold no edge to compare: noise and compression alone.
_LEAST_ENERGY = 3.0
_SAME_EDGES = 0.5
# Less than this of the view is too little to judge the rest.
LEAST_BLOCKS = 12
_LEAST_OVERLAP = 0.35
_ECC_STEPS = 60
_ECC_ENOUGH = 1e-4
_SMOOTH_PX = 5
_FEATURES = 500
_LEAST_MATCHES = 12
_RANSAC_PX = 2.0
# No better answer is looked for.
_CLEARLY = 0.9
# Two blocks of a hundred are chance.
_NO_WORSE = 0.03
IDENTITY = Transform((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, slots=True)
class Registration:
    """agreement: share of the comparable picture whose edges lie where the transform puts them, 0-1.
    unmoved: that of the view without any transform."""

    transform: Transform
    agreement: float
    unmoved: float


def view_of(picture: Picture) -> U8:
    """The picture's luma as views are kept and compared: uint8 (h, w), some 320 x 180 pixels."""
    plane = picture.planes[0]
    if picture.layout == "rgb":
        plane = cv2.cvtColor(plane, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, math.sqrt(_VIEW_AREA_PX / (picture.width_px * picture.height_px)))
    size_px = max(1, round(picture.width_px * scale)), max(1, round(picture.height_px * scale))
    return np.asarray(cv2.resize(plane, size_px, interpolation=cv2.INTER_AREA), np.uint8)


def register(reference: U8, current: U8) -> Registration | None:
    """Where the points of ``reference`` are in ``current``, both as ``view_of`` gives them.

    None where the two cannot be compared: other sizes, or too few edges.
    """
    if reference.shape != current.shape:
        return None
    before, after = Edges(reference), Edges(current)
    unmoved = before.agreement(after, np.eye(2, 3))
    if unmoved is None:
        return None
    best, most = np.eye(2, 3), unmoved
    for guess in _guesses(reference, current):
        for warp in (guess, _refined(reference, current, guess)):
            agreement = None if warp is None else before.agreement(after, warp)
            if warp is not None and agreement is not None and agreement > most:
                best, most = warp, agreement
        if most >= _CLEARLY:
            break
    # Once more without what moves by itself; then as a camera moves: nothing shears.
    still = _refined(reference, current, best, after.alike(before, best))
    for warp in (still, _similar(best if still is None else still, reference.shape)):
        agreement = None if warp is None else before.agreement(after, warp)
        if warp is not None and agreement is not None and agreement >= most - _NO_WORSE:
            best, most = warp, max(most, agreement)
    return Registration(transform_of(best, reference.shape), most, unmoved)


def transform_of(warp: F64, shape: tuple[int, ...]) -> Transform:
    """warp: (2, 3), pixel centres of one view to those of another. shape: of the views, rows first."""
    height, width = shape[:2]
    # From 0-1 coordinates to pixel centres and back.
    grow = np.array([[width, 0, -0.5], [0, height, -0.5], [0, 0, 1]])
    shrink = np.array([[1 / width, 0, 0.5 / width], [0, 1 / height, 0.5 / height], [0, 0, 1]])
    whole = shrink @ np.vstack([warp, [0, 0, 1]]) @ grow
    return _described(whole, width / height)


def chained(first: Transform, then: Transform, aspect: float) -> Transform:
    """One after the other. aspect: width of the picture through its height."""
    return _described(_whole(then) @ _whole(first), aspect)


def moved_points(polygon: Sequence[tuple[float, float]], transform: Transform) -> Polygon:
    """Where the points (0-1 coordinates of the picture) are now; they may lie outside of it."""
    a, b, c, d, e, f = transform.matrix
    return tuple((a * x + b * y + c, d * x + e * y + f) for x, y in polygon)


def moved_zones(zones: Sequence[ZoneSettings], transform: Transform | None) -> tuple[ZoneSettings, ...]:
    """The zones where the ground that they were drawn on is now; None: where it was."""
    if transform is None:
        return tuple(zones)
    return tuple(
        replace(
            zone,
            include=tuple(moved_points(polygon, transform) for polygon in zone.include),
            exclude=tuple(moved_points(polygon, transform) for polygon in zone.exclude),
            ground=zone.ground
            and replace(
                zone.ground,
                points=moved_points(zone.ground.points, transform),
                origin=moved_points([zone.ground.origin], transform)[0],
            ),
        )
        for zone in zones
    )


def share_in_picture(zone: ZoneSettings) -> float:
    """How much of a zone that ``moved_zones`` gave still lies in the picture, 0-1."""
    include, exclude = ([np.array(ring) for ring in rings] for rings in (zone.include, zone.exclude))
    corners = np.concatenate(include)
    low = np.minimum(corners.min(axis=0), 0.0)
    cells = np.ceil(np.maximum(corners.max(axis=0), 1.0) - low).astype(int)
    shape = int(cells[1]), int(cells[0])
    everywhere = rectangle(0, 0, shape[1], shape[0])
    whole = area_in_cells(
        [ring - low for ring in include], [ring - low for ring in exclude], everywhere, shape
    ).sum()
    inside = area_in_cells(include, exclude, rectangle(0, 0, 1, 1), (1, 1)).sum()
    return float(inside / whole) if whole > 0 else 0.0


def inverse(transform: Transform, aspect: float) -> Transform:
    """The way back."""
    return _described(np.asarray(np.linalg.inv(_whole(transform)), np.float64), aspect)


def transform_from(matrix: Sequence[float], aspect: float) -> Transform:
    """matrix: as ``Transform.matrix``. Raises ValueError for one that is no camera's movement."""
    whole = np.vstack([np.reshape(np.array(matrix, float), (2, 3)), [0, 0, 1]])
    if not np.isfinite(whole).all() or not 0.01 < abs(float(np.linalg.det(whole))) < 100:
        raise ValueError(f"got {list(matrix)}, expected a, b, c, d, e, f of a transform")
    return _described(whole, aspect)


class Edges:
    """Gradients of one view, of any size."""

    def __init__(self, view: U8) -> None:
        smooth = cv2.GaussianBlur(view, (_SMOOTH_PX, _SMOOTH_PX), 0)
        self._view = smooth
        self._x, self._y = _gradients(smooth)
        self._energy = self._x * self._x + self._y * self._y

    def agreement(self, after: Edges, warp: F64) -> float | None:
        """In what share of the blocks that have edges in either view they agree under the warp; None where
        too little can be compared."""
        alike, compared = self.in_blocks(after, warp)
        return float((alike & compared).sum() / compared.sum()) if compared.sum() >= LEAST_BLOCKS else None

    def alike(self, before: Edges, warp: F64) -> U8:
        """A mask for this view, uint8 (h, w), 0 or 1: where it shows what the one before showed."""
        alike, compared = self.in_blocks(before, cv2.invertAffineTransform(warp))
        height, width = self._view.shape
        return np.asarray(
            cv2.resize((alike | ~compared).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        )

    @property
    def energy(self) -> F32:
        """Mean squared gradient of each block, float32 (9, 16)."""
        return _in_blocks(self._energy)

    def in_blocks(self, after: Edges, warp: F64) -> tuple[Mask, Mask]:
        """For each block, bool (9, 16): whether its edges agree under the warp, and whether it has any."""
        height, width = self._view.shape
        if np.array_equal(warp, np.eye(2, 3)):
            there, x, y = np.ones((height, width), np.float32), after._x, after._y
        else:
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            moved = cv2.warpAffine(after._view, warp, (width, height), flags=flags)
            inside = cv2.warpAffine(np.ones_like(moved), warp, (width, height), flags=flags)
            # The warp's own border is no edge of the scene.
            there = cv2.erode(inside, np.ones((5, 5), np.uint8)).astype(np.float32)
            x, y = _gradients(np.asarray(moved, np.uint8))
            x, y = x * there, y * there
        if there.mean() < _LEAST_OVERLAP:
            return np.zeros(_BLOCKS, np.bool_), np.zeros(_BLOCKS, np.bool_)
        mine = _in_blocks(self._energy * there)
        theirs = _in_blocks(x * x + y * y)
        both = _in_blocks(self._x * x + self._y * y)
        present = _in_blocks(there) > 0.5
        compared = present & (np.maximum(mine, theirs) >= _LEAST_ENERGY)
        return both / np.maximum(np.sqrt(mine * theirs), 1e-6) >= _SAME_EDGES, compared


def _gradients(view: U8) -> tuple[F32, F32]:
    return (
        np.asarray(cv2.Sobel(view, cv2.CV_32F, 1, 0, scale=0.25), np.float32),
        np.asarray(cv2.Sobel(view, cv2.CV_32F, 0, 1, scale=0.25), np.float32),
    )


def _in_blocks(values: F32) -> F32:
    return np.asarray(cv2.resize(values, _BLOCKS[::-1], interpolation=cv2.INTER_AREA), np.float32)


def _guesses(reference: U8, current: U8) -> Iterator[F64]:
    yield np.eye(2, 3)
    window = cv2.createHanningWindow(reference.shape[::-1], cv2.CV_32F)
    (right, down), _ = cv2.phaseCorrelate(reference.astype(np.float32), current.astype(np.float32), window)
    yield np.array([[1, 0, right], [0, 1, down]])
    by_features = _by_features(reference, current)
    if by_features is not None:
        yield by_features


def _by_features(reference: U8, current: U8) -> F64 | None:
    orb = cv2.ORB_create(_FEATURES, fastThreshold=8, edgeThreshold=15, patchSize=25)  # type: ignore[attr-defined]
    (points, descriptors), (points_now, descriptors_now) = (
        orb.detectAndCompute(cv2.equalizeHist(view), None) for view in (reference, current)
    )
    if descriptors is None or descriptors_now is None:
        return None
    pairs = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(descriptors, descriptors_now)
    if len(pairs) < _LEAST_MATCHES:
        return None
    before = np.array([points[pair.queryIdx].pt for pair in pairs])
    after = np.array([points_now[pair.trainIdx].pt for pair in pairs])
    warp, _ = cv2.estimateAffinePartial2D(before, after, ransacReprojThreshold=_RANSAC_PX)
    return None if warp is None else np.asarray(warp, np.float64)


def _refined(reference: U8, current: U8, guess: F64, where: U8 | None = None) -> F64 | None:
    """where: mask of the current view. None where it does not converge."""
    end = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _ECC_STEPS, _ECC_ENOUGH)
    try:
        _, warp = cv2.findTransformECC(
            reference, current, guess.astype(np.float32), cv2.MOTION_AFFINE, end, where, _SMOOTH_PX
        )
    except cv2.error:
        return None
    return np.asarray(warp, np.float64)


def _similar(warp: F64, shape: tuple[int, ...]) -> F64:
    """The nearest that only shifts, turns and zooms and does the same to the view's middle."""
    c, s = (warp[0, 0] + warp[1, 1]) / 2, (warp[1, 0] - warp[0, 1]) / 2
    linear = np.array([[c, -s], [s, c]])
    middle = np.array([shape[1] - 1, shape[0] - 1]) / 2
    shift = warp[:, :2] @ middle + warp[:, 2] - linear @ middle
    return np.hstack([linear, shift[:, None]])


def _whole(transform: Transform) -> F64:
    return np.vstack([np.reshape(transform.matrix, (2, 3)), [0, 0, 1]])


def _described(whole: F64, aspect: float) -> Transform:
    """whole: (3, 3) in 0-1 coordinates. In units of the height, x and y have one scale."""
    units = np.diag([aspect, 1.0, 1.0])
    even = units @ whole @ np.linalg.inv(units)
    corners = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1], [0.5, 0.5, 1]]).T
    went = (whole @ corners - corners)[:2]
    lengths = np.hypot(went[0], went[1] / aspect)
    return Transform(
        matrix=tuple(float(value) for value in whole[:2].ravel()),  # type: ignore[arg-type]
        right=float(went[0, 4]),
        down=float(went[1, 4]),
        turned_deg=math.degrees(math.atan2(even[1, 0] - even[0, 1], even[0, 0] + even[1, 1])),
        zoom=math.sqrt(abs(float(np.linalg.det(even[:2, :2])))),
        farthest=float(lengths[:4].max()),
    )
