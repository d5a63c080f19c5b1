"""Clips of a camera's own packets: as long as requested, begun with a keyframe, never decoded on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from edgeseg.capture.clip_recorder import MOST_AT_ONCE, ClipRecorder
from edgeseg.capture.clip_request import ClipRequest
from edgeseg.capture.events import CaptureEvent, ClipReady
from edgeseg.capture.memory_limit import limit_bytes
from edgeseg.capture.messages import CaptureOrder
from edgeseg.capture.process import CaptureProcess
from edgeseg.capture.shared_memory import AlertClip
from edgeseg.clock import SystemClock
from edgeseg.errors import SourceError
from edgeseg.sources.packets import MOST_CLIP_BYTES, MOST_RING_BYTES, BufferedPacket, ClipWriter, PacketRing
from edgeseg.stages.preprocess import Preprocess
from tests.conftest import write_clip
from tests.support.broker import wait_until
from tests.support.rtsp_fixtures import RtspServer

CLOCK = SystemClock()
# The tiny clip: 10 fps, a keyframe a second.
GOP_S = 1.0
ID = "0123456789abcdef"


def packet(at_s: float, *, key: bool = False, size: int = 100) -> BufferedPacket:
    pts = round(at_s * 90_000)
    return BufferedPacket(bytes(size), pts, pts, Fraction(1, 90_000), key, at_s)


def test_the_ring_begins_with_a_keyframe_and_reaches_back_far_enough() -> None:
    ring = PacketRing(keep_s=5.0)
    for tenth in range(3, 300):
        ring.add(packet(tenth / 10, key=tenth % 20 == 0))
        kept = ring.since(0.0)
        if kept:
            assert kept[0].key
            assert tenth / 10 - kept[0].at_s <= 5.0 + 2.0
        if tenth >= 80:
            assert tenth / 10 - kept[0].at_s >= 5.0
    assert ring.since(27.0)[0].at_s == 26.0
    assert ring.since(100.0)[0].at_s == 28.0


def test_the_ring_is_bounded_whatever_comes() -> None:
    ring = PacketRing(keep_s=1000.0, most_bytes=10_000)
    for number in range(1000):
        ring.add(packet(number / 10, key=number % 20 == 0, size=200))
        assert ring.size_bytes <= 10_000
    assert ring.since(0.0)[0].key
    endless = PacketRing(keep_s=1000.0, most_bytes=10_000)
    endless.add(packet(0.0, key=True))
    for number in range(1000):
        endless.add(packet(number / 10))
        assert endless.size_bytes <= 10_000
    assert endless.since(0.0) == []


@pytest.fixture
def server(tiny_clip: Path) -> Iterator[RtspServer]:
    with RtspServer(tiny_clip) as server:
        yield server


def capture_of(url: str, *, only: bool = False, before_s: float = 2.0) -> CaptureProcess:
    preprocess = Preprocess("stretch", (64, 48))
    order = CaptureOrder(url, "shown", preprocess, 5.0, record_s=before_s, record_only=only)
    return CaptureProcess("yard", order)


def clips_in(events: list[CaptureEvent]) -> list[AlertClip]:
    return [event.clip for event in events if isinstance(event, ClipReady)]


def watched(capture: CaptureProcess, until_s: float, clips: list[AlertClip] | None = None) -> None:
    while CLOCK.monotonic_s() < until_s:
        received = clips_in(capture.receive(0.1))
        if clips is not None:
            clips.extend(received)


def clip_of(capture: CaptureProcess, request: ClipRequest) -> AlertClip:
    capture.take_clip(request)
    return wait_until(lambda: clips_in(capture.receive(0.1)), "the clip")[0]


def saved(clip: AlertClip, path: Path) -> Path:
    assert clip.descriptor is not None
    with os.fdopen(clip.descriptor, "rb") as stream:
        stream.seek(0)
        path.write_bytes(stream.read())
    return path


def decoded_s(path: Path) -> list[float]:
    """Times of the pictures, all of which decode."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return [float(frame.time) for frame in container.decode(stream)]


@pytest.mark.alone
@pytest.mark.parametrize("only", [False, True], ids=["while decoding", "recording alone"])
def test_a_clip_of_a_real_camera(server: RtspServer, tmp_path: Path, only: bool) -> None:
    with capture_of(server.url, only=only) as capture:
        wait_until(lambda: capture.receive(0.1) or capture.stream, "the stream")
        watched(capture, CLOCK.monotonic_s() + 3.0)
        at_s = CLOCK.monotonic_s()
        clip = clip_of(capture, ClipRequest(ID, at_s, 2.0, 1.0, "edgeseg: a test"))
        assert CLOCK.monotonic_s() >= at_s + 1.0
        stream = capture.stream
        assert stream is not None
        assert stream.codec == "h264"
    path = saved(clip, tmp_path / "clip.mp4")
    times = decoded_s(path)
    assert times[0] == 0.0
    # From at most a group of pictures earlier than requested, to a picture or two later.
    assert 3.0 - 0.2 <= times[-1] <= 3.0 + GOP_S + 0.5
    assert np.diff(times).max() < 0.3
    with av.open(str(path)) as container:
        assert next(container.demux(video=0)).is_keyframe
        assert container.metadata["comment"] == "edgeseg: a test"
        assert "mp4" in container.format.name


