"""Pictures that are drawn here, the same on every machine: what golden label maps can be made of anywhere.

A network sees enough in them to name several classes, yet they are no photographs: how well it does is
measured elsewhere, on real ones. Integer arithmetic alone, so that no other processor, build of OpenCV or
decoder of JPEG changes a pixel.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
WIDTH_PX, HEIGHT_PX = 640, 480
_HORIZON_PX = 215


def street() -> U8:
    """A street with houses, trees, cars and a person who crosses it. uint8 (480, 640, 3), RGB."""
    picture = _sky()
    for left, right, top, colour in (
        (0, 150, 40, (150, 120, 100)),
        (150, 250, 90, (178, 160, 140)),
        (430, 520, 80, (165, 150, 150)),
        (520, 640, 20, (140, 105, 90)),
    ):
        _house(picture, left, right, top, colour)
    y, x = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX]
    below = y - _HORIZON_PX
    _fill(picture, (below >= 0) & (below < HEIGHT_PX), (150, 146, 142))
    across = np.abs(x - 330)
    _fill(picture, (below >= 0) & (across < 36 + below), (88, 88, 92))
    dashes = (below > 8) & (across * 40 < below + 60) & ((below * below // 900) % 2 == 0)
    _fill(picture, dashes, (225, 225, 220))
    for left, top, size in ((255, 120, 44), (395, 130, 40), (30, 110, 70)):
        _tree(picture, left, top, size)
    _car(picture, 120, 300, 150, (160, 30, 35))
    _car(picture, 372, 236, 56, (40, 60, 130))
    _car(picture, 470, 330, 160, (205, 205, 210))
    _person(picture, 318, 250, 90)
    return _grain(picture)


def room() -> U8:
    """A wall, a floor, a door, a table, and somebody who stands before it. uint8 (480, 640, 3), RGB."""
    y, x = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX]
    picture = np.empty((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    for channel, (wall, floor) in enumerate(((212, 122), (204, 92), (188, 66))):
        picture[..., channel] = np.where(y < 310, wall - x // 32, floor + (y - 310) // 8 + (x // 40 % 2) * 8)
    _fill(picture, _box(470, 590, 90, 330), (110, 74, 50))
    _fill(picture, _box(482, 578, 102, 210), (126, 86, 58))
    _fill(picture, _disc(576, 225, 6), (200, 180, 90))
    _fill(picture, _box(40, 190, 60, 170), (170, 205, 235))
    _fill(picture, _box(112, 118, 60, 170) | _box(40, 190, 112, 118), (240, 240, 240))
    _fill(picture, _box(60, 330, 330, 350), (140, 100, 62))
    _fill(picture, _box(70, 84, 350, 450) | _box(306, 320, 350, 450), (112, 78, 48))
    _fill(picture, _box(120, 200, 270, 330), (25, 25, 28))
    _person(picture, 400, 170, 250)
    return _grain(picture)


SCENES: dict[str, Callable[[], U8]] = {"street": street, "room": room}


def _sky() -> U8:
    y, x = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX]
    picture = np.empty((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    for channel, (above, by) in enumerate(((120, 3), (160, 4), (215, 8))):
        picture[..., channel] = above + y // by // 2 + x // 64
    return picture


def _house(picture: U8, left: int, right: int, top: int, colour: tuple[int, int, int]) -> None:
    wall = _box(left, right, top, _HORIZON_PX + 12)
    _fill(picture, wall, colour)
    y, x = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX]
    windows = (
        wall & ((x - left) % 28 > 9) & ((x - left) % 28 < 22) & ((y - top) % 34 > 10) & ((y - top) % 34 < 28)
    )
    _fill(picture, windows, (58, 66, 80))


def _tree(picture: U8, middle: int, top: int, size: int) -> None:
    _fill(picture, _box(middle - size // 10, middle + size // 10, top + size, top + 3 * size), (74, 56, 42))
    leaves = np.random.default_rng(size).integers(-size, size, (60, 2))
    for number, (dx, dy) in enumerate(leaves.tolist()):
        if dx * dx + dy * dy < size * size:
            shade = 40 + number % 5 * 12
            _fill(
                picture,
                _disc(middle + dx, top + size // 2 + dy, size // 4),
                (shade // 2, shade + 24, shade // 3),
            )


def _car(picture: U8, left: int, top: int, width: int, colour: tuple[int, int, int]) -> None:
    height = width * 2 // 5
    right, roof = left + width, top - height // 2
    cabin_left, cabin_right = left + width // 8, left + width * 7 // 8
    _fill(picture, _box(cabin_left, cabin_right, roof, top), (46, 54, 64))
    _fill(picture, _box(left + width * 15 // 32, left + width // 2, roof, top), colour)
    _fill(picture, _box(cabin_left, cabin_right, roof, top - height * 3 // 7), colour)
    _fill(picture, _box(left, right, top, top + height * 3 // 4), colour)
    _fill(picture, _box(left, right, top + height * 5 // 8, top + height * 3 // 4), (30, 30, 32))
    for wheel in (left + width // 5, left + width * 4 // 5):
        _fill(picture, _disc(wheel, top + height * 3 // 4, height // 4), (22, 22, 24))
        _fill(picture, _disc(wheel, top + height * 3 // 4, height // 9), (150, 150, 155))
    lamp = _box(left + width // 40, left + width // 9, top + height // 8, top + height // 4)
    _fill(picture, lamp, (235, 228, 190))


def _person(picture: U8, left: int, top: int, height: int) -> None:
    unit = height // 8
    _fill(picture, _disc(left + unit, top + unit * 3 // 4, unit * 3 // 4), (205, 165, 140))
    _fill(picture, _box(left, left + 2 * unit, top + unit * 3 // 2, top + 5 * unit), (50, 70, 130))
    arms = _box(left - unit // 2, left, top + unit * 3 // 2, top + 4 * unit)
    arms |= _box(left + 2 * unit, left + unit * 5 // 2, top + unit * 3 // 2, top + 4 * unit)
    _fill(picture, arms, (44, 62, 116))
    legs = _box(left, left + unit * 7 // 8, top + 5 * unit, top + height)
    legs |= _box(left + unit * 9 // 8, left + 2 * unit, top + 5 * unit, top + height)
    _fill(picture, legs, (48, 44, 46))


def _box(left: int, right: int, top: int, bottom: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros((HEIGHT_PX, WIDTH_PX), np.bool_)
    mask[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    return mask


def _disc(middle_x: int, middle_y: int, radius: int) -> npt.NDArray[np.bool_]:
    y, x = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX]
    return (x - middle_x) ** 2 + (y - middle_y) ** 2 <= radius * radius


def _fill(picture: U8, mask: npt.NDArray[np.bool_], colour: tuple[int, int, int]) -> None:
    picture[mask] = colour


def _grain(picture: U8) -> U8:
    """As a sensor has it: no flat colour, no edge from one pixel to the next."""
    wide = np.pad(picture.astype(np.int32), ((1, 1), (1, 1), (0, 0)), "edge")
    smooth = sum(wide[dy : dy + HEIGHT_PX, dx : dx + WIDTH_PX] for dy in range(3) for dx in range(3)) // 9
    grain = np.random.default_rng(1).integers(-5, 6, (HEIGHT_PX, WIDTH_PX, 1))
    return np.clip(smooth + grain, 0, 255).astype(np.uint8)
