"""Whatever one camera does, its zones become unknown in time, and the other camera goes on."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgeseg.tools.soak.tcp_relay import TcpRelay
from tests.faults.clips import blinking_clip, still_clip
from tests.faults.conftest import Note
from tests.faults.impostor import answering
from tests.faults.lossy_rtsp import LossyRtsp
from tests.faults.pair import BACK_WITHIN_S, GOP_S, NOTICED_WITHIN_S, Pair
from tests.faults.scene import pause
from tests.support.rtsp_fixtures import RtspServer

# From edgeseg/settings.py: for so long only pictures that were there before.
FROZEN_AFTER_S = 15.0

pytestmark = pytest.mark.timeout(300)


@pytest.mark.quick
def test_killed(stack: ExitStack, tmp_path: Path, blink: Path, note: Note) -> None:
    server = stack.enter_context(RtspServer(blink))
    pair = Pair(stack, tmp_path, server.url, blink)
    server.kill()
    noticed_s = pair.scene.until_not_live("faulty", pair.began_s)
    pause(4.0)
    stack.enter_context(RtspServer(blink, port=server.port))
    recovered_s = pair.scene.until_results("faulty", time.monotonic())
    row = pair.row("killed, back after 5 s", noticed_s, recovered_s, pair.reason())
    note(row)
    pair.check(row)
    assert noticed_s < NOTICED_WITHIN_S
    assert recovered_s < BACK_WITHIN_S + GOP_S


def test_away_for_a_minute(stack: ExitStack, tmp_path: Path, blink: Path, note: Note) -> None:
    server = stack.enter_context(RtspServer(blink))
    pair = Pair(stack, tmp_path, server.url, blink)
    server.kill()
    noticed_s = pair.scene.until_not_live("faulty", pair.began_s)
    pause(60.0)
    stack.enter_context(RtspServer(blink, port=server.port))
    recovered_s = pair.scene.until_results("faulty", time.monotonic())
    row = pair.row("killed, back after 1 min", noticed_s, recovered_s, pair.reason())
    note(row)
    pair.check(row)
    assert recovered_s < BACK_WITHIN_S + GOP_S


def test_frozen(stack: ExitStack, tmp_path: Path, blink: Path, note: Note) -> None:
    server = stack.enter_context(RtspServer(blink))
    pair = Pair(stack, tmp_path, server.url, blink)
    server.freeze()
    noticed_s = pair.scene.until_not_live("faulty", pair.began_s)
    pause(8.0)
    server.resume()
    recovered_s = pair.scene.until_results("faulty", time.monotonic())
    row = pair.row("frozen (SIGSTOP) for 12 s", noticed_s, recovered_s, pair.reason())
    note(row)
    pair.check(row)
    assert noticed_s < NOTICED_WITHIN_S
    assert recovered_s < 15.0


def test_the_same_picture_for_ever(stack: ExitStack, tmp_path: Path, blink: Path, note: Note) -> None:
    """As a camera does whose sensor hangs. The square is nearly all that is seen, so `covered` is off."""
    server = stack.enter_context(RtspServer(blink, still_clip(tmp_path / "still.mp4")))
    pair = Pair(stack, tmp_path, server.url, blink, health="{covered: off}")
    server.switch(1)
    at_s = time.monotonic()
    noticed_s = pair.scene.until_not_live("faulty", at_s)
    pause(45.0 - noticed_s)
    server.switch(0)
    recovered_s = pair.scene.until_results("faulty", time.monotonic())
    row = pair.row("the same picture for 45 s", noticed_s, recovered_s, pair.reason())
    note(row)
    pair.check(row)
    assert noticed_s < FROZEN_AFTER_S + 2.0
    assert recovered_s < 5.0


def test_a_tenth_of_its_packets_is_lost(stack: ExitStack, tmp_path: Path, blink: Path, note: Note) -> None:
    noisy = blinking_clip(tmp_path / "noisy.mp4", size=(320, 240), noise=30)
    server = stack.enter_context(RtspServer(noisy))
    relay = stack.enter_context(LossyRtsp(server.port, loss=0.0, seed=5))
    pair = Pair(stack, tmp_path, f"rtsp://127.0.0.1:{relay.port}/stream", blink)
    whole_fps = pair.scene.fps("faulty", 10.0)
    relay.lost = relay.passed = 0
    relay.loss = 0.1
    lossy_fps = pair.scene.fps("faulty", 20.0)
    share = relay.lost / (relay.lost + relay.passed)
    relay.loss = 0.0
    recovered_s = pair.scene.until_results("faulty", time.monotonic())
    what = f"{100 * share:.0f} % lost; {whole_fps:.1f} results a second before, {lossy_fps:.1f} during"
    row = pair.row("10 % of RTP over UDP lost for 20 s", None, recovered_s, f"{what}; {pair.reason()}")
    note(row)
    pair.check(row)
    assert 0.05 < share < 0.15
    assert lossy_fps > 0.5 * whole_fps


@pytest.mark.parametrize("size", [(320, 240), (48, 64)], ids=["larger", "upright"])
def test_another_resolution(
    stack: ExitStack, tmp_path: Path, blink: Path, note: Note, size: tuple[int, int]
) -> None:
    server = stack.enter_context(RtspServer(blink, blinking_clip(tmp_path / "other.mp4", size=size)))
    pair = Pair(stack, tmp_path, server.url, blink)
    server.switch(1)
    at_s = time.monotonic()
    # One that began before the switch may still end the wait; the second cannot.
    recovered_s = pair.scene.until_alert(at_s + 2.0, "faulty") + 2.0
    row = pair.row(f"switches to {size[0]} x {size[1]}", None, recovered_s, f"next alert; {pair.reason()}")
    note(row)
    pair.check(row)
    assert recovered_s < 2.0 + 2.0 + BACK_WITHIN_S + GOP_S


def test_another_codec(stack: ExitStack, tmp_path: Path, blink: Path, note: Note) -> None:
    """As cameras do it: the session ends, and the next DESCRIBE tells of HEVC."""
    hevc = blinking_clip(tmp_path / "hevc.mp4", codec="libx265")
    server = stack.enter_context(RtspServer(blink))
    pair = Pair(stack, tmp_path, server.url, blink)
    server.kill()
    stack.enter_context(RtspServer(hevc, port=server.port))
    at_s = time.monotonic()
    recovered_s = pair.scene.until_results("faulty", at_s)
    alert_s = pair.scene.until_alert(at_s, "faulty")
    row = pair.row("switches from H.264 to HEVC", None, recovered_s, f"alert after {alert_s:.1f} s")
    note(row)
    pair.check(row)
    assert recovered_s < BACK_WITHIN_S + GOP_S


def test_another_password(stack: ExitStack, tmp_path: Path, blink: Path, note: Note) -> None:
    server = stack.enter_context(RtspServer(blink, user="viewer", password="right", digest=True))
    pair = Pair(stack, tmp_path, server.url, blink)
    server.kill()
    changed = stack.enter_context(
        RtspServer(blink, user="viewer", password="another-w0rd", digest=True, port=server.port)
    )
    noticed_s = pair.scene.watcher.first(
        pair.began_s, "/faulty/status", lambda status: status["reason"] == "auth"
    )
    changed.kill()
    stack.enter_context(RtspServer(blink, user="viewer", password="right", digest=True, port=server.port))
    recovered_s = pair.scene.until_results("faulty", time.monotonic(), within_s=90.0)
    row = pair.row("refuses the password, then takes it", noticed_s, recovered_s, pair.reason())
    note(row)
    pair.check(row)
    assert "right" not in pair.scene.daemon.log
    # Many cameras lock an account after some wrong passwords: it is tried once a minute.
    assert recovered_s < 70.0


GARBAGE = random.Random(8).randbytes(4096)


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        ("garbage on its port", GARBAGE),
        ("an RTSP answer that never ends", b"RTSP/1.0 200 OK\r\nX: " + b"y" * 4096),
        ("takes connections and says nothing", None),
    ],
    ids=["garbage", "endless", "mute"],
)
def test_somebody_else_answers(
    stack: ExitStack, tmp_path: Path, blink: Path, note: Note, fault: str, answer: bytes | None
) -> None:
    server = stack.enter_context(RtspServer(blink))
    pair = Pair(stack, tmp_path, server.url, blink)
    server.kill()
    with answering(server.port, answer):
        noticed_s = pair.scene.until_not_live("faulty", pair.began_s)
        pause(10.0)
    stack.enter_context(RtspServer(blink, port=server.port))
    recovered_s = pair.scene.until_results("faulty", time.monotonic(), within_s=90.0)
    row = pair.row(f"{fault} for 10 s", noticed_s, recovered_s, pair.reason())
    note(row)
    pair.check(row)
    assert noticed_s < NOTICED_WITHIN_S


def test_half_open(stack: ExitStack, tmp_path: Path, blink: Path, note: Note) -> None:
    """The connection stands and nothing comes any more; a new one would work."""
    server = stack.enter_context(RtspServer(blink))
    relay = stack.enter_context(TcpRelay(server.port))
    pair = Pair(stack, tmp_path, f"rtsp://127.0.0.1:{relay.port}/stream", blink)
    relay.swallow()
    at_s = time.monotonic()
    noticed_s = pair.scene.until_not_live("faulty", at_s)
    recovered_s = pair.scene.until_results("faulty", at_s + noticed_s)
    row = pair.row("half-open connection", noticed_s, recovered_s, pair.reason())
    note(row)
    pair.check(row)
    assert noticed_s < NOTICED_WITHIN_S
    assert recovered_s < 12.0
