"""A camera process delivers the newest frame, and takes nothing down with it when it dies."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import pytest

from edgeseg.capture.events import CaptureEvent, ClipReady, NewFrame
from edgeseg.capture.messages import SLOTS, CaptureOrder
from edgeseg.capture.process import CaptureProcess
from edgeseg.clock import SystemClock
from edgeseg.errors import SourceError, SourceReason
from edgeseg.frames import Frame, FrameTime
from edgeseg.sources.open import open_source
from edgeseg.stages.preprocess import Preprocess
from tests.conftest import ROOT, write_clip
from tests.support.http_fixtures import mute_server
from tests.support.rtsp_fixtures import RtspServer

WITHIN_S = 90.0
_OF_PROCESS = ("seq", "stall_after_s", "first_picture_within_s")
CLOCK = SystemClock()
SQUASH = Preprocess("stretch", (64, 48))


def capture_of(source: Path | str, rate_fps: float = 10.0, **options: object) -> CaptureProcess:
    """With patience for a busy machine where a test names none of its own."""
    preprocess = options.pop("preprocess", SQUASH)
    options = {"first_picture_within_s": 80.0, "stall_after_s": 60.0, "open_timeout_s": 30.0, **options}
    of_process = {key: options.pop(key) for key in _OF_PROCESS if key in options}
    order = CaptureOrder(str(source), "SHOWN", preprocess, rate_fps, **options)  # type: ignore[arg-type]
    return CaptureProcess("yard", order, **of_process)  # type: ignore[arg-type]


def frame_times(events: list[CaptureEvent]) -> list[FrameTime]:
    return [event.time for event in events if isinstance(event, NewFrame)]


def next_frame_time(capture: CaptureProcess) -> FrameTime:
    until_s = CLOCK.monotonic_s() + WITHIN_S
    while CLOCK.monotonic_s() < until_s:
        for time in frame_times(capture.receive(0.5)):
            return time
    raise AssertionError(f"no frame within {WITHIN_S} s")


def receive_until(capture: CaptureProcess, done: Callable[[], bool]) -> None:
    until_s = CLOCK.monotonic_s() + WITHIN_S
    while not done():
        assert CLOCK.monotonic_s() < until_s, f"did not happen within {WITHIN_S} s"
        capture.receive(0.2)


def failure(
    capture: CaptureProcess,
    frames: list[FrameTime] | None = None,
    clips: list[ClipReady] | None = None,
) -> SourceError:
    """Receive until it fails, and collect the frames and clips on the way."""
    until_s = CLOCK.monotonic_s() + WITHIN_S
    while CLOCK.monotonic_s() < until_s:
        try:
            events = capture.receive(0.2)
        except SourceError as error:
            return error
        if frames is not None:
            frames.extend(frame_times(events))
        if clips is not None:
            clips.extend(event for event in events if isinstance(event, ClipReady))
    raise AssertionError(f"no failure within {WITHIN_S} s")


def reason(capture: CaptureProcess) -> SourceReason:
    return failure(capture).reason


def taken(capture: CaptureProcess) -> tuple[Frame, np.ndarray]:
    """The newest frame and a copy of its views; its own are gone by then."""
    with capture.take() as frame:
        assert frame is not None
        return replace(frame, views=np.empty((0, 0, 0, 3), np.uint8)), frame.views.copy()


def test_frames_are_those_of_the_clip_placed_into_shared_memory(tiny_clip: Path) -> None:
    with open_source(str(tiny_clip)) as source:
        expected = {picture.time.pts_s: SQUASH(picture)[1] for picture in source}
    with capture_of(tiny_clip, seq=count(7)) as capture:
        for number in range(4):
            time = next_frame_time(capture)
            with capture.take() as frame:
                assert frame is not None
                assert (frame.camera, frame.seq, frame.time) == ("yard", 7 + number, time)
                assert frame.views.shape == (1, 48, 64, 3)
                assert not frame.views.flags.writeable
                assert not frame.views.flags.owndata
                assert np.array_equal(frame.views, expected[time.pts_s])
        assert capture.picture_size_px == (64, 48)


def test_a_frame_is_taken_once(tiny_clip: Path) -> None:
    with capture_of(tiny_clip) as capture:
        next_frame_time(capture)
        with capture.take() as first, capture.take() as second:
            assert first is not None
            assert second is None


def test_a_clip_stands_for_a_camera(tiny_clip: Path) -> None:
    """Paced by its timestamps, stamped on arrival, and over when it is over."""
    before_s, before_utc_s = CLOCK.monotonic_s(), CLOCK.utc_s()
    times: list[FrameTime] = []
    with capture_of(tiny_clip) as capture:
        error = failure(capture, times)
        assert (error.reason, str(error)) == ("ended", "SHOWN: the clip has ended")
        # It stays so.
        assert reason(capture) == "ended"
    took_s = CLOCK.monotonic_s() - before_s
    assert len(times) == 30
    assert times[-1].camera_time_s - times[0].camera_time_s <= took_s
    assert times[0].captured_at_s >= before_utc_s
    # No picture before its time. A busy machine may hold any of them up, the first one too.
    for time in times:
        assert time.pts_s is not None
        assert time.camera_time_s - before_s >= time.pts_s


def test_without_realtime_a_clip_keeps_its_own_times(tiny_clip: Path) -> None:
    with capture_of(tiny_clip, realtime=False) as capture:
        assert next_frame_time(capture).camera_time_s == 0.0


def test_the_newest_frame_wins_and_drops_are_counted(tiny_clip: Path) -> None:
    with RtspServer(tiny_clip, fps=25) as server, capture_of(server.url, rate_fps=25) as capture:
        received = [next_frame_time(capture) for _ in range(8)]
        frame, _ = taken(capture)
        assert frame.time == received[-1]
        assert frame.seq == 0
        assert dict(capture.dropped) == {"superseded": 7}
        # While a frame is held, others come and go; the held one stays as it was.
        next_frame_time(capture)
        with capture.take() as held:
            assert held is not None
            before = held.views.copy()
            for _ in range(12):
                next_frame_time(capture)
            assert np.array_equal(held.views, before)
        assert capture.dropped["superseded"] >= 18
        assert taken(capture)[0].seq == 2


def test_another_input_size_takes_effect_without_a_new_process(tiny_clip: Path) -> None:
    small = Preprocess("letterbox", (32, 16))
    with RtspServer(tiny_clip, fps=25) as server, capture_of(server.url, rate_fps=25) as capture:
        next_frame_time(capture)
        pid = capture.pid
        with capture.take() as held:
            assert held is not None
            assert held.views.shape == (1, 48, 64, 3)
            before = held.views.copy()
            capture.set_preprocess(small)
            sizes = []
            while not sizes or sizes[-1] != (1, 16, 32, 3):
                next_frame_time(capture)
                with capture.take() as frame:
                    assert frame is not None
                    sizes.append(frame.views.shape)
                    assert (frame.fit.input_width_px, frame.fit.input_height_px) == frame.views.shape[2:0:-1]
            # What is held under the old size stays as it was, and goes back without harm.
            assert np.array_equal(held.views, before)
        capture.set_preprocess(SQUASH)
        while sizes[-1] != (1, 48, 64, 3):
            next_frame_time(capture)
            sizes.append(taken(capture)[1].shape)
        assert capture.pid == pid


def test_frames_that_nobody_gives_back_are_counted(tiny_clip: Path) -> None:
    """The process keeps reading when it has nowhere to put a frame, and tells what it had to drop."""
    with RtspServer(tiny_clip, fps=25) as server, capture_of(server.url, rate_fps=25) as capture:
        with ExitStack() as hoard:
            for _ in range(SLOTS):
                next_frame_time(capture)
                assert hoard.enter_context(capture.take()) is not None
            receive_until(capture, lambda: "no_slot" in capture.dropped)
        next_frame_time(capture)
        taken(capture)
        receive_until(capture, lambda: capture.source_fps is not None)
        assert 10 < (capture.source_fps or 0) < 40


def test_the_rate_is_kept_and_can_be_changed(tiny_clip: Path) -> None:
    with (
        RtspServer(tiny_clip, fps=25) as server,
        capture_of(server.url, rate_fps=4, read_timeout_s=20.0) as capture,
    ):
        times = [next_frame_time(capture).camera_time_s for _ in range(5)]
        assert np.median(np.diff(times)) == pytest.approx(0.25, abs=0.08)
        capture.set_rate(20)
        times = [next_frame_time(capture).camera_time_s for _ in range(20)]
        assert np.median(np.diff(times)) < 0.15


def test_a_low_rate_is_not_taken_for_a_stall(tiny_clip: Path) -> None:
    """The source delivers, only nothing is due: that is no timeout."""
    with RtspServer(tiny_clip, fps=25) as server:
        capture = capture_of(server.url, rate_fps=0.5, stall_after_s=1.5)
        with capture:
            first_s = next_frame_time(capture).camera_time_s
            assert next_frame_time(capture).camera_time_s - first_s > 1.8


def test_a_switch_of_resolution_brings_new_memory(tiny_clip: Path, tmp_path: Path) -> None:
    wide = write_clip(tmp_path / "wide.mp4", width=320, height=64)
    tiles = Preprocess("tiles", (48, 48))
    with (
        RtspServer(tiny_clip, wide, fps=25) as server,
        capture_of(server.url, rate_fps=25, preprocess=tiles) as capture,
    ):
        next_frame_time(capture)
        with capture.take() as held:
            assert held is not None
            assert len(held.fit.views) == 2
            before = held.views.copy()
            server.switch(1)
            receive_until(capture, lambda: capture.picture_size_px == (320, 64))
            next_frame_time(capture)
            frame, views = taken(capture)
            assert frame.fit.picture_width_px == 320
            assert views.shape == (len(frame.fit.views), 48, 48, 3)
            assert len(frame.fit.views) > 2
            # The old memory is still there for who holds it.
            assert np.array_equal(held.views, before)
        server.switch(0)
        receive_until(capture, lambda: capture.picture_size_px == (64, 48))


def test_failures_cross_with_their_reason(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with capture_of(tmp_path / "none.mp4") as capture:
        assert reason(capture) == "not_found"
    with mute_server() as port:
        url = f"rtsp://me:hunter2@127.0.0.1:{port}/s"
        with capture_of(url, open_timeout_s=1.0) as capture:
            error = failure(capture)
            assert (error.reason, "SHOWN" in str(error)) == ("timeout", True)
            assert "hunter2" not in "".join(traceback.format_exception(error)) + repr(error)
            assert "hunter2" not in repr(vars(capture))
    written = capfd.readouterr()
    assert written.out + written.err == ""


def test_a_source_that_hangs_for_good_is_given_up(tiny_clip: Path) -> None:
    """Even with libav's own timeouts out of reach the daemon's patience ends."""
    with (
        mute_server() as port,
        capture_of(f"rtsp://127.0.0.1:{port}/s", open_timeout_s=600.0, first_picture_within_s=1.0) as capture,
    ):
        began_s = CLOCK.monotonic_s()
        assert reason(capture) == "timeout"
        assert CLOCK.monotonic_s() - began_s < 30.0
        pid = capture.pid
        capture.kill()
        assert pid is not None
        assert not alive(pid)


def test_a_frozen_camera_is_noticed_in_time(tiny_clip: Path) -> None:
    with (
        RtspServer(tiny_clip, fps=25) as server,
        capture_of(server.url, stall_after_s=2.0, read_timeout_s=60.0) as capture,
    ):
        next_frame_time(capture)
        server.freeze()
        began_s = CLOCK.monotonic_s()
        error = failure(capture)
        assert (error.reason, str(error)) == ("timeout", "SHOWN: no picture for 2 s")
        assert CLOCK.monotonic_s() - began_s < 30.0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV])
def test_a_process_that_dies_is_a_crash(tiny_clip: Path, number: signal.Signals) -> None:
    with capture_of(tiny_clip) as capture:
        next_frame_time(capture)
        held_open = capture.take()
        with held_open as frame:
            assert frame is not None
            assert capture.pid is not None
            os.kill(capture.pid, number)
            error = failure(capture)
            assert error.reason == "crashed"
            assert f"signal {number.value}" in str(error)
            # What was handed over outlives the process that made it.
            assert frame.views.sum() > 0
        capture.set_rate(3)


def test_a_stopped_process_can_still_be_killed(tiny_clip: Path) -> None:
    capture = capture_of(tiny_clip, stall_after_s=2.0)
    capture.start()
    next_frame_time(capture)
    assert capture.pid is not None
    pid = capture.pid
    os.kill(pid, signal.SIGSTOP)
    assert reason(capture) == "timeout"
    capture.close()
    assert not alive(pid)
    with capture.take() as frame:
        assert frame is None
    capture.close()


def test_interrupts_are_the_daemons_business(tiny_clip: Path) -> None:
    with capture_of(tiny_clip) as capture:
        next_frame_time(capture)
        assert capture.pid is not None
        os.kill(capture.pid, signal.SIGINT)
        for _ in range(5):
            next_frame_time(capture)


def test_the_hostile_clip_hurts_nobody(data_dir: Path) -> None:
    """OpenCV's decoder dies of it (-6); whatever becomes of ours, the daemon gets frames or a reason."""
    clip = data_dir / "hostile" / "heap_corrupting.avi"
    with capture_of(clip, rate_fps=15, realtime=False) as capture:
        assert reason(capture) in ("ended", "crashed")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


