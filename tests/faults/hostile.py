"""Seeded mutations of clips, pictures and texts: bit flips, truncations, absurd sizes."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

_PNG_HEAD = 8
ABSURD = (0, 1, 65_535, 1_000_000, 2**31 - 1)


@dataclass(frozen=True)
class Hostile:
    name: str
    content: bytes


def clip_seeds(folder: Path) -> dict[str, bytes]:
    """Whole clips of what cameras and recorders write, by file name."""
    kinds = {
        "h264.mp4": ("libx264", "yuv420p"),
        "h264.ts": ("libx264", "yuv420p"),
        "hevc.mkv": ("libx265", "yuv420p"),
        "mpeg4.avi": ("mpeg4", "yuv420p"),
        "mjpeg.avi": ("mjpeg", "yuvj420p"),
    }
    seeds = {}
    for name, (codec, pixels) in kinds.items():
        path = folder / name
        options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=10, options=options)
            stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
            for index in range(10):
                picture = np.full((48, 64, 3), 20 * index, np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                container.mux(stream.encode(frame.reformat(format=pixels)))
            container.mux(stream.encode())
        seeds[name] = path.read_bytes()
    return seeds


def picture_seeds() -> dict[str, bytes]:
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    return {f"picture{end}": cv2.imencode(end, picture)[1].tobytes() for end in (".png", ".jpg", ".bmp")}


def absurd_sizes() -> Iterator[Hostile]:
    """Pictures and clips of a few bytes that say they are huge."""
    for side in (30_000, 65_500):
        head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        chunk = struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
        data = zlib.compress(bytes(1000))
        body = struct.pack(">I", len(data)) + b"IDAT" + data + struct.pack(">I", zlib.crc32(b"IDAT" + data))
        yield Hostile(f"huge{side}.png", b"\x89PNG\r\n\x1a\n" + chunk + body)
        jpeg = picture_seeds()["picture.jpg"]
        at = jpeg.index(b"\xff\xc0")
        size = struct.pack(">HH", side, side)
        yield Hostile(f"huge{side}.jpg", jpeg[: at + 5] + size + jpeg[at + 9 :])
        y4m = f"YUV4MPEG2 W{side} H{side} F10:1 Ip A1:1 C420jpeg\nFRAME\n".encode()
        yield Hostile(f"huge{side}.y4m", y4m + bytes(1000))
    bmp = picture_seeds()["picture.bmp"]
    for side in (-(2**31), 2**31 - 1):
        yield Hostile(f"huge{side}.bmp", bmp[:18] + struct.pack("<ii", side, side) + bmp[26:])


def mutated(seed: bytes, numbers: random.Random) -> bytes:
    """One of: some flipped bits, a cut, a repeated or a foreign piece, an absurd number in the head."""
    content = bytearray(seed)
    match numbers.randrange(5):
        case 0:
            for _ in range(numbers.choice((1, 3, 30, 300))):
                content[numbers.randrange(len(content))] ^= 1 << numbers.randrange(8)
        case 1:
            del content[numbers.randrange(len(content)) :]
        case 2:
            start, end = sorted(numbers.randrange(len(content)) for _ in range(2))
            content[start:start] = content[start:end]
        case 3:
            at = numbers.randrange(len(content))
            content[at : at + 64] = numbers.randbytes(64)
        case _:
            # Most sizes stand at the beginning, or at the end in an MP4's index.
            near = numbers.randrange(min(600, len(content)))
            at = near if numbers.random() < 0.5 else max(0, len(content) - near - 4)
            form = numbers.choice((">I", "<I"))
            content[at : at + 4] = struct.pack(form, numbers.choice(ABSURD))
    return bytes(content)


def hostile_files(folder: Path, count: int, seed: int) -> list[Hostile]:
    """``count`` mutations of clips and pictures, and the absurd sizes."""
    seeds = clip_seeds(folder) | picture_seeds()
    numbers = random.Random(seed)
    names = sorted(seeds)
    files = []
    for number in range(count):
        name = names[number % len(names)]
        stem, _, end = name.rpartition(".")
        files.append(Hostile(f"{number:04}-{stem}.{end}", mutated(seeds[name], numbers)))
    return [*files, *absurd_sizes()]
