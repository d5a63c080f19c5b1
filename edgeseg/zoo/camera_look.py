"""What cameras do to a picture: grey and infrared, night, weather, blur, few pixels, noise, compression.

Every function takes and returns uint8 (h, w, 3) RGB and leaves geometry alone, so labels stay right.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.frames import U8

Random = np.random.Generator
Floats = npt.NDArray[np.float32]


def camera_look(picture: U8, random: Random, strength: float = 1.0) -> U8:
    """Apply each look by chance, in the order in which a camera does it. strength: multiplies the chances."""
    for chance, look in LOOKS:
        if random.random() < chance * strength:
            picture = look(picture, random)
    return picture


def weather(picture: U8, random: Random) -> U8:
    """Rain, snow or fog in front of the scene."""
    height, width = picture.shape[:2]
    kind = random.integers(3)
    if kind == 2:
        level, share = random.uniform(150, 235), random.uniform(0.2, 0.6)
        # Fog is denser towards the top of the picture, which is farther away.
        depth = np.linspace(1.0, random.uniform(0.3, 1.0), height, dtype=np.float32)[:, None, None]
        seen = picture.astype(np.float32)
        return _bytes(seen + (np.float32(level) - seen) * (np.float32(share) * depth))
    flakes = np.zeros((height, width), np.float32)
    count = int(random.uniform(0.0006, 0.004) * height * width)
    rows, columns = random.integers(height, size=count), random.integers(width, size=count)
    flakes[rows, columns] = random.uniform(0.4, 1.0, size=count)
    if kind == 0:
        flakes = cv2.filter2D(flakes, -1, _line(int(random.integers(7, 21)), random.uniform(70, 110)) * 6)
        share = 0.5
    else:
        size = float(random.uniform(0.6, 2.2))
        flakes = cv2.GaussianBlur(flakes, (0, 0), size) * np.float32(2 * math.pi * size * size)
        share = 0.9
    mask = np.clip(flakes, 0, 1)[..., None] * np.float32(share)
    seen = picture.astype(np.float32)
    return _bytes(seen + (np.float32(225) - seen) * mask)


def night(picture: U8, random: Random) -> U8:
    """Little light, with lamps that bloom, and the noise of a high gain."""
    values = (picture.astype(np.float32) / 255.0) ** np.float32(random.uniform(1.3, 2.4))
    values *= np.float32(random.uniform(0.35, 0.8))
    for _ in range(int(random.integers(0, 4))):
        height, width = values.shape[:2]
        radius = random.uniform(0.03, 0.18) * width
        x, y = random.uniform(0, width), random.uniform(0, 0.7 * height)
        squared = (np.arange(width) - x)[None, :] ** 2 + (np.arange(height) - y)[:, None] ** 2
        glow = np.exp(-squared / (2 * radius * radius)) * random.uniform(0.3, 1.2)
        tint = np.array([1.0, random.uniform(0.8, 1.0), random.uniform(0.55, 1.0)])
        values += (glow[..., None] * tint).astype(np.float32)
    values += random.normal(0, random.uniform(0.005, 0.05), values.shape).astype(np.float32)
    return _bytes(values * 255.0)


def grey(picture: U8, random: Random) -> U8:
    """Monochrome; half of them as infrared: plants and clothes brighter, lit from the camera, dark around."""
    if random.random() < 0.5:
        return _three(np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float32))
    share = random.dirichlet((2.0, 3.0, 1.0)).astype(np.float32)
    level = (picture.astype(np.float32) @ share) / 255.0
    height, width = level.shape
    x, y = random.uniform(0.3, 0.7) * width, random.uniform(0.3, 0.8) * height
    squared = ((np.arange(width) - x)[None, :] / width) ** 2 + (
        (np.arange(height) - y)[:, None] / height
    ) ** 2
    lit = np.exp(-squared * random.uniform(0.5, 4.0)).astype(np.float32)
    level = level ** np.float32(random.uniform(0.6, 1.2)) * lit
    level += random.normal(0, random.uniform(0, 0.03), level.shape).astype(np.float32)
    return _three(level * 255.0)


def few_pixels(picture: U8, random: Random) -> U8:
    """A small stream, enlarged."""
    height, width = picture.shape[:2]
    factor = random.uniform(1.5, 3.5)
    small = cv2.resize(picture, (round(width / factor), round(height / factor)), interpolation=cv2.INTER_AREA)
    kind = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST)[int(random.choice(3, p=(0.6, 0.3, 0.1)))]
    return np.asarray(cv2.resize(small, (width, height), interpolation=kind), np.uint8)


def motion_blur(picture: U8, random: Random) -> U8:
    """A line of 3 to 11 pixels in any direction."""
    kernel = _line(int(random.integers(3, 12)), random.uniform(0, 180))
    return np.asarray(cv2.filter2D(picture, -1, kernel), np.uint8)


def defocus(picture: U8, random: Random) -> U8:
    """Out of focus, or sharpened as cheap cameras do."""
    sigma = float(random.uniform(0.5, 1.8))
    blurred = cv2.GaussianBlur(picture, (0, 0), sigma)
    if random.random() < 0.65:
        return np.asarray(blurred, np.uint8)
    return np.asarray(cv2.addWeighted(picture, 2.0, blurred, -1.0, 0), np.uint8)


def noise(picture: U8, random: Random) -> U8:
    """Gaussian, of one level for all channels or for each."""
    shape = picture.shape if random.random() < 0.5 else (*picture.shape[:2], 1)
    level = random.uniform(2, 16)
    return _bytes(picture + (random.standard_normal(shape, np.float32) * np.float32(level)))


def jpeg(picture: U8, random: Random) -> U8:
    """As MJPEG cameras send it."""
    return _jpeg(picture, int(random.integers(15, 75)))


def h264(picture: U8, random: Random) -> U8:
    """Low bit rate: blocks of 8 smoothed afterwards, flat areas washed out. An imitation, not the codec."""
    squeezed = _jpeg(picture, int(random.integers(8, 30)))
    smoothed = cv2.medianBlur(squeezed, 3) if random.random() < 0.6 else squeezed
    share = float(random.uniform(0.5, 1.0))
    return np.asarray(cv2.addWeighted(smoothed, share, picture, 1 - share, 0), np.uint8)


LOOKS: tuple[tuple[float, Callable[[U8, Random], U8]], ...] = (
    (0.05, weather),
    (0.08, night),
    (0.14, grey),
    (0.06, motion_blur),
    (0.10, defocus),
    (0.12, few_pixels),
    (0.15, noise),
    (0.20, jpeg),
    (0.08, h264),
)
"""How often, and what; several may meet in one picture."""


def fisheye(shape: tuple[int, int], random: Random) -> tuple[Floats, Floats]:
    """Maps for cv2.remap that bend a picture of this (h, w) as a wide lens does."""
    height, width = shape
    strength = random.uniform(0.15, 0.6)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    centre_x, centre_y, half = width / 2, height / 2, max(width, height) / 2
    dx, dy = (x - centre_x) / half, (y - centre_y) / half
    bend = 1 + strength * (dx * dx + dy * dy)
    shrink = 1 + strength * 0.5
    return (
        np.asarray(centre_x + dx * bend / shrink * half, np.float32),
        np.asarray(centre_y + dy * bend / shrink * half, np.float32),
    )


def _jpeg(picture: U8, quality: int) -> U8:
    done, stored = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, quality))
    assert done
    return np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR), np.uint8)


def _line(length: int, angle_deg: float) -> Floats:
    kernel = np.zeros((length, length), np.float32)
    middle = (length - 1) / 2
    dx, dy = math.cos(math.radians(angle_deg)) * middle, math.sin(math.radians(angle_deg)) * middle
    ends = [(round(middle + sign * dx), round(middle + sign * dy)) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1)
    return np.asarray(kernel / max(float(kernel.sum()), 1.0), np.float32)


def _bytes(values: npt.NDArray[np.floating]) -> U8:
    return np.clip(values, 0, 255).astype(np.uint8)


def _three(level: Floats) -> U8:
    return np.repeat(np.clip(level, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
