"""What camera processes say is data, whoever speaks."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseg.capture.messages import CaptureCounts, Failed, FrameReady, FromCamera, Heartbeat, SlotLayout
from edgeseg.capture.wire_format import MAX_MESSAGE_BYTES, WireError, decode, encode
from edgeseg.errors import SourceError
from edgeseg.frames import FrameTime
from edgeseg.stages.preprocess import Preprocess

TALLY = CaptureCounts(decoded=7, corrupt_packets=1, no_slot=0, source_fps=None, gated=2)
TILES = Preprocess("tiles", (64, 48)).fit_for((1920, 1080))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    "message", [SlotLayout(3, TILES), Heartbeat(TALLY)], ids=lambda message: type(message).__name__
)
def test_messages_arrive_as_they_were(message: FromCamera) -> None:
    arrived = decode(encode(message))
    assert arrived == message
    assert type(arrived) is type(message)
    assert len(encode(message)) < MAX_MESSAGE_BYTES


@given(NUMBERS, NUMBERS, st.none() | NUMBERS, st.integers(0, 2**40))
def test_times_arrive_to_the_last_bit(camera: float, utc: float, pts: float | None, decoded: int) -> None:
    message = FrameReady(9, 1, 2, FrameTime(camera, utc, pts, None), CaptureCounts(decoded, 0, 0, 25.0, 0))
    assert decode(encode(message)) == message


def test_a_fit_that_arrived_is_still_a_cache_key() -> None:
    arrived = decode(encode(SlotLayout(1, TILES)))
    assert isinstance(arrived, SlotLayout)
    assert hash(arrived.fit) == hash(TILES)


def test_failures_keep_their_reason() -> None:
    arrived = decode(encode(Failed(SourceError("auth", "yard: refused"))))
    assert isinstance(arrived, Failed)
    assert (arrived.error.reason, str(arrived.error)) == ("auth", "yard: refused")


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    data = pickle.dumps(Bomb(tmp_path / "loaded"))
    with pytest.raises(WireError):
        decode(data)
    assert not (tmp_path / "loaded").exists()


def alive(decoded: bytes, source_fps: bytes) -> bytes:
    counts = b'"decoded": %b, "corrupt_packets": 0, "no_slot": 0, "gated": 0, "source_fps": %b'
    return b'["Heartbeat", {"counts": {' + counts % (decoded, source_fps) + b"}}]"


def test_the_nonsense_below_is_nearly_sense() -> None:
    assert decode(alive(b"7", b"25.0")) == Heartbeat(CaptureCounts(7, 0, 0, 25.0, 0))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'["Heartbeat"]',
        b'["Heartbeat", {}]',
        b'["SetRate", {"rate_fps": 5}]',
        b'[["Heartbeat"], {}]',
        b'["Failed", {"reason": "no such reason", "message": ""}]',
        alive(b'"many"', b"null"),
        alive(b"1", b"NaN"),
        alive(b"1", b"1e999"),
        b"[" * 100_000,
        b"9" * 10_000,
        "\N{SNOWMAN}".encode("utf-16"),
    ],
    ids=range(14),
)
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        decode(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        decode(data)
    except WireError:
        return
