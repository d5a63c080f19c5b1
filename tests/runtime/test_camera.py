"""The life of a camera, on a clock that moves when told to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.clock import ManualClock
from edgeseg.engines import open_engine
from edgeseg.engines.base import Engine
from edgeseg.errors import SourceError
from edgeseg.events import Alert, CameraStatus, CommandAnswer, Degraded, Event, RuleState, ZoneOccupancy
from edgeseg.frames import Frame, FrameTime
from edgeseg.models import registry
from edgeseg.rules import carried_over, unchanged
from edgeseg.rules.serialization import fingerprints
from edgeseg.runtime.camera import Camera
from edgeseg.runtime.camera_memory import RestoredState, restore
from edgeseg.settings import CameraSettings, RuleSettings, SourceUrl, ZoneSettings
from edgeseg.stages.preprocess import make_fit
from edgeseg.state.node_state import CameraStateView, NodeState
from tests.support.tiny_models import Convention, picture, write_model

NOON_S = 1_795_000_000.0
WHOLE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
GONE = SourceError("timeout", "no answer")


class Recorder:
    """A publisher that keeps what it is given."""

    gone = False

    def __init__(self) -> None:
        self.events: list[Event] = []

    def start(self) -> None: ...

    def send(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None: ...

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None: ...

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny", Convention())


@pytest.fixture(scope="module")
def engine(model_folder: Path) -> Iterator[Engine]:
    engine = open_engine(registry.find(str(model_folder)))
    yield engine
    engine.close()


class Stage:
    """A camera, its clock, and what it has published."""

    def __init__(self, model_folder: Path, engine: Engine, **rule: Any) -> None:
        self.clock = ManualClock(utc_s=NOON_S, monotonic_s=1000.0)
        self.published = Recorder()
        self.engine = engine
        terms: dict[str, Any] = {
            "name": "seen", "kind": "occupied", "terms": ("red",), "classes": ("red",), "enter": 0.04,
            "leave": 0.01, "reference": None, "reference_classes": (), "for_s": 0.0, "clear_s": 0.0,
            "cooldown_s": 0.0, "hours": None, "on_unknown": "hold",
        } | rule  # fmt: skip
        zone = ZoneSettings("all", "All", (WHOLE,), (), 0.0, (RuleSettings(**terms),))
        self.settings = CameraSettings(
            "yard", SourceUrl("x", None, "x"), str(model_folder), "auto", None, 5.0, None, 0, (zone,)
        )
        model = registry.find(str(model_folder))
        self.camera = Camera("test", self.settings, model, {}, self.published, self.clock, count(1))

    def started(self, state: NodeState) -> Camera:
        """The same camera in another process, which goes on from what was kept."""
        model = registry.find(self.settings.model)
        prints = fingerprints(self.settings.zones, model.classes)
        camera = Camera(
            "test", self.settings, model, {}, self.published, self.clock, count(1),
            view=CameraStateView(state, "yard"),
            restored=restore(state, "yard", state.memories().get("yard"), prints),
        )  # fmt: skip
        camera.connecting()
        return camera

    def frame(self, *, empty: bool = False) -> Frame:
        view = np.zeros_like(picture()) if empty else picture()
        time = FrameTime(self.clock.monotonic_s(), self.clock.utc_s())
        return Frame("yard", 0, view[None], make_fit("stretch", (64, 48), (64, 48)), time)

    def show(self, *, empty: bool = False) -> None:
        frame = self.frame(empty=empty)
        self.camera.received(frame.time)
        self.camera.analyse(frame, self.engine)

    def wait(self, seconds: float) -> None:
        """Tick once a second, as the daemon does."""
        for _ in range(round(seconds)):
            self.clock.advance(1.0)
            self.camera.tick()

    @property
    def states(self) -> list[tuple[str, str | None]]:
        """Changes of state, with their reasons."""
        seen = [(status.state, status.reason) for status in self.published.of(CameraStatus)]
        return [one for one, before in zip(seen, [None, *seen], strict=False) if one != before]

    @property
    def alerts(self) -> list[tuple[str, str]]:
        return [(alert.kind, alert.event) for alert in self.published.of(Alert)]


@pytest.fixture
def stage(model_folder: Path, engine: Engine) -> Stage:
    return Stage(model_folder, engine)


def test_from_connecting_to_live(stage: Stage) -> None:
    stage.camera.connecting()
    stage.show()
    assert stage.states == [("connecting", None), ("live", None)]
    unknown, known = stage.published.of(ZoneOccupancy)
    assert (unknown.state, unknown.reason, unknown.seq) == ("unknown", "connecting", 1)
    assert (known.state, known.seq) == ("ok", 2)
    assert known.coverage["red"] == pytest.approx(128 / 3072, abs=1e-4)
    assert stage.alerts == [("occupied", "new")]


def test_what_an_earlier_run_left_retained_is_corrected_at_the_start(stage: Stage) -> None:
    stage.camera.connecting()
    answers = {answer.thing: answer.value for answer in stage.published.of(CommandAnswer)}
    assert answers == {"enabled": "ON", "rate": "5"}


def test_a_camera_that_gives_nothing_is_stale_and_its_zones_unknown(stage: Stage) -> None:
    stage.camera.connecting()
    stage.show()
    stage.wait(3)
    assert stage.states[-1] == ("live", None)
    stage.wait(1)
    assert stage.states[-1] == ("stale", "no picture for 3 s")
    assert stage.published.of(ZoneOccupancy)[-1].reason == "stale"
    assert stage.published.of(RuleState)[-1].state == "unknown"
    stage.show()
    assert stage.states[-1] == ("live", None)


def test_slow_analysis_is_not_staleness(stage: Stage) -> None:
    """Pictures keep coming, the device analyses one in 4 s: what it says is late, not false."""
    stage.camera.connecting()
    for _ in range(10):
        for _ in range(4):
            stage.clock.advance(1.0)
            stage.camera.received(stage.frame().time)
            stage.camera.tick()
        stage.show()
    assert stage.states == [("connecting", None), ("live", None)]


def test_a_slow_rate_has_a_longer_patience(stage: Stage) -> None:
    stage.camera.connecting()
    stage.camera.set_rate(0.1)
    stage.show()
    stage.wait(30)
    assert stage.states[-1] == ("live", None)
    stage.wait(1)
    assert stage.states[-1][0] == "stale"


def test_a_busy_camera_still_says_how_it_does(stage: Stage) -> None:
    """Never a free moment for ``tick``: the status goes out every 10 s all the same."""
    stage.camera.connecting()
    for _ in range(60):
        stage.clock.advance(0.5)
        stage.show()
    live = [status for status in stage.published.of(CameraStatus) if status.state == "live"]
    assert len(live) == 3
    assert live[-1].fps == pytest.approx(2.0)


def test_unknown_zones_are_told_once_and_counted_once(stage: Stage) -> None:
    stage.camera.connecting()
    stage.show()
    stage.camera.offline(GONE)
    stage.wait(60)
    stage.show()
    assert [occupancy.seq for occupancy in stage.published.of(ZoneOccupancy)] == [1, 2, 3, 4]


def test_a_camera_that_is_away_raises_one_alert(stage: Stage) -> None:
    stage.camera.connecting()
    stage.show(empty=True)
    stage.camera.offline(GONE)
    stage.wait(40)
    assert stage.alerts == [("camera", "new")]
    for _ in range(30):
        stage.clock.advance(0.5)
        stage.show(empty=True)
    assert stage.alerts == [("camera", "new"), ("camera", "end")]


def test_an_alert_stays_on_while_the_camera_is_away(stage: Stage) -> None:
    stage.camera.connecting()
    stage.show()
    stage.camera.offline(GONE)
    stage.wait(5)
    stage.show()
    assert [alert.event for alert in stage.published.of(Alert) if alert.kind == "occupied"] == ["new"]
    stage.clock.advance(0.2)
    stage.show(empty=True)
    assert stage.alerts[-1] == ("occupied", "end")


def test_raise_on_unknown_counts_the_time_without_pictures(model_folder: Path, engine: Engine) -> None:
    stage = Stage(model_folder, engine, on_unknown="raise", for_s=5.0)
    stage.camera.connecting()
    stage.show(empty=True)
    stage.camera.offline(GONE)
    stage.wait(4)
    assert stage.alerts == []
    stage.wait(2)
    assert stage.alerts == [("occupied", "new")]


def test_a_disabled_camera_analyses_nothing(stage: Stage) -> None:
    stage.camera.connecting()
    stage.show()
    stage.camera.disabled()
    assert stage.published.of(CommandAnswer)[-1].value == "OFF"
    assert stage.camera.analyse(stage.frame(), stage.engine) is None
    stage.wait(60)
    assert stage.states[-1] == ("disabled", None)
    assert ("camera", "new") not in stage.alerts
    stage.camera.connecting()
    stage.show()
    assert stage.states[-1] == ("live", None)


def successor(stage: Stage, settings: CameraSettings) -> Camera:
    """The camera that takes the place of the stage's, as a reload with these settings makes it."""
    same = unchanged(stage.settings.zones, settings.zones)
    stage.camera.retire(same)
    memory = carried_over(stage.camera.memory, same)
    model = registry.find(settings.model)
    past = RestoredState(memory)
    return Camera("test", settings, model, {}, stage.published, stage.clock, count(50), restored=past)