# Shared memory and semaphores of multiprocessing, and what would bear our name.
OURS = ("psm_", "sem.", "edgeseg")


def resources() -> tuple[int, list[str], int]:
    """Descriptors, names of ours in /dev/shm (other programs have some too), threads."""
    return (
        len(list(Path("/proc/self/fd").iterdir())),
        sorted(path.name for path in Path("/dev/shm").iterdir() if path.name.startswith(OURS)),
        threading.active_count(),
    )


@pytest.mark.alone
@pytest.mark.parametrize("kill", [True, False], ids=["killed", "closed"])
def test_ten_lives_leave_nothing_behind(tiny_clip: Path, kill: bool) -> None:
    with capture_of(tiny_clip) as start_fork_server:
        next_frame_time(start_fork_server)
    gc.collect()
    before, pids = resources(), []
    for _ in range(10):
        capture = capture_of(tiny_clip)
        capture.start()
        next_frame_time(capture)
        assert capture.pid is not None
        pids.append(capture.pid)
        taken(capture)
        if kill:
            capture.kill()
        capture.close()
    gc.collect()
    assert resources() == before
    assert not [pid for pid in pids if alive(pid)]


DAEMON = """
import sys
from edgeseg.stages.preprocess import Preprocess
from edgeseg.capture.messages import SLOTS, CaptureOrder
from edgeseg.capture.process import CaptureProcess

if __name__ == "__main__":
    order = CaptureOrder(sys.argv[1], "SHOWN", Preprocess("stretch", (64, 48)), 10)
    capture = CaptureProcess("yard", order)
    capture.start()
    while not capture.receive(1.0):
        pass
    print(capture.pid, flush=True)
    if sys.argv[2] == "wait":
        sys.stdin.read()
    elif sys.argv[2] == "close":
        capture.close()
"""


