"""``repeat: true``: a clip that begins again after its end, for trials and the demo."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseg import config
from edgeseg.capture.events import NewFrame
from edgeseg.capture.messages import CaptureOrder
from edgeseg.capture.process import CaptureProcess
from edgeseg.errors import ConfigError
from edgeseg.stages.preprocess import Preprocess
from tests.support.broker import wait_until

PIPELINE = (
    "node: test\nmodel: deeplabv3-mnv2-pascal\ncameras: {{hall: {{source: '{source}', repeat: {repeat}}}}}\n"
)


def test_a_clip_begins_again(tiny_clip: Path) -> None:
    preprocess = Preprocess("stretch", (64, 48))
    began = 0
    last_s = 1.0
    order = CaptureOrder(str(tiny_clip), "clip", preprocess, 10, realtime=False, repeat=True)
    with CaptureProcess("hall", order) as capture:

        def beginnings() -> int:
            nonlocal began, last_s
            for event in capture.receive(0.1):
                assert isinstance(event, NewFrame)
                began += event.time.camera_time_s < last_s
                last_s = event.time.camera_time_s
            return began

        wait_until(lambda: beginnings() >= 3, "a third time round")


@pytest.mark.parametrize("source", ["rtsp://10.0.0.5/stream", "v4l2:///dev/video0", "gstreamer: a ! appsink"])
def test_a_camera_has_no_end(tmp_path: Path, source: str) -> None:
    file = tmp_path / "hall.yaml"
    file.write_text(PIPELINE.format(source=source, repeat="on"))
    with pytest.raises(ConfigError, match=r"cameras\.hall\.repeat: has no effect there"):
        config.load(file)


def test_off_unless_told(tmp_path: Path) -> None:
    file = tmp_path / "hall.yaml"
    file.write_text(PIPELINE.format(source="clip.mp4", repeat="off"))
    assert not config.load(file).cameras[0].repeat
