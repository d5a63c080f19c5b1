"""One contract for every kind of source, against real servers and files; every failure has its reason."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from itertools import islice, pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edgeseg.clock import ManualClock, SystemClock
from edgeseg.errors import SourceError, SourceReason
from edgeseg.frames import Picture
from edgeseg.sources.base import Source
from edgeseg.sources.file import FileSource
from edgeseg.sources.open import open_source
from edgeseg.sources.pictures import PicturesSource
from edgeseg.sources.v4l2 import V4l2Source
from tests.conftest import write_clip
from tests.support.gstreamer_fixtures import camera_playing
from tests.support.http_fixtures import closed_port, http_server, mute_server
from tests.support.rtsp_fixtures import RtspServer

PASSWORD = "hunter2&more"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def picture_folder(folder: Path, count: int = 6) -> Path:
    for number in range(count):
        cv2.imwrite(str(folder / f"in{number * 3}.png"), np.full((48, 64, 3), number * 20, np.uint8))
    (folder / "notes.txt").write_text("not a picture")
    return folder


def of_file(stack: ExitStack, clip: Path, folder: Path) -> str:
    return str(clip)


def of_pictures(stack: ExitStack, clip: Path, folder: Path) -> str:
    return str(picture_folder(folder))


def of_http_clip(stack: ExitStack, clip: Path, folder: Path) -> str:
    return stack.enter_context(http_server(clip)) + "/clip.mp4"


def of_http_camera(stack: ExitStack, clip: Path, folder: Path) -> str:
    return stack.enter_context(http_server(clip)) + "/camera"


def of_rtsp(stack: ExitStack, clip: Path, folder: Path) -> str:
    return stack.enter_context(RtspServer(clip, fps=25)).url


def of_gstreamer(stack: ExitStack, clip: Path, folder: Path) -> str:
    return camera_playing(clip)


Making = Callable[[ExitStack, Path, Path], str]
FINITE: tuple[Making, ...] = (of_file, of_pictures, of_http_clip)
LIVE: tuple[Making, ...] = (of_http_camera, of_rtsp, of_gstreamer)
ALL = FINITE + LIVE


@pytest.mark.parametrize("make", ALL)
class TestContract:
    """What holds for every source."""

    def test_pictures_are_whole_and_times_increase(
        self, make: Making, stack: ExitStack, tiny_clip: Path, tmp_path: Path
    ) -> None:
        clock = SystemClock()
        before_s, before_utc_s = clock.monotonic_s(), clock.utc_s()
        with open_source(make(stack, tiny_clip, tmp_path), clock=clock) as source:
            times = []
            for picture in islice(source, 6):
                assert_whole(picture)
                times.append(picture.time)
            after_s, after_utc_s = clock.monotonic_s(), clock.utc_s()
            assert len(times) == 6
            assert all(one.camera_time_s < two.camera_time_s for one, two in pairwise(times))
            assert all(one.captured_at_s < two.captured_at_s for one, two in pairwise(times))
            assert source.live is (make in LIVE)
            assert (source.duration_s is None) is source.live
            if source.live:
                assert before_s < times[0].camera_time_s < times[-1].camera_time_s < after_s
                assert before_utc_s < times[0].captured_at_s < times[-1].captured_at_s < after_utc_s
            else:
                assert times[0].camera_time_s == 0.0

    def test_leaving_the_block_releases_it(
        self, make: Making, stack: ExitStack, tiny_clip: Path, tmp_path: Path
    ) -> None:
        url = make(stack, tiny_clip, tmp_path)
        descriptors = []
        for _ in range(3):
            with open_source(url) as source:
                assert next(iter(source)).width_px == 64
            # The HTTP server's own ends are in this process too, and close in their own time.
            descriptors.append(own_descriptors(sockets=make is of_rtsp))
        assert descriptors[2] <= descriptors[0]

    def test_it_can_be_opened_again(
        self, make: Making, stack: ExitStack, tiny_clip: Path, tmp_path: Path
    ) -> None:
        source = open_source(make(stack, tiny_clip, tmp_path))
        for _ in range(2):
            with source:
                assert next(iter(source)).height_px == 48


def own_descriptors(*, sockets: bool) -> int:
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except FileNotFoundError:
            continue
    return len([link for link in links if sockets or not link.startswith("socket:")])


def assert_whole(picture: Picture) -> None:
    assert (picture.width_px, picture.height_px) == (64, 48)
    assert all(plane.dtype == np.uint8 for plane in picture.planes)
    if picture.layout == "rgb":
        assert [plane.shape for plane in picture.planes] == [(48, 64, 3)]
    else:
        assert [plane.shape for plane in picture.planes] == [(48, 64), (24, 32), (24, 32)]


@pytest.mark.parametrize("make", FINITE)
def test_a_finite_source_ends_quietly_and_gives_the_same_again(
    make: Making, stack: ExitStack, tiny_clip: Path, tmp_path: Path
) -> None:
    source = open_source(make(stack, tiny_clip, tmp_path), epoch_s=1e9)
    runs = []
    for _ in range(2):
        with source:
            runs.append([(picture.time, picture.planes[0].tobytes()) for picture in source])
            assert source.duration_s == pytest.approx(6.0 if make is of_pictures else 3.0)
    assert runs[0] == runs[1]
    assert len(runs[0]) == (6 if make is of_pictures else 30)
    assert [time.captured_at_s - 1e9 for time, _ in runs[0]] == pytest.approx(
        [time.camera_time_s for time, _ in runs[0]], abs=1e-6
    )


def test_a_stream_that_ends_says_so(stack: ExitStack, tiny_clip: Path) -> None:
    url = of_http_camera(stack, tiny_clip, tiny_clip.parent)
    with open_source(url) as source:
        pictures = iter(source)
        assert next(pictures).full_range
        assert refusal(lambda: [*pictures]) == "ended"


def test_a_killed_rtsp_server_ends_the_stream(stack: ExitStack, tiny_clip: Path) -> None:
    server = stack.enter_context(RtspServer(tiny_clip))
    with open_source(server.url) as source:
        pictures = iter(source)
        next(pictures)
        server.kill()
        assert refusal(lambda: [*pictures]) in ("ended", "timeout")


def test_a_frozen_rtsp_server_times_out(stack: ExitStack, tiny_clip: Path) -> None:
    server = stack.enter_context(RtspServer(tiny_clip))
    clock = SystemClock()
    with open_source(server.url, read_timeout_s=1.0) as source:
        pictures = iter(source)
        next(pictures)
        server.freeze()
        frozen_at_s = clock.monotonic_s()
        assert refusal(lambda: [*pictures]) == "timeout"
        # Twice the timeout, as the docstring says; the rest is for a busy machine.
        assert clock.monotonic_s() - frozen_at_s < 2 * 1.0 + 3.0
        server.resume()


def test_resolution_changes_in_the_middle_of_a_stream(
    stack: ExitStack, tiny_clip: Path, tmp_path: Path
) -> None:
    wide = write_clip(tmp_path / "wide.mp4", width=96, height=64)
    server = stack.enter_context(RtspServer(tiny_clip, wide, fps=25))
    with open_source(server.url) as source:
        sizes = []
        for picture in islice(source, 200):
            sizes.append((picture.width_px, picture.height_px))
            if len(sizes) == 3:
                server.switch(1)
            if sizes[-1] == (96, 64):
                break
    assert sizes[0] == (64, 48)
    assert sizes[-1] == (96, 64)


def test_the_senders_clock_is_reported(stack: ExitStack, tiny_clip: Path) -> None:
    """RTCP sender reports come every few seconds; the server is this machine, so its clock is ours."""
    server = stack.enter_context(RtspServer(tiny_clip, fps=25))
    clock = SystemClock()
    with open_source(server.url, clock=clock) as source:
        for picture in islice(source, 25 * 12):
            if picture.time.sender_utc_s is not None:
                assert abs(picture.time.sender_utc_s - picture.time.captured_at_s) < 3.0
                return
    pytest.fail("no sender report in 300 pictures")


def test_missing_timestamps_are_estimated_from_the_rate(tiny_clip: Path, tmp_path: Path) -> None:
    """A bare H.264 stream has no timestamps at all."""
    bare = tmp_path / "bare.h264"
    with av.open(str(tiny_clip)) as container, av.open(str(bare), "w") as out:
        stream = container.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for packet in container.demux(stream):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
    with open_source(str(bare)) as source:
        times_s = [picture.time.camera_time_s for picture in source]
        assert source.rate_fps is not None
        steps = {round(two - one, 3) for one, two in pairwise(times_s)}
    assert len(times_s) == 30
    assert steps == {round(1 / source_rate(bare), 3)}


def source_rate(path: Path) -> float:
    with FileSource(path) as source:
        return source.rate_fps or 25.0


def test_pictures_are_sorted_by_number_and_rated(tmp_path: Path) -> None:
    source = PicturesSource(picture_folder(tmp_path), rate_fps=4.0, epoch_s=100.0)
    with source:
        pictures = list(source)
        assert source.duration_s == 1.5
    # in0, in3, in6, in9, in12, in15: by text, in12 would come before in3.
    assert [int(picture.planes[0][0, 0, 0]) for picture in pictures] == [0, 20, 40, 60, 80, 100]
    assert [picture.time.camera_time_s for picture in pictures] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    assert pictures[-1].time.captured_at_s == 101.25


@pytest.mark.parametrize(("pixels", "full_range"), [("yuvj422p", True), ("yuv444p", False), ("gray", False)])
def test_other_pixel_formats_keep_their_range(tmp_path: Path, pixels: str, full_range: bool) -> None:
    path = tmp_path / "clip.mkv"
    codec = "mjpeg" if pixels == "yuvj422p" else "ffv1"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for _ in range(3):
            frame = av.VideoFrame(64, 48, pixels)
            for plane, value in zip(frame.planes, (240, 100, 180), strict=False):
                plane.update(bytes([value]) * plane.buffer_size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with FileSource(path) as source:
        picture = next(iter(source))
    assert picture.layout == "i420"
    assert picture.full_range is full_range
    y, u, v = (int(np.median(plane)) for plane in picture.planes)
    if pixels == "gray":
        # Gray is full range, and is brought into the range the picture claims.
        assert (y, u, v) == pytest.approx((16 + 240 * 219 / 255, 128, 128), abs=1.5)
    else:
        assert (y, u, v) == pytest.approx((240, 100, 180), abs=2)


def test_the_recordings_own_date_is_the_epoch_unless_given(data_dir: Path) -> None:
    clip = data_dir / "video" / "car-detection.mp4"
    with FileSource(clip) as source:
        assert next(iter(source)).time.captured_at_s == 1524177960.0
    with FileSource(clip, epoch_s=5.0) as source:
        assert next(iter(source)).time.captured_at_s == 5.0


def test_the_hostile_clip_decodes(data_dir: Path) -> None:
    with FileSource(data_dir / "hostile" / "heap_corrupting.avi") as source:
        assert len(list(source)) == 51


def test_a_v4l2_device_is_opened_as_one() -> None:
    source = open_source("v4l2:///dev/video97")
    assert isinstance(source, V4l2Source)
    assert source.live
    assert refusal(lambda: source.__enter__()) == "not_found"
    assert refusal(lambda: open_source("v4l2:///dev/null").__enter__()) == "refused"


def refusal(act: Callable[[], object]) -> SourceReason:
    """The reason; nothing that could be logged of it may hold the password."""
    with pytest.raises(SourceError) as caught:
        act()
    text = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "hunter2" not in text
    assert len(str(caught.value).splitlines()) == 1
    return caught.value.reason


def read_all(url: str, **options: float) -> Callable[[], object]:
    def act() -> object:
        with open_source(url, **options) as source:  # type: ignore[arg-type]
            return [picture.time for picture in source]

    return act


def truncated(clip: Path, path: Path, *, index_first: bool) -> Path:
    """The first half of a recording."""
    whole = path.with_name("whole.mp4")
    options = {"movflags": "faststart"} if index_first else {}
    with av.open(str(clip)) as container, av.open(str(whole), "w", options=options) as out:
        stream = container.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for packet in container.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                out.mux(packet)
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return path


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    assert refusal(read_all(str(tmp_path / "none.mp4"))) == "not_found"
    assert refusal(read_all(str(tmp_path))) == "not_found"
    (tmp_path / "notes.txt").write_text("libav would play this as ANSI art\n" * 40)
    assert refusal(read_all(str(tmp_path / "notes.txt"))) == "codec"
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(3).bytes(50_000))
    assert refusal(read_all(str(tmp_path / "noise.mp4"))) == "codec"
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    assert refusal(read_all(str(tmp_path / "broken.png"))) == "codec"
    assert refusal(read_all("gopher://user:hunter2@host/x")) == "not_found"


def test_truncated_files_say_how_much_is_left(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "long.mp4", width=160, height=120, frames=100)
    with_index = truncated(clip, tmp_path / "cut.mp4", index_first=True)
    with pytest.raises(SourceError, match=r"cut.mp4: ends at \d\.\d s of 10.0 s") as caught:
        read_all(str(with_index))()
    assert caught.value.reason == "truncated"
    without = truncated(clip, tmp_path / "cut2.mp4", index_first=False)
    with pytest.raises(SourceError, match=r"cut2.mp4: cut off before its index \(moov\)") as caught:
        read_all(str(without))()
    assert caught.value.reason == "truncated"
    (tmp_path / "empty.mp4").touch()
    assert refusal(read_all(str(tmp_path / "empty.mp4"))) == "truncated"


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https"])
def test_unreachable_servers(scheme: str, capfd: pytest.CaptureFixture[str]) -> None:
    login = f"{scheme}://me:hunter2@"
    assert refusal(read_all(f"{login}127.0.0.1:{closed_port()}/s")) == "refused"
    assert refusal(read_all(f"{login}no-such-host.invalid/s")) == "not_found"
    clock = SystemClock()
    with mute_server() as port:
        began_s = clock.monotonic_s()
        assert refusal(read_all(f"{login}127.0.0.1:{port}/s?token=hunter2", open_timeout_s=1.0)) == "timeout"
        assert clock.monotonic_s() - began_s < 2 * 1.0 + 3.0
    written = capfd.readouterr()
    assert written.out + written.err == ""


@pytest.mark.parametrize("scheme", ["rtsps", "https"])
def test_a_server_without_tls(scheme: str) -> None:
    with mute_server(answer=b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert refusal(read_all(f"{scheme}://me:hunter2@127.0.0.1:{port}/s")) == "tls"


@pytest.mark.parametrize("digest", [False, True], ids=["basic", "digest"])
def test_rtsp_logins(stack: ExitStack, tiny_clip: Path, digest: bool) -> None:
    server = stack.enter_context(RtspServer(tiny_clip, user="me", password=PASSWORD, digest=digest))
    with open_source(server.url) as source:
        assert next(iter(source)).width_px == 64
    assert refusal(read_all(server.url_with("me", "hunter2-wrong"))) == "auth"
    assert refusal(read_all(server.url_with(None, None))) == "auth"
    assert refusal(read_all(server.url_with("me", PASSWORD, path="/other"))) in ("not_found", "auth")


def test_rtsp_path(stack: ExitStack, tiny_clip: Path) -> None:
    server = stack.enter_context(RtspServer(tiny_clip))
    assert refusal(read_all(server.url_with(None, None, path="/other"))) == "not_found"


def test_http_refusals(stack: ExitStack, tiny_clip: Path) -> None:
    server: AbstractContextManager[str] = http_server(tiny_clip, user="me", password="hunter2")
    base = stack.enter_context(server)
    assert refusal(read_all(base + "/clip.mp4")) == "auth"
    login = base.replace("http://", "http://me:hunter2@")
    with open_source(login + "/clip.mp4") as source:
        assert not source.live
        assert len(list(source)) == 30
    assert refusal(read_all(login + "/gone")) == "not_found"
    assert refusal(read_all(login + "/page")) == "codec"


def test_damaged_packets_are_skipped_and_counted(tiny_clip: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.ts"
    with av.open(str(tiny_clip)) as container, av.open(str(damaged), "w") as out:
        stream = container.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for number, packet in enumerate(container.demux(stream)):
            if packet.dts is None:
                continue
            if number in (12, 13, 14):
                # One unit of the right length and type, and nonsense in it.
                inside = packet.size - 4
                packet.update(inside.to_bytes(4, "big") + b"\x41" + b"\xff" * (inside - 1))
            packet.stream = copy
            out.mux(packet)
    source: Source
    with open_source(str(damaged)) as source:
        pictures = list(source)
        assert 26 <= len(pictures) <= 29
        assert source.corrupt_packets >= 1


def test_live_times_come_from_the_clock_that_was_given(stack: ExitStack, tiny_clip: Path) -> None:
    clock = ManualClock(utc_s=1000.0, monotonic_s=50.0)
    with open_source(of_http_camera(stack, tiny_clip, tiny_clip.parent), clock=clock) as source:
        pictures = iter(source)
        assert next(pictures).time.camera_time_s == 50.0
        clock.advance(2.0)
        assert next(pictures).time.captured_at_s == 1002.0
        # A clock that stands still must not give the same time twice.
        third, fourth = next(pictures).time, next(pictures).time
        assert 52.0 < third.camera_time_s < fourth.camera_time_s < 52.001


def test_a_title_that_is_not_utf8_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "titled.mp4"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "abcdefgh"
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(
            stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24"))
        )
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"ab\xff\xfe\x80fgh"))
    with open_source(str(path)) as source:
        assert len(list(source)) == 1