def test_an_alert_outlives_a_change_of_other_settings(stage: Stage) -> None:
    stage.camera.connecting()
    stage.show()
    (begun,) = stage.published.of(Alert)
    stage.camera = successor(stage, replace(stage.settings, rate_fps=2.0, priority=3))
    stage.camera.connecting()
    stage.clock.advance(1.0)
    stage.show()
    assert [one.event for one in stage.published.of(Alert)] == ["new"]
    # What was retained went with the old settings: the state is said again.
    assert stage.published.of(RuleState)[-1].state == "ON"
    stage.clock.advance(1.0)
    stage.show(empty=True)
    _, end = stage.published.of(Alert)
    assert (end.id, end.event, end.end_reason) == (begun.id, "end", "cleared")


def test_an_alert_of_a_rule_that_changed_ends(stage: Stage) -> None:
    (zone,) = stage.settings.zones
    harder = replace(zone, rules=(replace(zone.rules[0], enter=0.9, leave=0.8),))
    elsewhere = replace(zone, include=(((0.0, 0.0), (0.5, 0.0), (0.5, 1.0)),))
    for changed in (harder, elsewhere):
        assert unchanged((zone,), (changed,)) == frozenset()
    assert unchanged((zone,), (replace(zone, title="Another name"),)) == {("all", "seen")}
    stage.camera.connecting()
    stage.show()
    stage.camera = successor(stage, replace(stage.settings, zones=(harder,)))
    stage.camera.connecting()
    stage.show()
    assert [(one.event, one.end_reason) for one in stage.published.of(Alert)] == [
        ("new", None),
        ("end", "config"),
    ]