def test_the_packets_are_the_cameras_own(tiny_clip: Path, tmp_path: Path) -> None:
    """A clip on disk, which is recorded as a camera is: each packet's payload is in the file again."""
    with capture_of(str(tiny_clip), before_s=3.0) as capture:
        capture.receive(20.0)
        at_s = CLOCK.monotonic_s()
        path = saved(clip_of(capture, ClipRequest(ID, at_s, 3.0, 1.0, "")), tmp_path / "clip.mp4")
    with av.open(str(tiny_clip)) as container:
        original = [bytes(one) for one in container.demux(video=0) if one.size]
    with av.open(str(path)) as container:
        copied = [bytes(one) for one in container.demux(video=0) if one.size]
    assert len(copied) >= 8
    assert copied == original[: len(copied)]


def test_a_clip_holds_all_packets_until_the_camera_was_cut_off(server: RtspServer, tmp_path: Path) -> None:
    with capture_of(server.url) as capture:
        capture.receive(20.0)
        watched(capture, CLOCK.monotonic_s() + 1.0)
        capture.take_clip(ClipRequest(ID, CLOCK.monotonic_s(), 1.0, 3600.0, ""))
        watched(capture, CLOCK.monotonic_s() + 1.0)
        server.kill()
        clips: list[AlertClip] = []
        with pytest.raises(SourceError):
            watched(capture, CLOCK.monotonic_s() + 20.0, clips)
        (clip,) = clips
    assert decoded_s(saved(clip, tmp_path / "clip.mp4"))[-1] >= 1.0


def test_hevc_goes_into_mp4_and_what_mp4_does_not_hold_into_matroska(tmp_path: Path) -> None:
    for codec, container_name in (("libx265", "mp4"), ("mpeg2video", "matroska")):
        source = tmp_path / f"{codec}.mkv"
        with av.open(str(source), "w") as container:
            stream = container.add_stream(codec, rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for level in range(20):
                picture = np.full((48, 64, 3), 10 * level, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        with capture_of(str(source)) as capture:
            capture.receive(20.0)
            clip = clip_of(capture, ClipRequest(ID, CLOCK.monotonic_s(), 2.0, 0.5, ""))
        path = saved(clip, tmp_path / f"{codec}.clip")
        assert len(decoded_s(path)) >= 5
        with av.open(str(path)) as container:
            assert container_name in container.format.name


def test_a_hostile_clip_makes_a_file_or_none(data_dir: Path, tmp_path: Path) -> None:
    hostile = data_dir / "hostile" / "heap_corrupting.avi"
    with capture_of(str(hostile)) as capture:
        wait_until(lambda: capture.receive(0.1), "a picture")
        clip = clip_of(capture, ClipRequest(ID, CLOCK.monotonic_s(), 2.0, 0.2, ""))
    if clip.descriptor is not None:
        assert saved(clip, tmp_path / "clip").stat().st_size <= MOST_CLIP_BYTES


def test_no_more_clips_at_once_than_memory_allows(server: RtspServer) -> None:
    with capture_of(server.url) as capture:
        capture.receive(20.0)
        at_s = CLOCK.monotonic_s()
        for number in range(MOST_AT_ONCE + 1):
            capture.take_clip(ClipRequest(f"{number:016x}", at_s, 1.0, 2.0, ""))
        taken: list[AlertClip] = []

        def all_of_them() -> bool:
            taken.extend(clips_in(capture.receive(0.1)))
            return len(taken) > MOST_AT_ONCE

        wait_until(all_of_them, "an answer to each request")
        for clip in taken:
            if clip.descriptor is not None:
                os.close(clip.descriptor)
    assert sum(clip.descriptor is None for clip in taken) == 1


def test_timestamps_that_make_no_sense_make_a_file_all_the_same(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "clip.mp4", frames=40)
    done: list[int] = []
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        packets = [one for one in container.demux(stream) if one.size]

        def keep(alert_id: str, descriptor: int | None) -> None:
            assert descriptor is not None
            done.append(os.dup(descriptor))

        recorder = ClipRecorder(60.0, lambda comment: ClipWriter(stream, comment), keep)
        base = Fraction(1, 90_000)
        for number, one in enumerate(packets):
            # Standing still, missing, going back, leaping by a day.
            pts = (None, 900, 900, 0, number * 9000, number * 9000 + 86_400 * 90_000)[number % 6]
            recorder.add(BufferedPacket(bytes(one), pts, pts, base, one.is_keyframe, float(number)))
            if number == 10:
                recorder.start_clip(ClipRequest(ID, 10.0, 60.0, 60.0, ""))
        recorder.finish()
    path = tmp_path / "odd.mp4"
    with os.fdopen(done[-1], "rb") as memory:
        memory.seek(0)
        path.write_bytes(memory.read())
    times = decoded_s(path)
    assert len(times) == len(packets)
    assert times == sorted(times)
    assert times[-1] < 3600.0


def test_bounds_fit_into_what_a_camera_process_may_have() -> None:
    own_bytes = 70 << 20
    assert own_bytes + 2 * MOST_RING_BYTES < limit_bytes((1920, 1080))
    assert MOST_CLIP_BYTES < 1 << 28
