"""Decoders of the device: what is not there gives way to software, once, in words, and pictures come.

No machine of ours has such a decoder: what these tests show is the way back from it.
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext

from edgeseg.capture.messages import CaptureOrder
from edgeseg.capture.process import CaptureProcess
from edgeseg.settings import DecodeName
from edgeseg.sources.decode import Decoder, Opening
from edgeseg.sources.hardware import HardwareError, open_hardware
from edgeseg.sources.open import open_source
from edgeseg.stages.preprocess import Preprocess
from tests.conftest import write_clip
from tests.end_to_end.test_run import pipeline
from tests.support.broker import wait_until
from tests.support.daemon import Daemon
from tests.support.gstreamer_fixtures import require_gstreamer
from tests.support.rtsp_fixtures import RtspServer

DEVICES: tuple[DecodeName, ...] = ("cuda", "vaapi", "drm", "v4l2m2m")


def absent(device: DecodeName, clip: Path) -> bool:
    with av.open(str(clip)) as container:
        try:
            open_hardware(device, container.streams.video[0].codec_context)
        except HardwareError:
            return True
        return False


def lumas(source: str, decode: DecodeName) -> list[bytes]:
    with open_source(source, decode=decode) as opened:
        return [picture.planes[0].tobytes() for picture in opened]


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_that_is_not_there_gives_way_to_software(device: DecodeName, tiny_clip: Path) -> None:
    if not absent(device, tiny_clip):
        pytest.skip(f"this machine has a {device} decoder")
    with open_source(str(tiny_clip), shown="SHOWN", decode=device) as source:
        assert source.notice is not None
        assert source.notice.startswith(f"SHOWN: decode: {device}: ")
        assert source.notice.endswith("; decoding in software")
        assert len(source.notice.splitlines()) == 1
        assert len(list(source)) == 30
    assert lumas(str(tiny_clip), device) == lumas(str(tiny_clip), "software")


def test_auto_takes_what_there_is_and_complains_of_nothing(tiny_clip: Path) -> None:
    with open_source(str(tiny_clip), decode="auto") as source:
        assert source.notice is None
        assert len(list(source)) == 30


def pictures_of(clip: Path, device: VideoCodecContext) -> tuple[int, Decoder]:
    """Decoded by a device that is really ``device``."""
    decoder = Decoder(Opening(str(clip), "SHOWN", decode="cuda"), lambda name, video: (name, device))
    decoder.open()
    count = len(list(decoder.pictures()))
    return count, decoder


def made(codec: str) -> VideoCodecContext:
    context = CodecContext.create(codec, "r")
    assert isinstance(context, VideoCodecContext)
    return context


def test_a_device_that_refuses_every_packet_gives_way_to_software(tmp_path: Path) -> None:
    """PNG's decoder finds no picture in H.264, with an error for each packet."""
    clip = write_clip(tmp_path / "clip.mp4", frames=80)
    count, decoder = pictures_of(clip, made("png"))
    assert decoder.decoded_by == "software"
    assert decoder.notice == ("SHOWN: decode: cuda: it refused 25 packets in a row; decoding in software")
    # 25 packets are a second of a camera; the next keyframe is at 30 (one every 10 pictures).
    assert count >= 80 - 30
    assert 24 <= decoder.corrupt_packets <= 30
    decoder.close()


def test_a_device_that_decodes_is_left_alone(tiny_clip: Path) -> None:
    with av.open(str(tiny_clip)) as container:
        other = made("h264")
        other.extradata = container.streams.video[0].codec_context.extradata
    count, decoder = pictures_of(tiny_clip, other)
    assert (count, decoder.decoded_by, decoder.notice) == (30, "cuda", None)
    decoder.close()


def test_a_camera_process_tells_its_daemon(tiny_clip: Path) -> None:
    if not absent("v4l2m2m", tiny_clip):
        pytest.skip("this machine has a V4L2 decoder")
    preprocess = Preprocess("stretch", (64, 48))
    with (
        RtspServer(tiny_clip, fps=25) as server,
        CaptureProcess(
            "yard", CaptureOrder(server.url, "SHOWN", preprocess, 10, decode="v4l2m2m")
        ) as capture,
    ):
        while not capture.receive(5.0):
            pass
        with capture.take() as frame:
            assert frame is not None
            assert int(np.max(frame.views)) > 200
        assert capture.notice == (
            "SHOWN: decode: v4l2m2m: no /dev/video* that decodes h264, or no permission to use it; "
            "decoding in software"
        )


def test_the_daemon_says_it_once_and_watches_gstreamer_too(tmp_path: Path, tiny_clip: Path) -> None:
    require_gstreamer()
    if not absent("drm", tiny_clip):
        pytest.skip("this machine has a DRM decoder")
    more = (
        "    decode: drm\n"
        "  pattern:\n"
        "    source:\n"
        "      gstreamer: videotestsrc is-live=true ! video/x-raw,width=64,height=48 ! appsink\n"
        "    rate: 10\n"
        "    zones: {all: {polygon: [[0, 0], [1, 0], [1, 1], [0, 1]]}}\n"
    )
    with (
        RtspServer(tiny_clip, fps=25, loop=False) as server,
        Daemon(pipeline(tmp_path, server.url, more=more)) as daemon,
    ):
        wait_until(lambda: daemon.messages("test/pattern/zone/all/occupancy"), "an occupancy of the pattern")
        # The stream ends after its 3 s, and is opened again.
        wait_until(lambda: daemon.log.count("camera yard: live") >= 2, "a second connection")
        assert daemon.stop() == 0
        (said,) = [line for line in daemon.log.splitlines() if "decoding in software" in line]
        assert "camera yard: rtsp://127.0.0.1" in said
        assert "decode: drm: this FFmpeg has no drm decoder for h264" in said