def test_a_degraded_camera_says_so_at_once_and_has_a_longer_patience(stage: Stage) -> None:
    stage.camera.connecting()
    stage.camera.degrade(Degraded(0.5, (32, 32)))
    assert stage.published.of(CameraStatus)[-1].degraded == Degraded(0.5, (32, 32))
    stage.show()
    stage.wait(6)
    assert stage.states[-1] == ("live", None)
    stage.wait(1)
    assert stage.states[-1][0] == "stale"
    stage.camera.degrade(None)
    assert stage.published.of(CameraStatus)[-1].degraded is None


@pytest.mark.parametrize("for_s", [0.0, 5.0])
def test_retiring_ends_what_is_on_and_begins_nothing(
    model_folder: Path, engine: Engine, for_s: float
) -> None:
    stage = Stage(model_folder, engine, on_unknown="raise", for_s=for_s)
    stage.camera.connecting()
    for _ in range(7):
        stage.clock.advance(1.0)
        stage.show()
    stage.camera.retire()
    assert [event for _, event in stage.alerts][-2:] == ["new", "end"]
    assert stage.published.of(Alert)[-1].end_reason == "config"
    assert stage.camera.analyse(stage.frame(), stage.engine) is None


def test_nothing_retained_says_live_after_a_stop(stage: Stage) -> None:
    stage.camera.connecting()
    stage.show()
    stage.camera.leave()
    assert stage.states[-1] == ("offline", "stopped")
    assert stage.published.of(ZoneOccupancy)[-1].state == "unknown"
    assert stage.published.of(RuleState)[-1].state == "unknown"
    assert stage.camera.analyse(stage.frame(), stage.engine) is None


