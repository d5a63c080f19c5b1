"""A clip that is read in pieces gives the pictures that it gives in one piece."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from edgeseg.frames import Picture
from edgeseg.sources.file import FileSource
from edgeseg.sources.pacer import Pacer
from edgeseg.tools.archive.clip_segments import ClipCuts, Due
from edgeseg.tools.archive.plan import Clip, PlanJob, SegmentPlan, Undecodable, plan

RATE_FPS = 7.0


def write(path: Path, codec: str, options: dict[str, str], frames: int = 60) -> Path:
    """Noise that moves: any picture that was decoded from the wrong ones before it shows."""
    noise = np.random.default_rng(1).integers(0, 255, (48, 400, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(frames):
            picture = np.ascontiguousarray(noise[:, index * 5 : index * 5 + 64])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def planned(path: Path, segment_s: float) -> SegmentPlan:
    made = plan(PlanJob(Clip(path.name, str(path), "yard"), RATE_FPS, segment_s))
    assert isinstance(made, SegmentPlan), made
    return made


def shown(picture: Picture) -> tuple[float, bytes]:
    return picture.time.camera_time_s, b"".join(plane.tobytes() for plane in picture.planes)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("closed.mp4", "libx264", {"g": "10", "bf": "0"}),
        ("reordered.mp4", "libx264", {"g": "10", "bf": "3", "x264-params": "scenecut=0"}),
        ("open.mp4", "libx264", {"g": "10", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}),
        ("refresh.mkv", "libx264", {"g": "10", "bf": "0", "x264-params": "intra-refresh=1"}),
        ("reordered.mkv", "libx264", {"g": "10", "bf": "2"}),
        ("stream.ts", "libx264", {"g": "10", "bf": "2"}),
        ("open.ts", "libx264", {"g": "10", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}),
        ("mpeg4.avi", "mpeg4", {"g": "10"}),
        ("old.avi", "mjpeg", {"strict": "unofficial"}),
    ],
)
def test_the_pieces_are_the_whole(name: str, codec: str, options: dict[str, str], tmp_path: Path) -> None:
    path = write(tmp_path / name, codec, options)
    pacer = Pacer(RATE_FPS)
    with FileSource(path, epoch_s=0.0) as source:
        whole = [shown(picture) for picture in source if pacer.is_due(picture.time.camera_time_s)]
    pieces = []
    made = planned(path, 1.0)
    for segment in made.segments:
        if segment.due is None:
            pytest.skip("cannot be cut: read in one piece")
        with ClipCuts(path) as clip:
            due = [Due(*one) for one in segment.due]
            pieces += [shown(one) for one in clip.pictures_due(segment.begin_pts, segment.end_pts, due)]
    assert len(whole) > 30
    assert [time_s for time_s, _ in pieces] == [time_s for time_s, _ in whole]
    assert pieces == whole
    if "intra-refresh" not in str(options):
        assert len(made.segments) >= 4
    assert sum(segment.seconds for segment in made.segments) == pytest.approx(made.duration_s)


def test_a_clip_whose_times_leap_is_one_piece(tmp_path: Path) -> None:
    """Two transport streams joined: their clocks have nothing to do with each other."""
    one = write(tmp_path / "one.ts", "libx264", {"g": "10", "bf": "0"})
    joined = tmp_path / "joined.ts"
    joined.write_bytes(one.read_bytes() * 2)
    (segment,) = planned(joined, 1.0).segments
    assert segment.due is None


def test_what_was_cut_off_is_planned_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write(tmp_path / "whole.mkv", "libx264", {"g": "10", "bf": "0"})
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    made, whole = planned(cut, 1.0), planned(path, 1.0)
    assert whole.broken is None
    assert made.broken is not None
    assert str(cut) in made.broken
    due = [one for segment in made.segments for one in segment.due or ()]
    assert due == [one for segment in whole.segments for one in segment.due or ()][: len(due)]
    assert due


@pytest.mark.parametrize("content", [b"", b"not a video" * 100])
def test_what_is_no_video_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    made = plan(PlanJob(Clip(path.name, str(path), "yard"), RATE_FPS, 60.0))
    assert isinstance(made, Undecodable)
    assert made.message.startswith(str(path))
