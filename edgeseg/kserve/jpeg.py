"""JPEG input: checks the size before decoding, since a few bytes may claim gigabytes."""

from __future__ import annotations

import struct

import cv2
import numpy as np

from edgeseg.frames import U8

# Start-of-frame markers, ITU T.81 table B.1: all of C0-CF but DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN = 0xDA


def size_px(coded: bytes) -> tuple[int, int]:
    """(width, height) as its header says. Raises ValueError."""
    if coded[:2] != b"\xff\xd8":
        raise ValueError("is not a JPEG")
    at = 2
    while at + 9 <= len(coded) and coded[at] == 0xFF:
        marker = coded[at + 1]
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", coded, at + 5)
            return width, height
        if marker == _SCAN:
            break
        at += 2 + struct.unpack_from(">H", coded, at + 2)[0]
    raise ValueError("is a JPEG without a size in its header")


def decode(coded: bytes, wanted_px: tuple[int, int]) -> U8:
    """-> uint8 (1, h, w, 3) RGB. Raises ValueError where it is of another size, or no JPEG."""
    if size_px(coded) != wanted_px:
        width, height = size_px(coded)
        raise ValueError(f"is {width}x{height}, expected {wanted_px[0]}x{wanted_px[1]}")
    picture = cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None or picture.shape[:2] != wanted_px[::-1]:
        raise ValueError("is a JPEG that cannot be decoded")
    decoded: U8 = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)[np.newaxis]
    return decoded
