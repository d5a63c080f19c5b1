"""Pictures that cannot be measured: noticed, named, held back, and told until they are well again.

`edgeseg health` measures every fault on every clip; here are a few on one real clip.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.capture.events import NewFrame, UnusablePicture
from edgeseg.capture.messages import CaptureOrder
from edgeseg.capture.process import CaptureProcess
from edgeseg.clock import ManualClock, SystemClock
from edgeseg.engines.base import Engine
from edgeseg.errors import SourceError
from edgeseg.events import CameraStatus, RuleState, ZoneOccupancy
from edgeseg.frames import FrameTime, Picture, PictureHealth, Transform
from edgeseg.geometry.view_registration import (
    moved_points,
    moved_zones,
    register,
    share_in_picture,
    transform_of,
)
from edgeseg.publish.payloads import CameraStatusPayload
from edgeseg.runtime.camera import Camera
from edgeseg.screening.health.drift import ReferenceView
from edgeseg.screening.health.monitor import HealthMonitor, HealthMonitorSettings
from edgeseg.screening.health.reference_store import decode, encode
from edgeseg.settings import HealthSettings, ZoneSettings
from edgeseg.stages.confidence_gate import ConfidenceGate
from edgeseg.stages.preprocess import Preprocess
from edgeseg.state.node_state import NodeState
from edgeseg.state.reference_views import CameraViews
from edgeseg.tools.bench import health_latency
from edgeseg.tools.bench.picture_faults import FAULTS
from tests.conftest import TESTS
from tests.runtime.test_camera import Stage, engine, model_folder  # noqa: F401

CLIP = "one-by-one-person-detection.mp4"
ZONE = ZoneSettings("table", "Table", (((0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7)),), (), 0.0, ())
SHIFTED = transform_of(np.array([[1.0, 0.0, 32.0], [0.0, 1.0, 0.0]]), (180, 320))
OF = {fault.name: fault for fault in FAULTS}


@pytest.fixture(scope="module")
def pictures(data_dir: Path) -> list[Picture]:
    """28 s of a real room, 5 a second."""
    return list(health_latency._pictures(data_dir / "video" / CLIP, 28.0))


@pytest.mark.parametrize(
    ("name", "told_within_s"),
    [
        ("fade to dark, 3 s", 6.0),
        ("fade to white, 3 s", 6.0),
        ("blur of 0.8 %", 3.0),
        ("covered to 60 %", 3.0),
        ("turned by 3 degrees", 6.0),
        ("frozen, coded again (CRF 23)", 30.0),
    ],
)
def test_faults_are_noticed_and_rightly_named(
    pictures: list[Picture], name: str, told_within_s: float
) -> None:
    trial = health_latency._try(OF[name], CLIP, pictures)
    assert trial.told == trial.expected
    assert trial.told_s is not None
    assert trial.told_s <= told_within_s
    if OF[name].warp is not None:
        assert trial.error is not None
        assert trial.error < 0.01


def test_nothing_is_noticed_where_nothing_is_wrong(data_dir: Path) -> None:
    (watched,) = health_latency.false_alarms([data_dir / "video" / "car-detection.mp4"], [""])
    assert (watched.alarms, watched.doubtful_s) == ((), 0.0)
    assert health_latency.upper_bound_per_hour(0, 1.0) == pytest.approx(3.0, abs=0.01)
    assert health_latency.upper_bound_per_hour(2, 2.0) == pytest.approx(6.3 / 2, abs=0.01)


def spoilt(pictures: Sequence[Picture], name: str, since_s: float, until_s: float) -> Iterator[Picture]:
    fault = OF[name].spoil
    assert fault is not None
    for picture in pictures:
        time_s = picture.time.camera_time_s
        yield fault(picture, time_s - since_s) if since_s <= time_s < until_s else picture


def test_it_is_in_doubt_at_once_and_well_again_after_a_while(pictures: list[Picture]) -> None:
    health = HealthMonitor(HealthMonitorSettings(HealthSettings(), (ZONE,)))
    heard = []
    for picture in spoilt(pictures, "covered", 12.0, 18.0):
        health.update(picture, picture.time.camera_time_s)
        now = (health.health.state, health.suspect)
        if not heard or heard[-1][1] != now:
            heard.append((round(picture.time.camera_time_s, 1), now))
    assert heard == [
        (0.0, (None, False)),
        (12.0, (None, True)),
        (14.0, ("covered", True)),
        (21.0, (None, False)),
    ]


def test_a_clip_in_a_loop_is_not_frozen(pictures: list[Picture]) -> None:
    health = HealthMonitor(HealthMonitorSettings(HealthSettings(tolerance=None), ()))
    for number in range(300):
        time_s = number * 0.2
        health.update(replace(pictures[number % 40], time=FrameTime(time_s, time_s)), time_s)
        assert health.health.state is None, time_s


def test_each_check_can_be_switched_off(pictures: list[Picture]) -> None:
    off = HealthSettings(None, dark=False, blown_out=False, blurred=False, covered=False, tolerance=None)
    for name in ("fade to dark, 3 s", "fade to white, 3 s", "blur of 2 %", "covered", "turned by 8 degrees"):
        health = HealthMonitor(HealthMonitorSettings(off, ()))
        for picture in spoilt(pictures[::3], name, 12.0, 28.0):
            health.update(picture, picture.time.camera_time_s)
            assert not health.suspect, name


def test_zones_follow_a_nudge_to_within_one_percent_of_the_width(pictures: list[Picture]) -> None:
    health = HealthMonitor(HealthMonitorSettings(HealthSettings(follow=True), (ZONE,)))
    for picture in spoilt(pictures, "shifted by 12 %", 12.0, 30.0):
        health.update(picture, picture.time.camera_time_s)
    truth = OF["shifted by 12 %"].truth((432, 768))
    assert truth is not None
    assert (health.health.state, health.suspect) == (None, False)
    there, should = np.array(health.zones[0].include[0]), np.array(moved_points(ZONE.include[0], truth))
    apart = (there - should) * (1.0, 432 / 768)
    assert np.hypot(apart[:, 0], apart[:, 1]).max() < 0.01
    # The next process begins there.
    learned = [view for view in (health.take_learned_view(), health.take_learned_view()) if view is not None]
    later = HealthMonitor(HealthMonitorSettings(HealthSettings(follow=True), (ZONE,), (learned[-1],)))
    for picture in spoilt(pictures[:30], "shifted by 12 %", 0.0, 30.0):
        later.update(picture, picture.time.camera_time_s)
    assert (later.health, later.zones) == (health.health, health.zones)
    # What would leave the picture is not followed.
    edge = replace(ZONE, include=(((0.9, 0.0), (1.0, 0.0), (1.0, 1.0), (0.9, 1.0)),))
    staying = HealthMonitor(HealthMonitorSettings(HealthSettings(follow=True), (edge,)))
    for picture in spoilt(pictures, "shifted by 12 %", 12.0, 30.0):
        staying.update(picture, picture.time.camera_time_s)
    assert staying.health.state == "moved"
    assert staying.zones == (edge,)


def test_the_reference_view_outlives_the_connection(pictures: list[Picture]) -> None:
    first = HealthMonitor(HealthMonitorSettings(HealthSettings(), (ZONE,)))
    for picture in pictures[:80]:
        first.update(picture, picture.time.camera_time_s)
    learned = first.take_learned_view()
    assert learned is not None
    assert first.take_learned_view() is None
    with NodeState(None, ManualClock()) as state:
        CameraViews(state, "room").keep(encode(learned, (ZONE,)), grey=learned.grey)
        (text,) = CameraViews(state, "room").stored()
        assert CameraViews(state, "yard").stored() == []
        state.forget("room")
        assert CameraViews(state, "room").stored() == []
    kept = decode(text, (ZONE,))
    assert kept == replace(learned, moved=tuple(learned.moved), followed=tuple(learned.followed))
    # Zones that were drawn anew were drawn on another view.
    assert decode(text, (replace(ZONE, include=(((0, 0), (1, 0), (1, 1)),)),)) is None
    assert decode('{"zones": 1}', (ZONE,)) is None
    # Nudged while nobody watched.
    second = HealthMonitor(HealthMonitorSettings(HealthSettings(), (ZONE,), (kept,)))
    for picture in spoilt(pictures[:80], "shifted by 12 %", 0.0, 28.0):
        second.update(picture, picture.time.camera_time_s)
    assert second.health.state == "moved"
    assert second.health.transform is not None
    assert second.health.transform.right == pytest.approx(0.12, abs=0.01)


def test_a_stored_view_that_is_no_picture_is_learned_anew(pictures: list[Picture]) -> None:
    health = HealthMonitor(
        HealthMonitorSettings(HealthSettings(), (ZONE,), (ReferenceView("bm8gcGljdHVyZQ==", False),))
    )
    for picture in pictures[:80]:
        health.update(picture, picture.time.camera_time_s)
    assert health.health == PictureHealth()
    assert health.take_learned_view() is not None


def test_registration_says_what_it_cannot_compare() -> None:
    plain = np.full((180, 320), 90, np.uint8)
    assert register(plain, plain) is None
    assert register(plain, plain[:90]) is None


def test_polygons_go_along_and_know_what_left_the_picture() -> None:
    (moved,) = moved_zones([ZONE], SHIFTED)
    assert moved.include[0][0] == pytest.approx((0.4, 0.3))
    assert share_in_picture(moved) == pytest.approx(1.0)
    (half,) = moved_zones([ZONE], transform_of(np.array([[1.0, 0.0, 160.0], [0.0, 1.0, 0.0]]), (180, 320)))
    assert share_in_picture(half) == pytest.approx(0.5)
    assert moved_zones([ZONE], None) == (ZONE,)


def test_no_zone_tells_a_number_while_the_picture_is_unusable(stage: Stage) -> None:
    stage.camera.connecting()
    stage.show()
    assert stage.published.of(ZoneOccupancy)[-1].state == "ok"
    stage.clock.advance(0.2)
    stage.camera.judged(PictureHealth("covered", "most of it is hidden"))
    seen = len(stage.published.of(ZoneOccupancy))
    # A frame from before is still under way; another thread says that nothing moved.
    stage.show()
    stage.camera.still(FrameTime(stage.clock.monotonic_s(), stage.clock.utc_s()))
    since = stage.published.of(ZoneOccupancy)[seen - 1 :]
    assert [(one.state, one.reason, one.coverage) for one in since] == [("unknown", "covered", None)]
    assert stage.states[-1] == ("covered", "most of it is hidden")
    stage.camera.judged(PictureHealth())
    stage.clock.advance(0.2)
    stage.show()
    assert stage.states[-1] == ("live", None)
    assert stage.published.of(ZoneOccupancy)[-1].state == "ok"


def test_a_rule_raises_where_that_was_asked_for(model_folder: Path, engine: Engine) -> None:  # noqa: F811
    stage = Stage(model_folder, engine, on_unknown="raise", for_s=5.0)
    stage.camera.connecting()
    stage.show(empty=True)
    stage.camera.judged(PictureHealth("frozen", "only repeated pictures for 15 s"))
    for _ in range(7):
        stage.clock.advance(1.0)
        stage.camera.received(FrameTime(stage.clock.monotonic_s(), stage.clock.utc_s()))
        stage.camera.tick()
    assert stage.published.of(RuleState)[-1].state == "ON"
    assert stage.states[-1][0] == "frozen"


def test_zones_are_measured_where_the_view_went(stage: Stage) -> None:
    right = replace(ZONE, include=(((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)),))
    stage = _with_zone(stage, right)
    stage.camera.connecting()
    stage.show()
    before = stage.published.of(ZoneOccupancy)[-1].coverage
    # By half of the picture to the left: then the zone lies on its left half.
    left = Transform((1.0, 0.0, -0.5, 0.0, 1.0, 0.0), -0.5, 0.0, 0.0, 1.0, 0.5)
    stage.camera.judged(PictureHealth(transform=left))
    stage.clock.advance(0.2)
    stage.show()
    after = stage.published.of(ZoneOccupancy)[-1].coverage
    assert before != after
    status = stage.published.of(CameraStatus)[-1]
    assert status.moved == left
    moved = CameraStatusPayload.of(status).moved
    assert moved is not None
    assert moved.right == -0.5
    stage.camera.judged(PictureHealth())
    stage.clock.advance(0.2)
    stage.show()
    again = stage.published.of(ZoneOccupancy)[-1].coverage
    assert {name: again[name] for name in before} == before


def _with_zone(stage: Stage, zone: ZoneSettings) -> Stage:
    from edgeseg.models import registry

    settings = replace(stage.settings, zones=(zone,))
    model = registry.find(settings.model)
    stage.camera = Camera("test", settings, model, {}, stage.published, stage.clock, count(1))
    return stage


@pytest.fixture
def stage(model_folder: Path, engine: Engine) -> Stage:  # noqa: F811
    return Stage(model_folder, engine)


def test_a_camera_process_holds_back_what_is_covered_and_says_so(tmp_path: Path) -> None:
    """A clip of noise that goes dark after a second."""
    clip = _noise_that_goes_dark(tmp_path / "dark.mp4")
    order = HealthMonitorSettings(HealthSettings(), ())
    frames, unusable, reported = [], [], None
    capture_order = CaptureOrder(str(clip), "SHOWN", Preprocess("stretch", (64, 48)), 5, health=order)
    with CaptureProcess("yard", capture_order) as capture:
        until_s = SystemClock().monotonic_s() + 30.0
        while SystemClock().monotonic_s() < until_s:
            try:
                events = capture.receive(0.5)
            except SourceError:
                break
            for event in events:
                if isinstance(event, NewFrame):
                    frames.append(event.time.camera_time_s)
                elif isinstance(event, UnusablePicture):
                    unusable.append(event.time.camera_time_s)
                    reported = capture.health.state or reported
    assert frames
    assert unusable
    assert max(frames) < min(unusable)
    assert reported == "dark"
    assert capture.dropped["unfit"] >= 5


def _noise_that_goes_dark(path: Path) -> Path:
    from edgeseg.drawing.video_writer import VideoWriter

    random = np.random.default_rng(1)
    with VideoWriter(path, 10) as video:
        for number in range(50):
            bright = random.integers(40, 220, (12, 16, 1), np.uint8).repeat(8, 0).repeat(8, 1).repeat(3, 2)
            video.append(bright if number < 10 else np.zeros_like(bright), number / 10)
    return path


def test_a_zone_of_which_little_is_sure_is_unknown_until_more_is() -> None:
    certainty = ConfidenceGate([replace(ZONE, max_uncertain=0.5)])

    def told(uncertain: float) -> tuple[str, str | None]:
        sure = ZoneOccupancy(
            "room",
            "table",
            1,
            FrameTime(1.0, 1.0),
            "ok",
            None,
            {"person": 0.1},
            uncertain,
            "person",
            0.4,
            "m",
        )
        (one,) = certainty.apply([sure])
        assert (one.coverage is None) == (one.state == "unknown")
        return one.state, one.reason

    unknown = ("unknown", "low_confidence")
    assert [told(share) for share in (0.5, 0.51, 0.45, 0.4, 0.45)] == [
        ("ok", None), unknown, unknown, ("ok", None), ("ok", None),
    ]  # fmt: skip


def test_replay_tells_the_same(
    data_dir: Path, pulled_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeseg import config
    from edgeseg.drawing.video_writer import VideoWriter
    from edgeseg.replay.clip import Replay

    monkeypatch.setenv("EDGESEG_CACHE", str(pulled_models))
    clip = tmp_path / "covered.mp4"
    with VideoWriter(clip, 5) as video:
        for picture in spoilt(
            list(health_latency._pictures(data_dir / "video" / CLIP, 19.0)), "covered", 12.0, 30.0
        ):
            _, views = Preprocess("stretch", (picture.width_px, picture.height_px))(picture)
            video.append(views[0], picture.time.camera_time_s)
    settings = config.load(TESTS / "pipelines" / "people.yaml")
    stream = io.StringIO()
    with Replay(settings, replace(settings.cameras[0], rate_fps=1.0), stream) as replay:
        for _ in replay.run(clip, epoch_s=0.0):
            pass
    told: list[Any] = [json.loads(line) for line in stream.getvalue().splitlines()]
    states = [one["payload"] for one in told if one["topic"].endswith("/occupancy")]
    later = [one for one in states if one["captured_at"] >= "1970-01-01T00:00:12"]
    assert states[1]["coverage"] is not None
    assert later
    assert all(one["coverage"] is None for one in later)
    assert "covered" in {one["reason"] for one in later}