def run_daemon(folder: Path, source: str, then: str) -> subprocess.Popen[str]:
    script = folder / "daemon.py"
    script.write_text(DAEMON)
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(script), source, then],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_a_killed_daemon_takes_its_cameras_with_it(tiny_clip: Path, tmp_path: Path) -> None:
    """Even one whose camera process is stuck where it can notice nothing."""
    with RtspServer(tiny_clip) as server, run_daemon(tmp_path, server.url, "wait") as daemon:
        assert daemon.stdout is not None
        pid = int(daemon.stdout.readline())
        server.freeze()
        daemon.kill()
        until_s = CLOCK.monotonic_s() + 10
        while alive(pid):
            assert CLOCK.monotonic_s() < until_s, "the camera process outlived its daemon by 10 s"
            threading.Event().wait(0.05)


@pytest.mark.parametrize("then", ["close", "forget"])
def test_a_daemon_that_ends_is_quiet_about_it(tiny_clip: Path, tmp_path: Path, then: str) -> None:
    """No complaints of multiprocessing's resource tracker, not even when nobody closed the camera."""
    with run_daemon(tmp_path, str(tiny_clip), then) as daemon:
        out, err = daemon.communicate(timeout=280)
        assert daemon.returncode == 0
    assert err == ""
    assert not alive(int(out))


def test_many_cameras_at_once(tiny_clip: Path) -> None:
    """Started and read by a thread each, as the daemon does."""
    got: list[list[float]] = [[] for _ in range(4)]

    def watch(index: int) -> None:
        with capture_of(tiny_clip) as capture:
            got[index] = [next_frame_time(capture).camera_time_s for _ in range(5)]

    threads = [threading.Thread(target=watch, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(len(times) == 5 for times in got)
    assert all(one < two for times in got for one, two in pairwise(times))
