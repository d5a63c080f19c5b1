"""Looking at a camera for a few seconds: a real RTSP server, a clip, nobody there."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edgeseg.capture.probe import SourceFacts, probe
from edgeseg.clock import SystemClock
from edgeseg.errors import SourceError
from edgeseg.stages.preprocess import Preprocess
from tests.support.broker import free_port
from tests.support.rtsp_fixtures import RtspServer

SMALL = Preprocess("stretch", (64, 48))


def facts_of(url: str, watch_s: float = 4.5) -> SourceFacts:
    return probe(url, "shown", SMALL, SystemClock(), threading.Event(), watch_s=watch_s)


def test_a_clip_that_is_shorter_than_the_look(tiny_clip: Path) -> None:
    facts = facts_of(str(tiny_clip), watch_s=60)
    assert (facts.width_px, facts.height_px, facts.codec) == (64, 48, "h264")


@pytest.mark.parametrize(("path", "reason"), [("/elsewhere", "not_found"), ("/stream", "auth")])
def test_a_camera_that_refuses(path: str, reason: str, tiny_clip: Path) -> None:
    password = "right" if reason == "not_found" else "secret-wrong"
    with RtspServer(tiny_clip, user="viewer", password="right") as server:
        url = server.url_with("viewer", password, path=path)
        with pytest.raises(SourceError) as caught:
            facts_of(url)
    assert caught.value.reason == reason
    assert "secret" not in str(caught.value)


def test_nobody_there() -> None:
    with pytest.raises(SourceError) as caught:
        facts_of(f"rtsp://127.0.0.1:{free_port()}/stream")
    assert caught.value.reason == "refused"


def test_stopped_at_once(tiny_clip: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(SourceError, match="before the first picture"):
        probe(str(tiny_clip), "clip", SMALL, SystemClock(), stop)
