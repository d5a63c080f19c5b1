"""Zones of a camera that is gated: what was analysed once goes on being true while nothing moves, rules see
the time pass, and what is published says when it was analysed."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeseg import config
from edgeseg.engines.base import Engine
from edgeseg.events import RuleState, ZoneOccupancy
from edgeseg.frames import FrameTime
from edgeseg.replay.clip import Replay
from edgeseg.settings import PipelineSettings
from edgeseg.tools.bench import gate_cost
from tests.runtime.test_camera import Stage, engine, model_folder  # noqa: F401
from tests.sources.test_keyframes import clip_of
from tests.support.tiny_models import Convention, write_model


@pytest.fixture
def stage(model_folder: Path, engine: Engine) -> Stage:  # noqa: F811
    return Stage(model_folder, engine, for_s=2.0, clear_s=2.0)


def still(stage: Stage, seconds: float) -> None:
    """Pictures that were only checked, 5 a second, with the daemon's ticks."""
    for number in range(round(seconds * 5)):
        stage.clock.advance(0.2)
        time = FrameTime(stage.clock.monotonic_s(), stage.clock.utc_s())
        stage.camera.received(time)
        stage.camera.still(time)
        if number % 5 == 4:
            stage.camera.tick()


def test_a_rule_fires_on_time_though_its_frames_are_gated(stage: Stage) -> None:
    stage.camera.connecting()
    stage.show()
    still(stage, 1.8)
    assert stage.alerts == []
    still(stage, 0.2)
    assert stage.alerts == [("occupied", "new")]
    stage.clock.advance(0.2)
    stage.show(empty=True)
    still(stage, 2.0)
    assert stage.alerts == [("occupied", "new"), ("occupied", "end")]


def test_still_zones_stay_known_and_say_when_they_were_analysed(stage: Stage) -> None:
    stage.camera.connecting()
    stage.show()
    analysed = stage.published.of(ZoneOccupancy)[-1]
    still(stage, 30)
    assert stage.states == [("connecting", None), ("live", None)]
    held = stage.published.of(ZoneOccupancy)[2:]
    # Once a second, numbered on.
    assert [one.time.camera_time_s - analysed.time.camera_time_s for one in held] == pytest.approx(
        list(range(1, 31))
    )
    assert [one.seq for one in held] == list(range(3, 33))
    assert all(one == replace(analysed, time=one.time, seq=one.seq, analysed=analysed.time) for one in held)
    stage.clock.advance(0.2)
    stage.show()
    assert stage.published.of(ZoneOccupancy)[-1].analysed is None


def test_without_pictures_a_gated_camera_is_stale_and_comes_back_by_a_check(stage: Stage) -> None:
    stage.camera.connecting()
    stage.show()
    still(stage, 3)
    stage.wait(5)
    assert stage.states[-1][0] == "stale"
    assert stage.published.of(RuleState)[-1].state == "unknown"
    still(stage, 1)
    assert stage.states[-1] == ("live", None)
    assert stage.published.of(ZoneOccupancy)[-1].state == "ok"


def test_a_camera_that_was_switched_off_confirms_nothing(stage: Stage) -> None:
    stage.camera.connecting()
    stage.show()
    stage.camera.disabled()
    still(stage, 3)
    assert stage.states[-1] == ("disabled", None)
    assert stage.published.of(ZoneOccupancy)[-1].state == "unknown"


PIPELINE = """\
node: test
model: {model}
cameras:
  yard:
    source: yard.mp4
    rate: 5
    gate: {gate}
    # Its few grey levels are coded so that they stay the same for minutes.
    health: off
    zones:
      right:
        polygon: [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]
        rules:
          seen: {{occupied: [red, green, blue], enter: 5 %, leave: 2 %, for: 2 s, clear: 2 s}}
"""


@pytest.fixture(scope="module")
def a_minute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The square is there for 5 s in 20: a quarter of the time."""
    return clip_of(tmp_path_factory.mktemp("clips") / "minute.mp4", 600, lambda index: index % 200 >= 150)


def settings_of(folder: Path, gate: str) -> PipelineSettings:
    model = folder / "tiny"
    if not model.exists():
        write_model(model, Convention())
    path = folder / "pipeline.yaml"
    path.write_text(PIPELINE.format(model=model, gate=gate))
    return config.load(path)


def transcript(settings: PipelineSettings, clip: Path) -> list[Any]:
    stream = io.StringIO()
    with Replay(settings, settings.cameras[0], stream) as replay:
        for _ in replay.run(clip, epoch_s=0.0):
            pass
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_replay_with_a_gate_publishes_the_same_alerts(tmp_path: Path, a_minute: Path) -> None:
    gated = transcript(settings_of(tmp_path, "{keyframes: off}"), a_minute)
    every = transcript(settings_of(tmp_path, "off"), a_minute)

    def alerts(lines: list[Any]) -> list[tuple[str, str]]:
        return [
            (line["payload"]["event"], line["payload"]["at"])
            for line in lines
            if line["topic"].endswith("alert")
        ]

    assert alerts(gated) == alerts(every)
    assert len(alerts(every)) == 5
    assert gated == transcript(settings_of(tmp_path, "{keyframes: off}"), a_minute)
    occupancies = [line["payload"] for line in gated if line["topic"].endswith("occupancy")]
    held = [one for one in occupancies if one["analysed_at"] not in (None, one["captured_at"])]
    assert len(held) > 20


@pytest.mark.parametrize("gate", ["on", "{keyframes: off}"])
def test_what_the_gate_misses_on_a_clip_that_moves_a_quarter_of_the_time(
    tmp_path: Path, a_minute: Path, gate: str
) -> None:
    settings = settings_of(tmp_path, gate)
    figures = gate_cost.measure(settings, settings.cameras[0], a_minute)
    assert figures.due == 300
    # A quarter of the time, and one in 5 s otherwise.
    assert figures.analysed <= 0.33 * figures.due
    assert (figures.alerts, figures.missed, figures.extra) == (3, 0, 0)
    # Keyframes are 1 s apart: half of `for`.
    assert figures.max_delay_s <= (1.01 if gate == "on" else 0.01)
    assert figures.mean_error < 0.02
    assert figures.max_error < 0.3
