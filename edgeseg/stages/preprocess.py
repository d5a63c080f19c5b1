"""Preprocess: fits a camera picture into network inputs, and keeps the way back.

The decoder's planes go straight to the network's size and only then become RGB: for one 1280 x 720
picture to 512 x 512 that costs a third of converting first. Every colour path is one
3 x 4 matrix on the small picture, so bt601 and bt709, limited and full range cost the same.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.frames import U8, Fit, Picture, Rect, View
from edgeseg.settings import FitName

# Each tile is a whole inference: eight of them are what half a second of a small CPU can bear.
MAX_TILES = 8

# Neighbouring tiles share at least this part of the input: four cells of a stride-16 network at 513 px,
# two on either side of the seam, where it would otherwise see no context.
TILE_OVERLAP = 1 / 8

# Below this an overlap of whole pixels that starts at an even one may be none.
LEAST_TILE_PX = 24

# About zero after the normalisation of most networks, as TensorFlow's DeepLab pads.
PADDING = 127

# Luma weights of red and blue: ITU-T H.273 table 4, matrix coefficients 6 (bt601) and 1 (bt709).
LUMA_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How one camera's pictures become network inputs: what a camera process is given (it pickles).

    input_size_px: (width, height) of the network's input.
    """

    kind: FitName
    input_size_px: tuple[int, int]

    def fit_for(self, picture_size_px: tuple[int, int]) -> Fit:
        """The fit for pictures of that (width, height); computed once for each size."""
        return make_fit(self.kind, picture_size_px, self.input_size_px)

    def place(self, picture: Picture, fit: Fit, out: U8 | None = None) -> U8:
        """See ``place``."""
        return place(picture, fit, out)

    def __call__(self, picture: Picture, out: U8 | None = None) -> tuple[Fit, U8]:
        """The picture's fit and its views, uint8 (n, h, w, 3) RGB."""
        fit = self.fit_for((picture.width_px, picture.height_px))
        return fit, place(picture, fit, out)


@dataclass(frozen=True, slots=True)
class _Span:
    """One view along one axis: what it crops and owns of the picture, where that lies in the input."""

    crop_from: int
    crop_to: int
    place_from: int
    place_to: int
    owns_from: float
    owns_to: float


@lru_cache(maxsize=64)
def make_fit(kind: FitName, picture_size_px: tuple[int, int], input_size_px: tuple[int, int]) -> Fit:
    """Place pictures of one (width, height) into inputs of one (width, height).

    - ``stretch``: the whole picture fills the input; the aspect ratio is given up.
    - ``letterbox``: the whole picture, aspect ratio kept (to the nearest pixel), centred, padded.
    - ``tiles``: overlapping views at the camera's own scale, at most ``MAX_TILES``; where those do not
      cover the picture it is scaled down until they do. A picture smaller than the input along one
      axis is enlarged until it fills that axis, since padding costs as much as picture. Pictures of
      less than ``LEAST_TILE_PX`` are letterboxed.

    Raises ValueError for a size below 1 px.
    """
    if min(*picture_size_px, *input_size_px) < 1:
        raise ValueError(f"sizes must be at least 1 px, got picture {picture_size_px}, input {input_size_px}")
    width, height = picture_size_px
    input_width, input_height = input_size_px
    if kind == "stretch":
        columns = [_Span(0, width, 0, input_width, 0, width)]
        rows = [_Span(0, height, 0, input_height, 0, height)]
    elif kind == "letterbox":
        scale = min(input_width / width, input_height / height)
        columns, rows = _spans(width, input_width, 1, scale), _spans(height, input_height, 1, scale)
    else:
        scale, across, down = _tiling(picture_size_px, input_size_px)
        columns, rows = _spans(width, input_width, across, scale), _spans(height, input_height, down, scale)
    views = tuple(
        View(
            crop=Rect(column.crop_from, row.crop_from, column.crop_to, row.crop_to),
            place=Rect(column.place_from, row.place_from, column.place_to, row.place_to),
            owns=Rect(column.owns_from, row.owns_from, column.owns_to, row.owns_to),
        )
        for row in rows
        for column in columns
    )
    return Fit(width, height, input_width, input_height, views)


