"""Picture faults: what a lens, a sensor or a mount does to pictures, laid over a real clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from io import BytesIO

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from edgeseg.frames import U8, FrameTime, Picture, PictureFault, Transform
from edgeseg.geometry.view_registration import transform_of
from edgeseg.tools.bench.workload import SEED

F64 = npt.NDArray[np.float64]
Spoil = Callable[[Picture, float], Picture]
"""Takes a picture and the seconds since the fault began."""

_BLACK, _WHITE = 16, 235
_FPS = 5
_GOP_S = 2


@dataclass(frozen=True, slots=True)
class Fault:
    """spoil: None where one picture is sent again and again; coded: by x264 with these options and bits a
    second, None as it was decoded. moved: for 1 x 1, what the camera does, turned to a clip's own shape by
    ``warp``."""

    name: str
    expected: PictureFault
    spoil: Spoil | None
    coded: tuple[str, int | None] | None = None
    warp: Callable[[tuple[int, int]], F64] | None = None

    def truth(self, shape: tuple[int, int]) -> Transform | None:
        """How far a camera with pictures of that shape (rows, columns) was moved; None where it was not."""
        return None if self.warp is None else transform_of(self.warp(shape), shape)


def _on_luma(change: Callable[[U8, float], U8]) -> Spoil:
    def spoil(picture: Picture, since_s: float) -> Picture:
        return replace(picture, planes=(change(picture.planes[0], since_s), *picture.planes[1:]))

    return spoil


def _levels(luma: U8, gain: float, lift: float) -> U8:
    table = np.clip(np.rint((np.arange(256.0) - _BLACK) * gain + _BLACK + lift), _BLACK, _WHITE)
    return np.asarray(cv2.LUT(luma, table.astype(np.uint8)), np.uint8)


def _fade_to_dark(luma: U8, since_s: float) -> U8:
    return _levels(luma, max(0.05, 1 - since_s / 3), 0)


def _fade_to_white(luma: U8, since_s: float) -> U8:
    return _levels(luma, 1 + min(since_s, 3.0), 90 * min(since_s, 3.0) / 3)


def _blurred(share: float, within_s: float = 0.0) -> Spoil:
    def change(luma: U8, since_s: float) -> U8:
        part = 1.0 if within_s == 0 else min(1.0, since_s / within_s)
        sigma_px = max(0.1, share * part * luma.shape[1])
        return np.asarray(cv2.GaussianBlur(luma, (0, 0), sigma_px), np.uint8)

    return _on_luma(change)


def _covered(share: float, *, woven: bool = False) -> Spoil:
    """From the left: something near the lens, out of focus, and grainy as all that sensors see."""

    def change(luma: U8, since_s: float) -> U8:
        height, width = luma.shape
        random = np.random.default_rng((SEED, round(since_s * 1000)))
        across, down = np.linspace(0, 3, width)[None], np.linspace(0, 2, height)[:, None]
        cloth = 70 + 25 * np.sin(across) + 15 * np.cos(down) + random.normal(0, 1.5, luma.shape)
        if woven:
            cloth = cloth + 12 * np.sin(across * 60) * np.sin(down * 60)
        spoilt: U8 = luma.copy()
        hidden_px = round(share * width)
        spoilt[:, :hidden_px] = np.clip(cloth, _BLACK, _WHITE)[:, :hidden_px]
        return spoilt

    return _on_luma(change)


def _warp(right: float, turned_deg: float, zoom: float) -> Callable[[tuple[int, int]], F64]:
    def warp(shape: tuple[int, int]) -> F64:
        height, width = shape
        middle = ((width - 1) / 2, (height - 1) / 2)
        matrix = np.array(cv2.getRotationMatrix2D(middle, -turned_deg, zoom))
        matrix[0, 2] += right * width
        return matrix

    return warp


def _nudged(name: str, right: float = 0.0, turned_deg: float = 0.0, zoom: float = 1.0) -> Fault:
    warp = _warp(right, turned_deg, zoom)

    def change(luma: U8, since_s: float) -> U8:
        height, width = luma.shape
        return np.asarray(
            cv2.warpAffine(luma, warp((height, width)), (width, height), borderMode=cv2.BORDER_REFLECT),
            np.uint8,
        )

    return Fault(name, "moved", _on_luma(change), warp=warp)


FAULTS: Sequence[Fault] = (
    Fault("fade to dark, 3 s", "dark", _on_luma(_fade_to_dark)),
    Fault("fade to white, 3 s", "blown_out", _on_luma(_fade_to_white)),
    Fault("blur of 0.4 % of the width", "blurred", _blurred(0.004)),
    Fault("blur of 0.8 %", "blurred", _blurred(0.008)),
    Fault("blur of 2 %", "blurred", _blurred(0.02)),
    Fault("focus drifts to 0.8 % in 6 s", "blurred", _blurred(0.008, within_s=6.0)),
    Fault("covered", "covered", _covered(1.0)),
    Fault("covered to 80 %", "covered", _covered(0.8)),
    Fault("covered to 60 %", "covered", _covered(0.6)),
    Fault("covered with a woven cloth", "covered", _covered(1.0, woven=True)),
    _nudged("shifted by 3 %", right=0.03),
    _nudged("shifted by 12 %", right=0.12),
    _nudged("turned by 3 degrees", turned_deg=3.0),
    _nudged("turned by 8 degrees", turned_deg=8.0),
    _nudged("zoomed by 12 %", zoom=1.12),
    Fault("frozen, the same picture", "frozen", None),
    Fault("frozen, coded again (CRF 23)", "frozen", None, ("23", None)),
    Fault("frozen, coded again (300 kbit/s)", "frozen", None, ("", 300_000)),
    Fault("frozen, coded again (CRF 35)", "frozen", None, ("35", None)),
)


def _grey(picture: Picture) -> Picture:
    """As at night: without colour, the background darker than the foreground, and grainy."""
    luma = picture.planes[0]
    height, width = luma.shape
    random = np.random.default_rng((SEED, round(picture.time.camera_time_s * 1000)))
    lamp = 0.45 + 0.55 * np.linspace(0, 1, height)[:, None]
    night = (luma.astype(np.float64) - _BLACK) * lamp * 0.8 + _BLACK + random.normal(0, 2.0, (height, width))
    chroma = np.full_like(picture.planes[1], 128)
    return replace(picture, planes=(np.clip(night, _BLACK, _WHITE).astype(np.uint8), chroma, chroma))


def _shaken(picture: Picture) -> Picture:
    phase = picture.time.camera_time_s * 2 * np.pi
    luma = picture.planes[0]
    height, width = luma.shape
    shift = np.array([[1, 0, 0.003 * width * np.sin(1.7 * phase)], [0, 1, 0.002 * width * np.cos(phase)]])
    moved = cv2.warpAffine(luma, shift, (width, height), borderMode=cv2.BORDER_REFLECT)
    return replace(picture, planes=(np.asarray(moved, np.uint8), *picture.planes[1:]))


# What happens to good cameras, from the middle of the clip on.
HARMLESS: dict[str, Callable[[Picture], Picture]] = {
    "half as bright": lambda picture: _on_luma(lambda luma, _: _levels(luma, 0.5, 0))(picture, 0.0),
    "half as bright again": lambda picture: _on_luma(lambda luma, _: _levels(luma, 1.4, 10))(picture, 0.0),
    "infrared light": _grey,
    "shaken by the wind, 0.3 %": _shaken,
}


def stuck(picture: Picture, coded: tuple[str, int | None] | None, duration_s: float) -> Iterator[Picture]:
    """One picture, five times a second from its own time on; as a camera codes it that notices nothing."""
    times = (picture.time.camera_time_s + number / _FPS for number in range(round(duration_s * _FPS)))
    if coded is None:
        for time_s in times:
            yield replace(picture, time=FrameTime(time_s, time_s))
        return
    crf, bits_per_s = coded
    with av.open(_encoded(picture, crf, bits_per_s, round(duration_s * _FPS)), "r", format="mp4") as found:
        assert isinstance(found, InputContainer)
        for frame, time_s in zip(found.decode(video=0), times, strict=False):
            planes = tuple(
                np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
                for plane in frame.planes
            )
            yield replace(picture, planes=planes, time=FrameTime(time_s, time_s))


def _encoded(picture: Picture, crf: str, bits_per_s: int | None, count: int) -> BytesIO:
    height, width = (side // 2 * 2 for side in picture.planes[0].shape)
    rows = [
        plane[: height // part, : width // part]
        for plane, part in zip(picture.planes, (1, 2, 2), strict=True)
    ]
    flat = np.concatenate([np.ascontiguousarray(row).ravel() for row in rows]).reshape(height * 3 // 2, width)
    stream_to = BytesIO()
    with av.open(stream_to, "w", format="mp4") as container:
        assert isinstance(container, OutputContainer)
        options = {"g": str(_GOP_S * _FPS), "bf": "0", **({"crf": crf} if crf else {})}
        stream = container.add_stream("libx264", rate=Fraction(_FPS), options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if bits_per_s is not None:
            stream.bit_rate = bits_per_s
        for _ in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(flat, format="yuv420p")))
        container.mux(stream.encode())
    stream_to.seek(0)
    return stream_to
