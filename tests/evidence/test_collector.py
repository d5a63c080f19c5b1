"""From a rule's first suspicion to two files: a camera, its rules, its evidence collector and the store."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg.clock import ManualClock
from edgeseg.engines import open_engine
from edgeseg.engines.base import Engine
from edgeseg.errors import SourceError
from edgeseg.events import Alert, Event
from edgeseg.evidence.collector import MOST_KEPT, CameraEvidence, Names, Request
from edgeseg.evidence.files import EvidenceFiles
from edgeseg.evidence.store import MOST_WAITING, EvidenceStore
from edgeseg.frames import Frame, FrameTime, LabelMap
from edgeseg.models import registry
from edgeseg.rules import Dwell
from edgeseg.runtime.camera import Camera
from edgeseg.settings import (
    ActiveHours,
    CameraSettings,
    EvidenceBudget,
    EvidenceSettings,
    RuleSettings,
    SourceUrl,
    ZoneSettings,
)
from edgeseg.stages.preprocess import make_fit
from tests.support.broker import wait_until
from tests.support.tiny_models import Convention, write_model

NOON_S = 1_795_000_000.0
WHOLE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
FIT = make_fit("stretch", (64, 48), (64, 48))
RULE = RuleSettings(
    name="seen", kind="occupied", terms=("red",), classes=("red",), enter=0.04, leave=0.01, reference=None,
    reference_classes=(), for_s=2.0, clear_s=0.0, cooldown_s=0.0, hours=None, on_unknown="hold",
)  # fmt: skip


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny", Convention())


@pytest.fixture(scope="module")
def engine(model_folder: Path) -> Iterator[Engine]:
    engine = open_engine(registry.find(str(model_folder)))
    yield engine
    engine.close()


class Sent:
    """A publisher that keeps alerts."""

    gone = False

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def start(self) -> None: ...

    def send(self, event: Event) -> None:
        if isinstance(event, Alert):
            self.alerts.append(event)

    def close(self) -> None: ...

    def __enter__(self) -> Sent:
        return self

    def __exit__(self, *_: object) -> None: ...


class Scene:
    """A camera that sees a red square of some size at some place, once a second."""

    def __init__(self, room: EvidenceStore, model_folder: Path, engine: Engine, **rule: Any) -> None:
        pictures = rule.pop("pictures", "full")
        zone = ZoneSettings("all", "All", (WHOLE,), (), 0.0, (replace(RULE, **rule),))
        settings = CameraSettings(
            "yard", SourceUrl("x", None, "x"), str(model_folder), "auto", None, 5.0, None, 0, (zone,),
            evidence=EvidenceSettings(pictures, ("red",)),
        )  # fmt: skip
        model = registry.find(str(model_folder))
        self.clock = ManualClock(utc_s=NOON_S, monotonic_s=1000.0)
        self.sent = Sent()
        self.engine = engine
        self.camera = Camera(
            "test", settings, model, {}, self.sent, self.clock, count(1),
            evidence=room.collector(settings, model),
        )  # fmt: skip
        self.camera.connecting()

    def show(self, left_px: int | None) -> None:
        """A square there, or none."""
        view = np.zeros((48, 64, 3), np.uint8)
        if left_px is not None:
            view[16:32, left_px : left_px + 16, 0] = 255
        frame = Frame("yard", 0, view[None], FIT, self.now())
        self.camera.received(frame.time)
        self.camera.analyse(frame, self.engine)
        view[:] = 255
        self.clock.advance(1.0)

    def still(self) -> None:
        self.camera.received(self.now())
        self.camera.still(self.now())
        self.clock.advance(1.0)

    def now(self) -> FrameTime:
        return FrameTime(self.clock.monotonic_s(), self.clock.utc_s())


@pytest.fixture
def room(tmp_path: Path) -> Iterator[EvidenceStore]:
    clock = ManualClock(utc_s=NOON_S)
    with EvidenceStore(EvidenceFiles(tmp_path / "evidence", clock), EvidenceBudget(), clock) as room:
        yield room


def square_in(room: EvidenceStore, alert: Alert, part: str) -> int:
    """Where the square begins in a picture that was kept, in pixels from the left."""

    def there() -> Path | None:
        return next((place for key, place in room.pictures_of(alert.id).items() if key == part), None)

    jpeg = wait_until(there, f"the picture {part}").read_bytes()
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return int(np.flatnonzero((picture[24, :, 2] > 128) & (picture[24, :, 1] < 128))[0])


def test_before_is_when_it_began_and_after_when_it_was_raised(
    room: EvidenceStore, model_folder: Path, engine: Engine
) -> None:
    scene = Scene(room, model_folder, engine)
    for left_px in (None, 0, None, 8, 16, 24, 32):
        scene.show(left_px)
    (alert,) = scene.sent.alerts
    assert alert.evidence is not None
    assert alert.evidence.pictures == (f"{alert.id}-before.jpg", f"{alert.id}-after.jpg")
    assert (square_in(room, alert, "before"), square_in(room, alert, "after")) == (8, 24)
    assert room.picture("yard", alert.id) == room.pictures_of(alert.id)["after"].read_bytes()
    assert room.picture("yard", f"{alert.id}-before") == room.pictures_of(alert.id)["before"].read_bytes()
    assert room.picture("gate", alert.id) is None
    assert room.picture("yard", "0" * 16) is None
    scene.show(None)
    end = scene.sent.alerts[-1]
    assert end.event == "end"
    assert end.evidence is not None
    assert end.evidence.pictures == alert.evidence.pictures


def test_what_does_not_move_any_more_is_shown_as_it_was_seen_last(
    room: EvidenceStore, model_folder: Path, engine: Engine
) -> None:
    scene = Scene(room, model_folder, engine)
    for left_px in (None, 8, 16):
        scene.show(left_px)
    scene.still()
    (alert,) = scene.sent.alerts
    assert (square_in(room, alert, "before"), square_in(room, alert, "after")) == (8, 16)


def test_an_alert_at_once_shows_one_picture_twice(
    room: EvidenceStore, model_folder: Path, engine: Engine
) -> None:
    scene = Scene(room, model_folder, engine, for_s=0.0)
    scene.show(8)
    (alert,) = scene.sent.alerts
    assert (square_in(room, alert, "before"), square_in(room, alert, "after")) == (8, 8)


def test_a_condition_that_begins_when_a_clock_strikes(
    room: EvidenceStore, model_folder: Path, engine: Engine
) -> None:
    strikes_min = int(NOON_S % 86_400 / 60) + 1
    scene = Scene(room, model_folder, engine, hours=ActiveHours(strikes_min, strikes_min + 60, None))
    scene.show(8)
    while not scene.sent.alerts:
        scene.still()
    (alert,) = scene.sent.alerts
    assert (square_in(room, alert, "before"), square_in(room, alert, "after")) == (8, 8)


def test_of_what_nobody_saw_there_is_only_what_went_before(
    room: EvidenceStore, model_folder: Path, engine: Engine
) -> None:
    scene = Scene(room, model_folder, engine, on_unknown="raise")
    scene.show(None)
    scene.show(8)
    scene.show(None)
    scene.camera.offline(SourceError("timeout", "no answer"))
    while not scene.sent.alerts:
        scene.clock.advance(1.0)
        scene.camera.tick()
    alert = scene.sent.alerts[0]
    assert alert.evidence is not None
    assert alert.evidence.pictures == (f"{alert.id}-before.jpg",)
    wait_until(lambda: room.pictures_of(alert.id), "the picture before")


def test_people_are_gone_from_the_file(room: EvidenceStore, model_folder: Path, engine: Engine) -> None:
    scene = Scene(room, model_folder, engine, pictures="masked", for_s=0.0)
    scene.show(8)
    (alert,) = scene.sent.alerts
    place = wait_until(lambda: room.pictures_of(alert.id).get("after"), "the picture")
    picture = cv2.imread(str(place)).astype(int)
    # No red: all that is not black is as grey as JPEG leaves it.
    assert np.ptp(picture, axis=2).max() <= 8
    assert abs(picture[24, 16] - 127).max() <= 8


def test_a_camera_without_rules_or_evidence_has_no_collector(room: EvidenceStore, model_folder: Path) -> None:
    model = registry.find(str(model_folder))
    zone = ZoneSettings("all", "All", (WHOLE,), (), 0.0, ())
    bare = CameraSettings(
        "yard", SourceUrl("x", None, "x"), str(model_folder), "auto", None, 5.0, None, 0, (zone,)
    )
    assert room.collector(bare, model) is None
    assert room.collector(replace(bare, evidence=EvidenceSettings("full", ())), model) is None


class Counted:
    """Frames that tell how often they were copied."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.collector = CameraEvidence(self._keep, lambda alert_id: Names())

    def _keep(self, request: Request) -> Names:
        self.requests.append(request)
        return Names()

    def look(self, at_s: float, *since_s: float) -> None:
        dwells = [Dwell("all", f"rule{number}", FrameTime(s, NOON_S + s)) for number, s in enumerate(since_s)]
        view = np.zeros((1, 48, 64, 3), np.uint8)
        labels = LabelMap(np.zeros((1, 12, 16), np.uint8), None, FIT)
        self.collector.on_observation(
            dwells, [], Frame("yard", 0, view, FIT, FrameTime(at_s, NOON_S + at_s)), labels
        )

    @property
    def holds(self) -> int:
        kept = self.collector
        shots = {id(begun.shot) for begun in kept._begun.values()} | {id(kept._newest)}
        return len(shots - {id(None)})


