"""Pipelines of real GStreamer elements: pictures, times, endings, and what is said of mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from edgeseg.capture.events import NewFrame
from edgeseg.capture.messages import CaptureOrder
from edgeseg.capture.process import CaptureProcess
from edgeseg.clock import SystemClock
from edgeseg.errors import SourceError, SourceReason
from edgeseg.frames import Picture
from edgeseg.sources.gstreamer import abi, launch_line
from edgeseg.sources.gstreamer.csi import CsiSource, csi_pipeline
from edgeseg.sources.gstreamer.source import has_element
from edgeseg.sources.open import check_pipeline, is_finite, open_source
from edgeseg.stages.preprocess import Preprocess
from tests.conftest import ROOT, write_clip
from tests.support.gstreamer_fixtures import camera_playing, require_gstreamer
from tests.support.rtsp_fixtures import PYTHON, RtspServer, require_rtsp_server

CLOCK = SystemClock()
PASSWORD = 'hunter2 &"more!'
TEST_PICTURES = "gstreamer: videotestsrc is-live=true"
SIZE = "width=64,height=48,framerate=30/1"
DECODED = "rtph264depay ! h264parse ! openh264dec ! appsink sync=false"


@pytest.fixture(autouse=True)
def _gstreamer() -> None:
    require_gstreamer()


def failure(source: str, **options: float) -> tuple[SourceReason, str]:
    """How reading it to its end fails. Nothing of it may hold the password."""
    with pytest.raises(SourceError) as caught, open_source(source, **options) as opened:  # type: ignore[arg-type]
        for _ in opened:
            pass
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    return caught.value.reason, str(caught.value)


def first_picture_rgb(source: str) -> np.ndarray:
    """Its mean colour, as a network sees it."""
    with open_source(source) as opened:
        views = Preprocess("stretch", (32, 32))(next(iter(opened)))[1]
        return np.asarray(views[0].reshape(-1, 3).mean(axis=0))


def later(wait_s: float) -> None:
    """A consumer that takes its time."""
    threading.Event().wait(wait_s)


@pytest.mark.parametrize(
    "caps",
    [
        "format=I420",
        "format=NV12",
        "format=YUY2",
        "format=BGRx",
        "format=RGB",
        "format=I420,colorimetry=bt709",
        # videotestsrc itself paints limited range whatever it is told.
        "format=RGB ! videoconvert ! video/x-raw,format=I420,colorimetry=(string)1:4:0:0",
        "format=NV12,width=1280,height=720",
    ],
)
@pytest.mark.parametrize(("pattern", "rgb"), [("red", (255, 0, 0)), ("blue", (0, 0, 255))])
def test_colours_are_right_whatever_the_camera_gives(caps: str, pattern: str, rgb: tuple[int, ...]) -> None:
    """8-bit YUV with its rounding is within 4 levels; a wrong matrix or range is off by 10 and more."""
    source = f"gstreamer: videotestsrc pattern={pattern} ! video/x-raw,{caps} ! appsink"
    assert first_picture_rgb(source) == pytest.approx(rgb, abs=4)


@pytest.mark.parametrize(("width", "height"), [(62, 48), (64, 47), (63, 47)])
def test_odd_sizes_have_padded_rows_and_whole_pictures(width: int, height: int) -> None:
    source = f"{TEST_PICTURES} pattern=gradient ! video/x-raw,width={width},height={height} ! appsink"
    with open_source(source) as opened:
        picture = next(iter(opened))
        y, u, v = picture.planes
        assert (y.shape, u.shape) == ((height, width), ((height + 1) // 2, (width + 1) // 2))
        assert u.shape == v.shape
        # The gradient runs from top to bottom: rows that are read askew would not be even.
        assert int(np.ptp(y, axis=1).max()) <= 1
        assert int(y[-1, 0]) - int(y[0, 0]) > 100


def test_the_newest_picture_wins() -> None:
    with open_source(f"{TEST_PICTURES} ! video/x-raw,{SIZE} ! appsink max-buffers=50 drop=false") as source:
        assert source.rate_fps == 30
        pictures = iter(source)
        before_s = next(pictures).time.pts_s
        later(1.0)
        after_s = next(pictures).time.pts_s
    assert before_s is not None
    assert after_s is not None
    # Had pictures queued, the next one would be 1/30 s younger.
    assert after_s - before_s > 0.9


def test_a_clip_is_played_in_its_own_time(tiny_clip: Path) -> None:
    source = open_source(camera_playing(tiny_clip))
    assert not is_finite(camera_playing(tiny_clip))
    times_s: list[float] = []
    with source, pytest.raises(SourceError, match="the pipeline has come to its end") as caught:
        times_s.extend(picture.time.camera_time_s for picture in source)
    assert caught.value.reason == "ended"
    assert 20 <= len(times_s) <= 30
    assert 2.0 < times_s[-1] - times_s[0] < 4.0


@pytest.mark.parametrize(
    ("pipeline", "reason", "words"),
    [
        (
            "videotestsrc ! nvvidconv ! appsink",
            "not_found",
            'no element "nvvidconv"; comes with NVIDIA JetPack',
        ),
        ("videotestsrc ! nosuchthing ! appsink", "not_found", 'no element "nosuchthing"; gst-inspect-1.0'),
        ("videotestsrc hue=3 ! appsink", "codec", 'no property "hue" in element "videotestsrc"'),
        ("videotestsrc pattern=hunter2 ! appsink", "codec", 'property "pattern" in element "videotestsrc"'),
        ("videotestsrc ! ! appsink", "codec", "syntax error"),
        ("videotestsrc ! fakesink", "codec", "has no appsink"),
        ("videotestsrc", "codec", "has no appsink"),
        ("", "codec", "empty pipeline"),
        ("audiotestsrc ! appsink", "codec", "could not link audiotestsrc0 to edgeseg-convert"),
        ("videotestsrc ! video/x-raw(memory:NVMM) ! appsink", "codec", "need nvvidconv before the appsink"),
        ("filesrc location=/none/hunter2 user-pw=x ! appsink", "codec", 'no property "user-pw"'),
        ("filesrc location=/none ! decodebin ! appsink", "not_found", "filesrc"),
        ("v4l2src device=/dev/video97 ! appsink", "not_found", "v4l2src"),
        ("videotestsrc ! identity error-after=3 ! appsink", "refused", "identity"),
        ("videotestsrc ! filesink location=/none/x videotestsrc ! appsink", "refused", "filesink"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_that_names_the_element(
    pipeline: str, reason: SourceReason, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    got, message = failure(f"gstreamer: {pipeline}", open_timeout_s=1.0)
    assert (got, words in message) == (reason, True), message
    first = pipeline.split()[0] if pipeline else ""
    assert message.startswith(f"gstreamer: {first} ...: " if first else "gstreamer: ...: ")
    assert capfd.readouterr().err == ""


def test_a_stream_without_a_decoder_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no video at all\n" * 100)
    reason, _ = failure(f"gstreamer: filesrc location={tmp_path}/notes.txt ! decodebin ! appsink")
    assert reason == "codec"


def test_a_camera_that_never_gives_a_picture_times_out() -> None:
    began_s = CLOCK.monotonic_s()
    reason, message = failure(f"{TEST_PICTURES} ! valve drop=true ! appsink", open_timeout_s=0.3)
    assert (reason, "no picture within 0.9 s" in message) == ("timeout", True)
    assert CLOCK.monotonic_s() - began_s < 30


def rtspsrc(server: RtspServer, properties: str = "") -> str:
    location = server.url_with(None, None)
    return f"gstreamer: rtspsrc location={location} protocols=tcp latency=0 {properties} ! {DECODED}"


def test_a_frozen_camera_times_out_and_its_picture_changes_size(tiny_clip: Path, tmp_path: Path) -> None:
    wide = write_clip(tmp_path / "wide.mp4", width=96, height=64)
    with (
        RtspServer(tiny_clip, wide, fps=25) as server,
        open_source(rtspsrc(server), read_timeout_s=1.0) as source,
    ):
        pictures, sizes = iter(source), []
        for picture in islice(pictures, 200):
            sizes.append((picture.width_px, picture.height_px))
            if len(sizes) == 3:
                server.switch(1)
            if sizes[-1] == (96, 64):
                break
        assert (sizes[0], sizes[-1]) == ((64, 48), (96, 64))
        server.freeze()
        frozen_at_s = CLOCK.monotonic_s()
        with pytest.raises(SourceError, match="no picture within 2 s") as caught:
            list(pictures)
        assert caught.value.reason == "timeout"
        assert CLOCK.monotonic_s() - frozen_at_s < 30
        server.resume()


def test_a_killed_server_ends_the_stream(tiny_clip: Path) -> None:
    with RtspServer(tiny_clip, fps=25) as server, open_source(rtspsrc(server), read_timeout_s=2.0) as source:
        pictures = iter(source)
        next(pictures)
        server.kill()
        with pytest.raises(SourceError) as caught:
            list(pictures)
    assert caught.value.reason in ("ended", "timeout", "refused")


@pytest.mark.parametrize("digest", [False, True], ids=["basic", "digest"])
def test_passwords_get_in_and_never_out(tiny_clip: Path, digest: bool) -> None:
    values = {"PASSWORD": PASSWORD}
    with RtspServer(tiny_clip, user="me", password=PASSWORD, digest=digest, fps=25) as server:
        bare = server.url_with(None, None)
        with_login = bare.replace("rtsp://", "rtsp://me:${PASSWORD}@")
        for properties in (
            f"location={bare} user-id=me user-pw=${{PASSWORD}}",
            f"location={with_login}",
            f'location="{with_login}"',
        ):
            template = f"rtspsrc {properties} protocols=tcp latency=0 ! {DECODED}"
            assert launch_line.syntax_error(template) is None
            source = f"gstreamer: {launch_line.filled(template, values)}"
            with open_source(source) as opened:
                assert next(iter(opened)).width_px == 64
        assert failure(rtspsrc(server, "user-id=me user-pw=hunter2-wrong"))[0] == "auth"
        assert failure(rtspsrc(server))[0] == "auth"


def test_a_path_that_is_not_there(tiny_clip: Path) -> None:
    with RtspServer(tiny_clip) as server:
        location = server.url_with("me", "hunter2", path="/other")
        reason, message = failure(f"gstreamer: rtspsrc location={location} protocols=tcp ! {DECODED}")
    assert (reason, "rtspsrc" in message) == ("not_found", True)


def test_pictures_outlive_nothing_and_leak_nothing(tiny_clip: Path) -> None:
    """Thirty lives, half of them left with a picture in hand, stay within what the first ten took."""
    source = f"{TEST_PICTURES} ! video/x-raw,width=640,height=480,framerate=30/1 ! appsink"

    def live() -> Iterator[Picture]:
        with open_source(source) as opened:
            yield from islice(opened, 4)

    def resident_mb() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    for number in range(10):
        assert len(list(live())) == 4 or number
    before_mb = resident_mb()
    threads = threading.active_count()
    for number in range(30):
        pictures = live()
        next(pictures)
        if number % 2:
            list(pictures)
        pictures.close()  # type: ignore[attr-defined]
    # One picture is 0.46 MB: had each life kept one, it would be 14.
    assert resident_mb() - before_mb < 10
    assert threading.active_count() == threads


def test_in_a_camera_process_it_leaves_no_orphans(tiny_clip: Path) -> None:
    source = f"{TEST_PICTURES} ! video/x-raw,{SIZE} ! appsink"
    capture = CaptureProcess("yard", CaptureOrder(source, "SHOWN", Preprocess("stretch", (64, 48)), 10))
    with capture:
        times = []
        while len(times) < 5:
            events = capture.receive(5.0)
            times.extend(event.time for event in events if isinstance(event, NewFrame))
        assert all(one.camera_time_s < two.camera_time_s for one, two in pairwise(times))
        assert times[-1].captured_at_s == pytest.approx(CLOCK.utc_s(), abs=5)
        assert capture.picture_size_px == (64, 48)
        tasks = Path(f"/proc/{capture.pid}/task")
        # GStreamer runs inside the process: there is nothing that could outlive it.
        assert "".join((task / "children").read_text() for task in tasks.iterdir()).split() == []
        capture.kill()
    assert not tasks.exists()


def test_without_gstreamer_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "libgstreamer-1.0.so.0").touch()
    program = "import sys; from edgeseg.sources.open import open_source; open_source(sys.argv[1]).__enter__()"
    answer = subprocess.run(
        [sys.executable, "-c", program, "gstreamer: videotestsrc ! appsink"],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=ROOT,
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
    )
    last = answer.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "edgeseg.errors.SourceError: gstreamer: videotestsrc ...: GStreamer is not installed"
    )
    assert "sudo apt-get install gstreamer1.0-plugins-base" in last


def test_a_pipeline_can_be_checked_without_playing_it() -> None:
    assert check_pipeline("gstreamer: filesrc location=/none ! decodebin ! appsink", "SHOWN")
    assert not check_pipeline("rtsp://camera/s", "SHOWN")
    with pytest.raises(SourceError, match='SHOWN: no element "nosuchthing"'):
        check_pipeline("gstreamer: nosuchthing ! appsink", "SHOWN")


def test_csi_is_short_for_the_boards_own_pipeline() -> None:
    jetson = csi_pipeline("1", "csi://1", lambda name: True)
    assert jetson.startswith("nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM)")
    assert launch_line.syntax_error(jetson) is None
    raspberry_pi = csi_pipeline("0", "csi://0", lambda name: name == "libcamerasrc")
    assert raspberry_pi.startswith("libcamerasrc ! ")
    assert launch_line.syntax_error(raspberry_pi) is None
    with pytest.raises(SourceError, match="csi://1: libcamera names its cameras"):
        csi_pipeline("1", "csi://1", lambda name: name == "libcamerasrc")
    with pytest.raises(SourceError, match="csi://0: GStreamer has neither nvarguscamerasrc"):
        csi_pipeline("0", "csi://0", lambda name: False)


def test_csi_on_a_machine_without_such_a_camera() -> None:
    source = open_source("csi://0")
    assert isinstance(source, CsiSource)
    assert source.live
    reason, message = failure("csi://0", open_timeout_s=2.0)
    assert message.startswith("csi://0: ")
    if not has_element("", "nvarguscamerasrc") and not has_element("", "libcamerasrc"):
        assert reason == "not_found"


LAYOUTS = """
import json
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import Gst, GstVideo
structs = {"Message": Gst.Message, "Buffer": Gst.Buffer, "MapInfo": Gst.MapInfo, "MiniObject": Gst.MiniObject,
           "VideoInfo": GstVideo.VideoInfo, "Colorimetry": GstVideo.VideoColorimetry}
print(json.dumps({name: {field.get_name(): field.get_offset() for field in kind.__info__.get_fields()}
                  for name, kind in structs.items()}))
"""


def test_structures_are_laid_out_as_gstreamer_says() -> None:
    """Held against Debian's introspection data, which is made from the C headers. It leaves out unions, and
    with them what VideoFrame has behind its VideoInfo: those offsets are held by the pictures above."""
    require_rtsp_server()
    answer = subprocess.run([PYTHON, "-c", LAYOUTS], capture_output=True, text=True, timeout=280, check=True)
    for name, offsets in json.loads(answer.stdout).items():
        ours = getattr(abi, name)
        named = {field for field, _ in ours._fields_} & set(offsets)
        assert len(named) >= 2, name
        assert {field: getattr(ours, field).offset for field in named} == {
            field: offsets[field] for field in named
        }, name
