"""The data that flows through the pipeline, in the order it flows: frozen, slotted, and nothing else.

Coordinates. *Picture* coordinates are pixels of the camera picture, *input* coordinates pixels of what
the network sees. Both are continuous: pixel ``i`` covers ``[i, i + 1)``, its centre is at ``i + 0.5``
(the half-pixel convention of cv2.resize and of ONNX Resize ``half_pixel``). Zone polygons are in 0-1
coordinates of the camera picture.

Time. ``camera_time_s`` is what durations are measured in: the monotonic arrival time of a live source,
the presentation time (PTS) of a file. ``captured_at_s`` is seconds since the Unix epoch, UTC, and is
only ever reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class FrameTime:
    """When a picture was taken. ``pts_s`` and ``sender_utc_s`` are the camera's own claims: advisory."""

    camera_time_s: float
    captured_at_s: float
    pts_s: float | None = None
    sender_utc_s: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One decoded camera picture, still in the decoder's planes. What a ``Source`` yields.

    planes: for layout ``i420`` y (h, w), u and v (ceil(h/2), ceil(w/2)); for ``rgb`` one (h, w, 3).
        uint8, valid until the source is advanced: copy what must outlive that.
    full_range, matrix: how YUV becomes RGB (ITU-T H.273); ignored for ``rgb``.
    """

    planes: tuple[U8, ...]
    layout: Literal["i420", "rgb"]
    full_range: bool
    matrix: Literal["bt601", "bt709"]
    time: FrameTime

    @property
    def width_px(self) -> int:
        return int(self.planes[0].shape[1])

    @property
    def height_px(self) -> int:
        return int(self.planes[0].shape[0])


@dataclass(frozen=True, slots=True)
class Rect:
    """An axis-aligned rectangle in continuous pixels; right and bottom are exclusive."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class View:
    """One network input cut from the camera picture: ``crop`` (picture px) is resized into ``place``
    (input px); the rest of the input is padding.

    ``owns`` (picture px, inside ``crop``) is the part this view answers for: tiles overlap, but every
    point of the picture is owned by exactly one view.
    """

    crop: Rect
    place: Rect
    owns: Rect


@dataclass(frozen=True, slots=True)
class Fit:
    """How a camera picture was placed into network inputs, and so the way back. Hashable: a cache key."""

    picture_width_px: int
    picture_height_px: int
    input_width_px: int
    input_height_px: int
    views: tuple[View, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The network's input, made of one picture.

    views: uint8 (n, input_height_px, input_width_px, 3) RGB, one for each ``fit.views``.
    seq: counts the frames handed over by one camera since the process started.
    """

    camera: str
    seq: int
    views: U8
    fit: Fit
    time: FrameTime


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """The network's answer on its own output grid, never upscaled.

    labels: uint8 (n, grid_h, grid_w), class index, always < number of classes; one map for each view.
        The grid spans the whole input: cell (r, c) covers input_height_px / grid_h by
        input_width_px / grid_w pixels.
    confidence: uint8 of the same shape, the winner's softmax probability times 255; None where the
        model has its argmax inside.
    """

    labels: U8
    confidence: U8 | None
    fit: Fit


PictureFault = Literal["frozen", "dark", "blown_out", "blurred", "covered", "moved"]


@dataclass(frozen=True, slots=True)
class Transform:
    """Where the points of an earlier view of a camera are in its view now: an affine map.

    matrix: a, b, c, d, e, f of x' = a x + b y + c, y' = d x + e y + f, in 0-1 coordinates of the picture.
    right, down: how far the picture's centre went, as shares of the picture's width and height. turned_deg:
    clockwise. zoom: above 1 where things are larger now. farthest: how far the corner went that went
    farthest, as a share of the picture's width.
    """

    matrix: tuple[float, float, float, float, float, float]
    right: float
    down: float
    turned_deg: float
    zoom: float
    farthest: float

    def __str__(self) -> str:
        return (
            f"{abs(self.right):.1%} {'right' if self.right >= 0 else 'left'}, "
            f"{abs(self.down):.1%} {'down' if self.down >= 0 else 'up'}, "
            f"turned {self.turned_deg:+.1f} degrees, zoom {self.zoom:.3f}"
        )


@dataclass(frozen=True, slots=True)
class PictureHealth:
    """Picture health: whether a camera's pictures can be measured.

    state: None while they can; else the fault, and ``reason`` describes it. transform: by how much the camera
    has moved since its reference view was learned; None where it has not, or that is unknown.
    """

    state: PictureFault | None = None
    reason: str | None = None
    transform: Transform | None = None