def test_a_stop_keeps_the_reason_of_a_camera_that_was_away(stage: Stage) -> None:
    stage.camera.connecting()
    stage.camera.offline(GONE)
    stage.camera.leave()
    assert stage.states[-1] == ("offline", "timeout")


def test_a_snapshot_is_given_once_and_only_of_a_live_camera(stage: Stage) -> None:
    def snapshots() -> list[bytes]:
        return [one.value for one in stage.published.of(CommandAnswer) if one.thing == "snapshot"]

    stage.camera.connecting()
    stage.camera.ask_for_snapshot()
    stage.show()
    assert snapshots() == []
    stage.camera.ask_for_snapshot()
    stage.show()
    stage.show()
    (jpeg,) = snapshots()
    assert jpeg.startswith(b"\xff\xd8\xff")


def test_a_condition_does_not_go_on_while_the_machine_is_suspended(
    model_folder: Path, engine: Engine
) -> None:
    """The clock counts that time, and the first picture after it is there before anybody ticks."""
    stage = Stage(model_folder, engine, for_s=5.0)
    stage.camera.connecting()
    for _ in range(8):
        stage.show()
        stage.clock.advance(0.5)
    stage.clock.advance(3600.0)
    stage.show()
    assert stage.published.of(Alert) == []
    assert ("stale", "no picture for 3 s") in stage.states
    for _ in range(10):
        stage.clock.advance(0.5)
        stage.show()
    (alert,) = stage.published.of(Alert)
    assert alert.began_at_s == NOON_S + 4.0 + 3600.0


def test_an_alert_stays_on_while_the_machine_is_suspended(model_folder: Path, engine: Engine) -> None:
    stage = Stage(model_folder, engine, clear_s=5.0)
    stage.camera.connecting()
    stage.show()
    stage.clock.advance(1.0)
    stage.show(empty=True)
    stage.clock.advance(3600.0)
    stage.show(empty=True)
    assert "end" not in [event for _, event in stage.alerts]
    for _ in range(10):
        stage.clock.advance(0.5)
        stage.show(empty=True)
    assert [event for _, event in stage.alerts] == ["new", "update", "end"]


def test_what_was_away_before_a_restart_is_still_away(
    model_folder: Path, engine: Engine, tmp_path: Path
) -> None:
    """The absence goes on through the restart, and one alert tells it."""
    stage = Stage(model_folder, engine)
    boot = {"boot": "b", "synchronised": lambda: True}
    with NodeState(tmp_path, stage.clock, **boot) as state:
        first = stage.started(state)
        first.offline(GONE)
        for _ in range(20):
            stage.clock.advance(1.0)
            first.tick()
            state.tick()
    stage.clock.advance(5.0)
    with NodeState(tmp_path, stage.clock, **boot) as state:
        second = stage.started(state)
        second.offline(GONE)
        for _ in range(10):
            stage.clock.advance(1.0)
            second.tick()
    (alert,) = stage.published.of(Alert)
    assert (alert.kind, alert.began_at_s, alert.at_s) == ("camera", NOON_S + 1.0, NOON_S + 31.0)


def test_a_stop_takes_no_dwell_and_no_alert(model_folder: Path, engine: Engine, tmp_path: Path) -> None:
    """A restart in good order is no worse than SIGKILL; after a long one the zone was unknown."""
    for down_s, expected in ((10.0, ["new"]), (120.0, ["new", "end"])):
        stage = Stage(model_folder, engine, on_unknown="end")
        folder = tmp_path / str(down_s)
        boot = {"boot": "b", "synchronised": lambda: True}
        with NodeState(folder, stage.clock, **boot) as state:
            stage.camera = stage.started(state)
            stage.show()
            stage.camera.leave()
            assert stage.published.of(RuleState)[-1].state == "unknown"
            state.end("stopped")
        stage.clock.advance(down_s)
        with NodeState(folder, stage.clock, **boot) as state:
            stage.camera = stage.started(state)
            stage.camera.tick()
            assert [event for _, event in stage.alerts] == expected
