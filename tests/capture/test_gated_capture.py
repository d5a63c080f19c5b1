"""A camera process with a gate: what moves comes as frames, of the rest it reports that nothing moved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeseg.capture.events import NewFrame, StillPicture
from edgeseg.capture.messages import CaptureOrder
from edgeseg.capture.process import CaptureProcess
from edgeseg.clock import SystemClock
from edgeseg.errors import SourceError
from edgeseg.screening.motion_gate import MotionGateSettings
from edgeseg.settings import GateSettings
from edgeseg.stages.preprocess import Preprocess
from tests.sources.test_keyframes import clip_of, never
from tests.support.rtsp_fixtures import RtspServer

WITHIN_S = 90.0
CLOCK = SystemClock()


@contextmanager
def watching(
    source: Path | str, refresh_s: float = 60.0, keyframes: bool = False
) -> Iterator[CaptureProcess]:
    gate = MotionGateSettings(GateSettings(refresh_s, "medium", keyframes), ())
    order = CaptureOrder(str(source), "SHOWN", Preprocess("stretch", (64, 48)), 5, gate=gate)
    with CaptureProcess("yard", order) as capture:
        yield capture


def next_event(capture: CaptureProcess) -> str | StillPicture:
    """Return the next event: ``frame``, ``end``, or a still picture."""
    until_s = CLOCK.monotonic_s() + WITHIN_S
    while CLOCK.monotonic_s() < until_s:
        try:
            events = capture.receive(0.5)
        except SourceError:
            return "end"
        for event in events:
            if isinstance(event, NewFrame):
                return "frame"
            assert isinstance(event, StillPicture)
            return event
    raise AssertionError(f"nothing within {WITHIN_S} s")


def analyse(capture: CaptureProcess, *, confirm: bool = True) -> None:
    with capture.take() as frame:
        assert frame is not None
        if confirm:
            capture.confirm(frame)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip_of(tmp_path_factory.mktemp("clips") / "quiet.mp4", 60, never)


def test_a_still_scene_gives_one_frame_and_news_that_it_is_still(quiet: Path) -> None:
    with watching(quiet) as capture:
        assert next_event(capture) == "frame"
        analyse(capture)
        stills = []
        while isinstance(still := next_event(capture), StillPicture):
            stills.append(still)
        assert still == "end"
        assert len(stills) == 29
        # The first may have been on its way before the frame was analysed.
        assert all(still.confirmed for still in stills[1:])
        times = [still.time.camera_time_s for still in stills]
        assert times == sorted(set(times))
        assert dict(capture.dropped) == {"gated": 29}


def test_nothing_is_confirmed_before_its_frame_was_analysed(quiet: Path) -> None:
    with watching(quiet) as capture:
        assert next_event(capture) == "frame"
        for _ in range(3):
            still = next_event(capture)
            assert isinstance(still, StillPicture)
            assert not still.confirmed
        analyse(capture)
        still = next_event(capture)
        while isinstance(still, StillPicture) and not still.confirmed:
            still = next_event(capture)
        assert isinstance(still, StillPicture)


def test_a_frame_that_was_not_analysed_is_followed_by_another(quiet: Path) -> None:
    with watching(quiet) as capture:
        for _ in range(3):
            while next_event(capture) != "frame":
                pass
            analyse(capture, confirm=False)


def test_a_requested_frame_comes_though_nothing_moves(quiet: Path) -> None:
    with watching(quiet) as capture:
        assert next_event(capture) == "frame"
        analyse(capture)
        assert isinstance(next_event(capture), StillPicture)
        capture.request_frame()
        while next_event(capture) != "frame":
            pass
        analyse(capture)
        assert isinstance(next_event(capture), StillPicture)


def coming_and_going(index: int) -> bool:
    """A square for 2 s in 10."""
    return 60 <= index % 100 < 80


def test_a_quiet_rtsp_camera_is_decoded_by_keyframes_and_still_seen(tmp_path: Path) -> None:
    """Keyframes are 1 s apart, 10 pictures a second of which 5 are due."""
    clip = clip_of(tmp_path / "yard.mp4", 100, coming_and_going)
    with RtspServer(clip) as server, watching(server.url, keyframes=True) as capture:
        assert next_event(capture) == "frame"
        analyse(capture)
        # In the quiet seconds the looks become a second apart.
        before_s, apart_s = 0.0, 0.0
        while apart_s < 0.8:
            still = next_event(capture)
            assert isinstance(still, StillPicture), "the square came before keyframes sufficed"
            apart_s, before_s = (
                still.time.camera_time_s - (before_s or still.time.camera_time_s),
                (still.time.camera_time_s),
            )
        while next_event(capture) != "frame":
            pass
        analyse(capture)
        came = 1
        while came < 5:
            if next_event(capture) == "frame":
                analyse(capture)
                came += 1
        # Pictures that were due and not even decoded count as gated.
        assert capture.dropped["gated"] >= 20
        assert capture.dropped.get("corrupt", 0) == 0