def test_nothing_is_kept_while_no_condition_holds() -> None:
    counted = Counted()
    counted.look(1.0)
    assert counted.holds == 0
    counted.look(2.0, 2.0)
    counted.look(3.0, 2.0)
    assert counted.holds == 2
    counted.look(4.0)
    assert counted.holds == 0


def test_many_conditions_keep_a_bounded_number_of_pictures() -> None:
    counted = Counted()
    since_s: list[float] = []
    for second in range(3 * MOST_KEPT):
        since_s.append(float(second))
        counted.look(float(second), *since_s)
    assert counted.holds <= MOST_KEPT + 1


def test_a_full_disk_is_told_once_and_alerts_go_on(
    tmp_path: Path, model_folder: Path, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    full = [True]

    def sync(descriptor: int) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = EvidenceFiles(tmp_path / "evidence", ManualClock(utc_s=NOON_S), sync)
    with EvidenceStore(folder, EvidenceBudget(), ManualClock()) as room:
        scene = Scene(room, model_folder, engine, for_s=0.0)
        scene.show(8)
        wait_until(lambda: "No space left" in caplog.text, "the log tells it")
        scene.show(None)
        scene.show(8)
        second = scene.sent.alerts[-1]
        assert second.evidence is not None
        assert second.evidence.pictures is None
        full[0] = False
        scene.show(None)
        scene.show(8)
        third = scene.sent.alerts[-1]
        assert third.event == "new"
        wait_until(lambda: room.pictures_of(third.id), "pictures are kept again")
    assert caplog.text.count("No space left") == 1


def test_a_disk_that_hangs_holds_nobody_up(
    tmp_path: Path, model_folder: Path, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    let_go = threading.Event()
    folder = EvidenceFiles(tmp_path / "evidence", ManualClock(utc_s=NOON_S), lambda file: bool(let_go.wait()))
    room = EvidenceStore(folder, EvidenceBudget(), ManualClock())
    scene = Scene(room, model_folder, engine, for_s=0.0)
    for _ in range(MOST_WAITING + 4):
        scene.show(8)
        scene.show(None)
    unkept = [alert for alert in scene.sent.alerts if alert.evidence and alert.evidence.pictures is None]
    assert any(alert.event == "new" for alert in unkept)
    assert caplog.text.count("some go without") == 1
    let_go.set()
    room.close()
