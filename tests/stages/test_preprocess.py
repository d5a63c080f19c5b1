"""Fits: exact inverses, tiles that cover, colours as ITU-T H.273 has them."""

from __future__ import annotations

import pickle
from itertools import combinations
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeseg.frames import U8, Fit, FrameTime, Picture, Rect, View
from edgeseg.settings import FitName
from edgeseg.sources.file import FileSource
from edgeseg.stages.preprocess import MAX_TILES, PADDING, Preprocess, make_fit, place
from tests.support.examples import examples

KINDS: tuple[FitName, ...] = ("stretch", "letterbox", "tiles")
NOW = FrameTime(0.0, 0.0)

kinds = st.sampled_from(KINDS)
picture_sizes = st.tuples(st.integers(1, 4100), st.integers(1, 4100))
input_sizes = st.tuples(st.integers(16, 1025), st.integers(16, 1025))
shares = st.floats(0, 1)


def i420(
    height: int,
    width: int,
    yuv: tuple[int, int, int],
    *,
    full_range: bool = False,
    matrix: Literal["bt601", "bt709"] = "bt601",
) -> Picture:
    """One colour all over."""
    half = ((height + 1) // 2, (width + 1) // 2)
    planes = [
        np.full(shape, value, np.uint8)
        for shape, value in zip(((height, width), half, half), yuv, strict=True)
    ]
    return Picture(tuple(planes), "i420", full_range, matrix, NOW)


def to_input(view: View, x: float, y: float) -> tuple[float, float]:
    """The map that a View stands for, from its docstring: ``crop`` is resized into ``place``."""
    return (
        view.place.left + (x - view.crop.left) * view.place.width / view.crop.width,
        view.place.top + (y - view.crop.top) * view.place.height / view.crop.height,
    )


def to_picture(view: View, x: float, y: float) -> tuple[float, float]:
    return (
        view.crop.left + (x - view.place.left) * view.crop.width / view.place.width,
        view.crop.top + (y - view.place.top) * view.crop.height / view.place.height,
    )


def inside(inner: Rect, outer: Rect) -> bool:
    return (
        outer.left <= inner.left < inner.right <= outer.right
        and outer.top <= inner.top < inner.bottom <= outer.bottom
    )


@settings(deadline=None)
@example("tiles", (1, 3), (16, 16))
@example("tiles", (1, 1), (32, 16))
@example("tiles", (2048, 1024), (513, 513))
@given(kinds, picture_sizes, input_sizes)
def test_every_point_is_owned_by_exactly_one_view(
    kind: FitName, picture_size_px: tuple[int, int], input_size_px: tuple[int, int]
) -> None:
    fit = make_fit(kind, picture_size_px, input_size_px)
    whole, all_of_the_input = Rect(0, 0, *picture_size_px), Rect(0, 0, *input_size_px)
    assert sum(view.owns.width * view.owns.height for view in fit.views) == whole.width * whole.height
    for one, other in combinations((view.owns for view in fit.views), 2):
        assert (
            one.right <= other.left
            or other.right <= one.left
            or one.bottom <= other.top
            or other.bottom <= one.top
        )
    for view in fit.views:
        assert inside(view.owns, view.crop)
        assert inside(view.crop, whole)
        assert inside(view.place, all_of_the_input)
        assert all(value.is_integer() for value in map(float, (view.crop.left, view.place.right)))


@settings(deadline=None)
@given(kinds, picture_sizes, input_sizes, shares, shares)
def test_a_point_finds_its_way_back(
    kind: FitName,
    picture_size_px: tuple[int, int],
    input_size_px: tuple[int, int],
    across: float,
    down: float,
) -> None:
    for view in make_fit(kind, picture_size_px, input_size_px).views:
        x, y = view.owns.left + across * view.owns.width, view.owns.top + down * view.owns.height
        in_x, in_y = to_input(view, x, y)
        assert view.place.left - 1e-6 <= in_x <= view.place.right + 1e-6
        assert view.place.top - 1e-6 <= in_y <= view.place.bottom + 1e-6
        assert to_picture(view, in_x, in_y) == pytest.approx((x, y), abs=1e-6)


@settings(deadline=None)
@given(picture_sizes, input_sizes)
def test_tiles_are_few_even_and_of_one_scale(
    picture_size_px: tuple[int, int], input_size_px: tuple[int, int]
) -> None:
    fit = make_fit("tiles", picture_size_px, input_size_px)
    assert 1 <= len(fit.views) <= MAX_TILES
    for view in fit.views:
        assert view.crop.left % 2 == view.crop.top % 2 == 0
        # Whole pixels: half a pixel of rounding at each end, one more for the even start.
        across, down = view.crop.width / view.place.width, view.crop.height / view.place.height
        slack = 1.5 / view.place.width + 1.5 / view.place.height
        assert abs(across - down) <= max(across, down) * slack + 2 / min(view.place.width, view.place.height)


@pytest.mark.parametrize(
    ("picture_size_px", "tiles", "native"),
    [
        ((2048, 1024), 8, False),
        ((1920, 1080), 8, False),
        ((1280, 720), 6, True),
        ((768, 432), 2, False),
        ((513, 513), 1, True),
        ((320, 320), 1, False),
    ],
)
def test_how_common_pictures_are_tiled_at_513(
    picture_size_px: tuple[int, int], tiles: int, native: bool
) -> None:
    fit = make_fit("tiles", picture_size_px, (513, 513))
    assert len(fit.views) == tiles
    assert (fit.views[0].crop.width == 513) is native


def test_seams_lie_in_the_middle_of_the_overlap() -> None:
    fit = make_fit("tiles", (768, 432), (513, 513))
    assert [view.crop for view in fit.views] == [Rect(0, 0, 432, 432), Rect(336, 0, 768, 432)]
    assert [view.owns for view in fit.views] == [Rect(0, 0, 384, 432), Rect(384, 0, 768, 432)]


def edges_of(row: U8, low: float, high: float, before: int) -> tuple[float, float]:
    """Where a bright stretch begins and ends in a row, to a part of a pixel; ``before`` lies inside it."""
    light = np.clip((row.astype(float) - low) / (high - low), 0, 1)
    return before - light[:before].sum(), before + light[before:].sum()


@settings(max_examples=examples(60), deadline=None)
@given(
    kinds,
    st.sampled_from([(640, 360), (641, 361), (1280, 720), (768, 432), (320, 240), (513, 700)]),
    st.sampled_from([(513, 513), (512, 288), (257, 257), (320, 200)]),
    shares,
    shares,
    st.sampled_from(["luma", "chroma"]),
)
def test_a_drawn_rectangle_lands_where_the_fit_says(
    kind: FitName,
    picture_size_px: tuple[int, int],
    input_size_px: tuple[int, int],
    across: float,
    down: float,
    plane: str,
) -> None:
    fit = make_fit(kind, picture_size_px, input_size_px)
    width, height = picture_size_px
    picture = i420(height, width, (100, 128, 128), full_range=True)
    for index, view in enumerate(fit.views):
        # A quarter of what the view owns, at even pixels so that the colour planes can hold it too.
        size_x, size_y = int(view.owns.width) // 4 * 2, int(view.owns.height) // 4 * 2
        left = int(view.owns.left + across * (view.owns.width - size_x)) // 2 * 2 + 2
        top = int(view.owns.top + down * (view.owns.height - size_y)) // 2 * 2 + 2
        right, bottom = (
            min(left + size_x, int(view.crop.right) // 2 * 2 - 2),
            min(top + size_y, int(view.crop.bottom) // 2 * 2 - 2),
        )
        planes = [plane_.copy() for plane_ in picture.planes]
        if plane == "luma":
            planes[0][top:bottom, left:right] = 200
        else:
            planes[1][top // 2 : bottom // 2, left // 2 : right // 2] = 160
        drawn = Picture(tuple(planes), "i420", True, "bt601", NOW)
        blue = place(drawn, fit)[index, :, :, 2]
        x0, y0 = to_input(view, left, top)
        x1, y1 = to_input(view, right, bottom)
        middle_x, middle_y = round((x0 + x1) / 2), round((y0 + y1) / 2)
        ground, figure = (100, 200) if plane == "luma" else (100, int(blue[middle_y, middle_x]))
        # Padding is brighter than the ground: look at the picture's part only.
        part = slice(int(view.place.left), int(view.place.right))
        begin, end = edges_of(blue[middle_y, part], ground, figure, middle_x - part.start)
        assert (begin + part.start, end + part.start) == pytest.approx((x0, x1), abs=0.55)
        part = slice(int(view.place.top), int(view.place.bottom))
        begin, end = edges_of(blue[part, middle_x], ground, figure, middle_y - part.start)
        assert (begin + part.start, end + part.start) == pytest.approx((y0, y1), abs=0.55)


def analytic_rgb(
    yuv: tuple[int, int, int], matrix: Literal["bt601", "bt709"], full_range: bool
) -> np.ndarray:
    """ITU-T H.273: E'Y, E'PB, E'PR from the code values, then R'G'B' from the luma weights."""
    red, blue = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[matrix]
    y, u, v = yuv
    if full_range:
        luma, pb, pr = y / 255, (u - 128) / 255, (v - 128) / 255
    else:
        luma, pb, pr = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    r, b = luma + 2 * (1 - red) * pr, luma + 2 * (1 - blue) * pb
    g = (luma - red * r - blue * b) / (1 - red - blue)
    return np.clip(np.array([r, g, b]) * 255, 0, 255)


@settings(deadline=None)
@given(
    st.tuples(*[st.integers(0, 255)] * 3),
    st.sampled_from(["bt601", "bt709"]),
    st.booleans(),
    st.sampled_from([(16, 16), (17, 13), (513, 5)]),
)
def test_colours_are_those_of_the_standard(
    yuv: tuple[int, int, int],
    matrix: Literal["bt601", "bt709"],
    full_range: bool,
    input_size_px: tuple[int, int],
) -> None:
    picture = i420(12, 20, yuv, full_range=full_range, matrix=matrix)
    views = place(picture, make_fit("stretch", (20, 12), input_size_px))
    # One level: the rounding of float32 coefficients and of the result.
    assert np.abs(views[0].astype(float) - analytic_rgb(yuv, matrix, full_range)).max() <= 1.0


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [False, True])
def test_colours_agree_with_swscale(matrix: Literal["bt601", "bt709"], full_range: bool) -> None:
    """Blocks of 32 px, compared in their middles, where both upsample the same colour. swscale looks
    the channels up in tables that truncate, up to three levels below the standard's value; a wrong
    matrix or range would be tens of levels away."""
    rng = np.random.default_rng(7)
    small = [rng.integers(low, high, (8, 8), np.uint8) for low, high in ((40, 210), (90, 170), (90, 170))]
    y, u, v = (
        np.kron(block, np.ones((side, side), np.uint8))
        for block, side in zip(small, (32, 16, 16), strict=True)
    )
    picture = Picture((y, u, v), "i420", full_range, matrix, NOW)
    ours = place(picture, make_fit("stretch", (256, 256), (256, 256)))[0]
    frame = av.VideoFrame.from_ndarray(np.vstack([y, u.reshape(64, 256), v.reshape(64, 256)]), "yuv420p")
    theirs = frame.reformat(
        format="rgb24",
        src_colorspace={"bt601": "ITU601", "bt709": "ITU709"}[matrix],
        src_color_range="JPEG" if full_range else "MPEG",
        dst_color_range="JPEG",
    ).to_ndarray()
    middles = slice(16, None, 32)
    assert np.abs(ours[middles, middles].astype(int) - theirs[middles, middles]).max() <= 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["i420", "rgb"])
def test_writing_into_shared_memory_gives_the_same_bytes(kind: FitName, layout: str) -> None:
    rng = np.random.default_rng(1)
    picture = i420(99, 201, (0, 0, 0))
    if layout == "rgb":
        picture = Picture((rng.integers(0, 256, (99, 201, 3), np.uint8),), "rgb", True, "bt601", NOW)
    else:
        for plane in picture.planes:
            plane[:] = rng.integers(0, 256, plane.shape)
    fit = make_fit(kind, (201, 99), (65, 65))
    slot = np.full((len(fit.views), 65, 65, 3), 255, np.uint8)
    assert place(picture, fit, slot) is slot
    assert np.array_equal(slot, place(picture, fit))


def test_letterbox_pads_and_forgets_what_was_there() -> None:
    fit = make_fit("letterbox", (200, 100), (64, 64))
    slot = np.full((1, 64, 64, 3), 9, np.uint8)
    place(i420(100, 200, (200, 128, 128), full_range=True), fit, slot)
    assert (slot[0, :16] == PADDING).all()
    assert (slot[0, 48:] == PADDING).all()
    assert (slot[0, 16:48] == 200).all()


def test_wrong_sizes_are_refused_with_both() -> None:
    fit = make_fit("stretch", (200, 100), (64, 64))
    with pytest.raises(ValueError, match="picture is 100 x 200 px, the fit is for 200 x 100"):
        place(i420(200, 100, (0, 0, 0)), fit)
    with pytest.raises(ValueError, match=r"out has shape \(1, 64, 65, 3\), the fit needs \(1, 64, 64, 3\)"):
        place(i420(100, 200, (0, 0, 0)), fit, np.empty((1, 64, 65, 3), np.uint8))
    with pytest.raises(ValueError, match="at least 1 px"):
        make_fit("stretch", (0, 100), (64, 64))


def test_preprocess_travels_to_another_process_and_keeps_its_fit() -> None:
    preprocess = pickle.loads(pickle.dumps(Preprocess("letterbox", (64, 48))))
    small, wide = i420(100, 200, (90, 128, 128)), i420(100, 300, (90, 128, 128))
    fit, views = preprocess(small)
    assert isinstance(fit, Fit)
    assert views.shape == (1, 48, 64, 3)
    assert preprocess(small)[0] is fit
    assert preprocess(wide)[0].picture_width_px == 300
    assert pickle.loads(pickle.dumps(fit)) == fit


def test_planes_first_looks_like_converting_first(data_dir: Path) -> None:
    """On a real picture: resizing planes and converting after differs little from swscale's way round.

    swscale's bilinear averages over more pixels when it shrinks; ours does not (facts: 2.5 levels)."""
    clip = data_dir / "video" / "car-detection.mp4"
    with FileSource(clip) as source:
        picture = next(iter(source))
        ours = place(picture, make_fit("stretch", (picture.width_px, picture.height_px), (513, 513)))[0]
    with av.open(str(clip)) as container:
        frame = next(container.decode(video=0))
        theirs = frame.reformat(513, 513, "rgb24", interpolation="BILINEAR").to_ndarray()
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.mean() < 3.0
    # A shift of the colour by range or matrix would show in the mean of a channel.
    assert np.abs(ours.mean((0, 1)) - theirs.mean((0, 1))).max() < 0.7
