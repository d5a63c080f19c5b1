"""A web server that nobody watches costs next to nothing: below 1 % of what a frame costs anyway."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import numpy as np
import pytest

from edgeseg.clock import SystemClock, cpu_s
from edgeseg.events import ZoneOccupancy
from edgeseg.frames import Frame, FrameTime, LabelMap
from edgeseg.observers import StageName
from edgeseg.publish.jsonl import JsonLinesPublisher
from edgeseg.publish.topics import Topics
from edgeseg.settings import PipelineSettings, WebSettings
from edgeseg.stages.preprocess import make_fit
from edgeseg.state.node_state import NodeState
from edgeseg.web.site import Site
from tests.support.broker import free_port

_FRAMES, _ZONES = 2000, 4
_STAGES: tuple[StageName, ...] = ("infer", "postprocess", "zones", "rules")
# The cheapest network that travels along takes 20 ms of a fast core. Here it is 40 us; five times that leaves
# room for slower machines, whose networks are slower too.
_MOST_S = 0.0002
_MOST_STANDING_BY = 0.002


@pytest.mark.alone
def test_unwatched(tmp_path: Path) -> None:
    clock = SystemClock()
    settings = PipelineSettings(
        file=str(tmp_path / "f.yaml"), digest="", node="n", mqtt=None, groups={}, cameras=()
    )
    publisher = JsonLinesPublisher(Topics("edgeseg", "n", boot="b", clock=clock), io.StringIO())
    fit = make_fit("stretch", (1280, 720), (512, 288))
    frame = Frame("yard", 1, np.zeros((1, 288, 512, 3), np.uint8), fit, FrameTime(0.0, 0.0))
    label_map = LabelMap(np.zeros((1, 72, 128), np.uint8), None, fit)
    coverage = {"road": 0.5, "car": 0.3, "pedestrian": 0.1, "sky": 0.1}
    web = WebSettings("127.0.0.1", free_port(), None)
    with (
        NodeState(tmp_path / "state", clock) as state,
        Site(web, settings, publisher, print, print, state, clock, "b") as site,
    ):
        before_s = cpu_s()
        threading.Event().wait(2.0)
        assert (cpu_s() - before_s) / 2.0 < _MOST_STANDING_BY
        before_s = cpu_s()
        for number in range(_FRAMES):
            time = FrameTime(clock.monotonic_s(), clock.utc_s())
            lap = site.metrics.start_timer("yard", time.camera_time_s)
            for stage in _STAGES:
                lap(stage)
            for zone in range(_ZONES):
                seen = ZoneOccupancy(
                    "yard", f"z{zone}", number, time, "ok", None, coverage, 0.0, "road", 0.9, "m"
                )
                for one in site.publishers:
                    one.send(seen)
            lap("publish")
            site.pictures.on_frame(frame, label_map, ())
        assert (cpu_s() - before_s) / _FRAMES < _MOST_S
