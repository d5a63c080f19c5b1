"""Decoding keyframes alone, and going back: never a picture that full decoding would not have given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.video.frame import PictureType

from edgeseg.replay.clip import ClipFrame, gated_frames
from edgeseg.screening.motion_gate import MotionGate, MotionGateSettings
from edgeseg.settings import GateSettings
from edgeseg.sources.file import FileSource
from edgeseg.stages.preprocess import Preprocess

U8 = npt.NDArray[np.uint8]
FPS = 10
Inside = Callable[[int], bool]


def clip_of(
    path: Path,
    frames: int,
    occupied: Inside,
    *,
    keys: Sequence[int] = (),
    options: Mapping[str, str] | None = None,
) -> Path:
    """64 x 48 at 10 fps: a faintly noisy dark ground, and a bright square while ``occupied``.

    keys: the pictures that are keyframes, by default one a second.
    """
    noise = np.random.default_rng(3)
    with av.open(str(path), "w") as container:
        gop = str(1000 if keys else FPS)
        settings = {"g": gop, "bf": "0", "sc_threshold": "0", "forced-idr": "1", **(options or {})}
        stream = container.add_stream("libx264", rate=FPS, options=settings)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(frames):
            picture = np.full((48, 64, 3), 32, np.uint8) + noise.integers(0, 4, (48, 64, 1), np.uint8)
            if occupied(index):
                picture[16:32, 40 - index % 8 : 56 - index % 8] = 224
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pict_type = PictureType.I if index in keys else PictureType.NONE
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def never(_: int) -> bool:
    return False


def decoded(path: Path, within_s: Callable[[float], float | None]) -> dict[float, U8]:
    """Time -> luma. within_s: what keyframes are asked for after the picture of that time; None: all."""
    found: dict[float, U8] = {}
    with FileSource(path) as source:
        for picture in source:
            time_s = picture.time.camera_time_s
            found[round(time_s, 3)] = picture.planes[0].copy()
            source.keyframes.within_s = within_s(time_s)
    return found


def moving(_: int) -> bool:
    return True


def test_only_keyframes_are_decoded_while_asked_for(tmp_path: Path) -> None:
    everything = decoded(clip_of(tmp_path / "a.mp4", 100, moving), lambda _: None)
    assert len(everything) == 100
    # Two distances between keyframes have to be seen first: from 2 s on.
    few = decoded(tmp_path / "a.mp4", lambda _: 1.0)
    assert list(few)[:20] == list(everything)[:20]
    # The end is decoded, since a clip that seems to stop early would count as cut off.
    assert list(few)[20:] == [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 9.9]


@pytest.mark.parametrize("back_s", [3.0, 4.0])
def test_after_going_back_every_picture_is_the_same_to_the_bit(tmp_path: Path, back_s: float) -> None:
    path = clip_of(tmp_path / "a.mp4", 100, moving)
    everything = decoded(path, lambda _: None)
    few = decoded(path, lambda time_s: 1.0 if time_s < back_s else None)
    assert [time_s for time_s in few if time_s >= back_s] == [
        time_s for time_s in everything if time_s >= back_s
    ]
    assert all(np.array_equal(luma, everything[time_s]) for time_s, luma in few.items())


def test_going_back_between_keyframes_catches_up(tmp_path: Path) -> None:
    """A keyframe that does not come when it should, as smart codecs of cameras do it in still scenes: what
    was withheld is decoded, and the newest picture is whole."""
    path = tmp_path / "a.mp4"
    clip_of(path, 100, moving, keys=(0, 10, 20, 30, 80))
    everything = decoded(path, lambda _: None)
    few = decoded(path, lambda _: 1.0)
    after = [time_s for time_s in few if time_s > 2.0]
    assert after[:3] == [3.0, 4.2, 4.3]
    # The distance of 5 s is remembered.
    assert after[1:] == [time_s for time_s in everything if time_s >= 4.2]
    assert all(np.array_equal(luma, everything[time_s]) for time_s, luma in few.items())


@pytest.mark.parametrize("options", [{"bf": "2"}, {"intra-refresh": "1"}], ids=["reordered", "gradual"])
def test_streams_whose_keyframes_do_not_stand_alone_are_decoded_whole(
    tmp_path: Path, options: dict[str, str]
) -> None:
    path = clip_of(tmp_path / "a.mp4", 60, moving, options=options)
    assert len(decoded(path, lambda _: 2.0)) == 60


def occupied_from_8_to_10(index: int) -> bool:
    return 80 <= index < 100


@pytest.mark.parametrize(("keyframes", "late_s"), [(True, 1.0), (False, 0.2)])
def test_a_quiet_camera_decodes_keyframes_and_wakes_up_with_the_first_that_shows_motion(
    tmp_path: Path, keyframes: bool, late_s: float
) -> None:
    path = clip_of(tmp_path / "a.mp4", 200, occupied_from_8_to_10)
    gate = MotionGate(MotionGateSettings(GateSettings(5.0, "medium", keyframes), ()))
    looked, passed = [], []
    for one in gated_frames(path, "yard", Preprocess("stretch", (64, 48)), 5, None, gate):
        time_s = one.frame.time.camera_time_s if isinstance(one, ClipFrame) else one.camera_time_s
        looked.append(round(time_s, 3))
        if isinstance(one, ClipFrame):
            passed.append(round(time_s, 3))
    if keyframes:
        # Quiet after 3 s; then one look a second, until the square is there, and again 3 s after it went.
        assert [time_s for time_s in looked if 3.2 <= time_s <= 8] == [4, 5, 6, 7, 8]
        assert [time_s for time_s in looked if time_s >= 13.2][-5:] == [16, 17, 18, 19, 19.9]
    else:
        assert len(looked) == 100
    assert passed[:2] == [0, 5]
    coming = next(time_s for time_s in passed if time_s > 5)
    assert 8 <= coming <= 8 + late_s
    # Every due picture while it moves, and the one in which it is gone.
    assert {8.2, 8.4, 8.6, 8.8, 9.0, 9.2, 9.4, 9.6, 9.8, 10.0} <= set(passed)