def _tiling(picture_size_px: tuple[int, int], input_size_px: tuple[int, int]) -> tuple[float, int, int]:
    """Scale (input px per picture px) and tiles across and down: the largest scale, then fewest tiles."""

    def scale_of(size_px: int, input_px: int, count: int) -> float:
        return (count * input_px - (count - 1) * TILE_OVERLAP * input_px) / size_px

    (width, height), (input_width, input_height) = picture_size_px, input_size_px
    limit = max(1.0, input_width / width, input_height / height)
    best = (0.0, 0, 0)
    for across in range(1, MAX_TILES + 1):
        for down in range(1, MAX_TILES // across + 1):
            scale = min(scale_of(width, input_width, across), scale_of(height, input_height, down), limit)
            if across > 1 and input_width < LEAST_TILE_PX * scale:
                continue
            if down > 1 and input_height < LEAST_TILE_PX * scale:
                continue
            if (scale, -across * down) > (best[0], -best[1] * best[2]):
                best = (scale, across, down)
    return best


def _spans(size_px: int, input_px: int, count: int, scale: float) -> list[_Span]:
    """``count`` views spread evenly over ``size_px`` pixels, seams in the middle of their overlaps."""
    placed = min(input_px, max(1, round(size_px * scale)))
    if count == 1:
        start = (input_px - placed) // 2
        return [_Span(0, size_px, start, start + placed, 0, size_px)]
    crop = min(size_px, round(input_px / scale))
    # Even starts, so that the half-size colour planes can be cut there too.
    starts = [i * (size_px - crop) // (count - 1) // 2 * 2 for i in range(count)]
    ends = [start + crop for start in starts[:-1]] + [size_px]
    seams = [0.0, *((ends[i] + starts[i + 1]) / 2 for i in range(count - 1)), float(size_px)]
    return [_Span(starts[i], ends[i], 0, input_px, seams[i], seams[i + 1]) for i in range(count)]


def place(picture: Picture, fit: Fit, out: U8 | None = None) -> U8:
    """Cut, resize and convert a picture to what the network sees.

    out: uint8 (n, input_height_px, input_width_px, 3), written and returned; new when None.
    Returns uint8 of that shape, RGB. Bilinear, half-pixel centres, no antialiasing. Colour planes are
    taken as sited in the middle of their four pixels; MPEG's left siting differs by half a picture pixel.
    Raises ValueError when the picture or ``out`` has another size than the fit.
    """
    if (picture.width_px, picture.height_px) != (fit.picture_width_px, fit.picture_height_px):
        raise ValueError(
            f"picture is {picture.width_px} x {picture.height_px} px, "
            f"the fit is for {fit.picture_width_px} x {fit.picture_height_px}"
        )
    shape = (len(fit.views), fit.input_height_px, fit.input_width_px, 3)
    if out is None:
        out = np.empty(shape, np.uint8)
    elif out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, the fit needs {shape}")
    for view, into in zip(fit.views, out, strict=True):
        left, top = int(view.place.left), int(view.place.top)
        right, bottom = int(view.place.right), int(view.place.bottom)
        into[:top] = PADDING
        into[bottom:] = PADDING
        into[top:bottom, :left] = PADDING
        into[top:bottom, right:] = PADDING
        _draw(picture, view.crop, into[top:bottom, left:right])
    return out


def _draw(picture: Picture, crop: Rect, into: U8) -> None:
    left, top, right, bottom = int(crop.left), int(crop.top), int(crop.right), int(crop.bottom)
    height_px, width_px = into.shape[:2]
    first = picture.planes[0][top:bottom, left:right]
    if picture.layout == "rgb":
        cv2.resize(first, (width_px, height_px), dst=into, interpolation=cv2.INTER_LINEAR)
        return
    planes = [_resize(first, (width_px, height_px), 0)]
    for number, plane in enumerate(picture.planes[1:], start=1):
        colour = plane[top // 2 : (bottom + 1) // 2, left // 2 : (right + 1) // 2]
        # Where the crop is odd the colour planes reach one pixel further: enlarge that too, then cut it.
        reach_px = (
            round(width_px * 2 * colour.shape[1] / (right - left)),
            round(height_px * 2 * colour.shape[0] / (bottom - top)),
        )
        planes.append(_resize(colour, reach_px, number)[:height_px, :width_px])
    # In place: a second picture-sized buffer would cost more than the arithmetic.
    cv2.merge(planes, dst=into)
    cv2.transform(into, yuv_to_rgb(picture.matrix, picture.full_range), dst=into)


class _Scratch(threading.local):
    """Where resized planes lie until they are merged. Fresh memory for each would cost up to three times
    the work itself, in page faults."""

    def __init__(self) -> None:
        self.buffers = [np.empty(0, np.uint8) for _ in range(3)]


_scratch = _Scratch()


def _resize(plane: U8, size_px: tuple[int, int], number: int) -> U8:
    """The plane at another (width, height), in this thread's scratch buffer of that number."""
    width_px, height_px = size_px
    if _scratch.buffers[number].size < width_px * height_px:
        _scratch.buffers[number] = np.empty(width_px * height_px, np.uint8)
    into = _scratch.buffers[number][: width_px * height_px].reshape(height_px, width_px)
    cv2.resize(plane, size_px, dst=into, interpolation=cv2.INTER_LINEAR)
    return into


@lru_cache(maxsize=4)
def yuv_to_rgb(matrix: Literal["bt601", "bt709"], full_range: bool) -> npt.NDArray[np.float32]:
    """float32 (3, 4): RGB = m[:, :3] @ (Y, U, V) + m[:, 3], all 8 bit (ITU-T H.273, equations 46-48)."""
    red, blue = LUMA_WEIGHTS[matrix]
    green = 1 - red - blue
    luma, chroma, black = (1.0, 2.0, 0.0) if full_range else (255 / 219, 255 / 112, 16.0)
    to_red, to_blue = (1 - red) * chroma, (1 - blue) * chroma
    rows: Sequence[Sequence[float]] = (
        (luma, 0.0, to_red),
        (luma, -to_blue * blue / green, -to_red * red / green),
        (luma, to_blue, 0.0),
    )
    return np.array([[y, u, v, -y * black - (u + v) * 128.0] for y, u, v in rows], np.float32)
