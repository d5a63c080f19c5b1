"""A daemon that is killed and started again says what one that was never killed says.

The real camera, rules, outbox and database. A kill is a copy of the files as they are at that moment:
whatever a process has in memory is gone. Where SIGKILL really falls is for the fault suite.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from functools import lru_cache
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from edgeseg.clock import ManualClock
from edgeseg.engines import open_engine
from edgeseg.engines.base import Engine
from edgeseg.errors import SourceError
from edgeseg.events import Alert, Event
from edgeseg.frames import Frame, FrameTime
from edgeseg.models import registry
from edgeseg.models.model import Model
from edgeseg.publish.mqtt.outbox import Outbox
from edgeseg.rules.serialization import fingerprints
from edgeseg.runtime.camera import Camera
from edgeseg.runtime.camera_memory import BRIDGE_S, restore
from edgeseg.settings import CameraSettings, RuleSettings, SourceUrl, ZoneSettings
from edgeseg.stages.preprocess import make_fit
from edgeseg.state.node_state import CameraStateView, NodeState
from tests.runtime.test_camera import WHOLE, Recorder
from tests.support.tiny_models import Convention, picture, write_model

NOON_S = 1_795_000_000.0
# Camera time has this grain, so that dwells are met exactly or missed clearly.
GRAIN_S = 0.25
FIT = make_fit("stretch", (64, 48), (64, 48))
SEEN, EMPTY = picture()[None], np.zeros_like(picture())[None]


@lru_cache(maxsize=1)
def network() -> tuple[Model, Engine]:
    folder = write_model(Path(tempfile.mkdtemp(prefix="restarts-")) / "tiny", Convention())
    model = registry.find(str(folder))
    return model, open_engine(model)


class KilledError(Exception):
    """Stands for SIGKILL in the middle of publishing."""


class OutboxPublisher(Recorder):
    """As the MQTT publisher: alerts into the outbox. kill_in: so many alerts from now it is killed."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__()
        self._outbox = outbox
        self.kill_in: int | None = None

    def send(self, event: Event) -> None:
        if isinstance(event, Alert):
            if self.kill_in == 0:
                raise KilledError
            self.kill_in = None if self.kill_in is None else self.kill_in - 1
            payload = f"{event.event} {event.began_at_s} {event.ended_at_s} {event.end_reason} {event.at_s}"
            self._outbox.append(event.id, event.seq, f"{event.camera}/{event.rule}", payload.encode())


class Life:
    """One process of the daemon, as far as alerts are concerned."""

    def __init__(self, folder: Path | None, clock: ManualClock, settings: CameraSettings, boot: str) -> None:
        model, _ = network()
        self.folder = folder
        self.state = NodeState(folder, clock, boot=boot, synchronised=lambda: True)
        self.state.open()
        self.outbox = Outbox(self.state.database, clock)
        self.outbox.open()
        self.publisher = OutboxPublisher(self.outbox)
        prints = fingerprints(settings.zones, model.classes)
        past = restore(self.state, "yard", self.state.memories().get("yard"), prints)
        self.camera = Camera(
            "node", settings, model, {}, self.publisher, clock, count(1),
            view=CameraStateView(self.state, "yard"), restored=past,
        )  # fmt: skip
        self.camera.publish_ends(past.ends)
        self.camera.connecting()
        self.camera.tick()
        self.state.tick()

    def alerts(self) -> list[tuple[str, int, str]]:
        rows = self.state.database.read("SELECT alert_id, seq, topic, payload FROM waiting ORDER BY id")
        return [(id_, seq, f"{topic} {payload.decode()}") for id_, seq, topic, payload in rows]

    def die(self, into: Path) -> None:
        assert self.folder is not None
        shutil.copytree(self.folder, into)
        self.state.close()


class Restarts(RuleBasedStateMachine):
    """``twin`` is never killed and sees the same pictures at the same times."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp(prefix="restarts-"))
        self.clock = ManualClock(utc_s=NOON_S, monotonic_s=1000.0)
        self.lives = 0
        self.exact = True

    @initialize(
        dwells=st.tuples(*[st.integers(0, 12).map(lambda n: n * GRAIN_S)] * 3),
        on_unknown=st.sampled_from(("hold", "end", "raise")),
    )
    def begin(self, dwells: tuple[float, float, float], on_unknown: Any) -> None:
        for_s, clear_s, cooldown_s = dwells

        def one(name: str, kind: Any, dwell_s: float) -> RuleSettings:
            thresholds = (0.04, 0.04, None, ())
            return RuleSettings(
                name, kind, ("red",), ("red",), *thresholds, dwell_s, clear_s, cooldown_s, None, on_unknown
            )

        rules = (one("seen", "occupied", for_s), one("missed", "absent", for_s + GRAIN_S))
        zone = ZoneSettings("all", "All", (WHOLE,), (), 0.0, rules)
        self.settings = CameraSettings(
            "yard", SourceUrl("x", None, "x"), "tiny", "auto", None, 5.0, None, 0, (zone,)
        )
        self.twin = Life(None, self.clock, self.settings, "boot")
        self.life = Life(self.base / "life0", self.clock, self.settings, "boot")

    @rule(steps=st.integers(1, 8), seen=st.booleans())
    def see(self, steps: int, seen: bool) -> None:
        """Pictures at an even pace that show something or nothing."""
        for _ in range(steps):
            self.clock.advance(GRAIN_S)
            for life in (self.twin, self.life):
                self.show(life, seen)

    @precondition(lambda self: self.is_live)
    @rule(steps=st.integers(1, 4), seen=st.booleans(), after=st.integers(0, 2))
    def die_while_publishing(self, steps: int, seen: bool, after: int) -> None:
        """Killed between a rule that went on and its alert on disk: neither happened."""
        self.life.publisher.kill_in = after
        for _ in range(steps):
            self.clock.advance(GRAIN_S)
            self.show(self.twin, seen)
            try:
                self.show(self.life, seen)
            except KilledError:
                self.restart(0.0)
                # The picture at which it was killed is seen again.
                self.show(self.life, seen)
        self.life.publisher.kill_in = None

    @precondition(lambda self: self.is_live)
    @rule(down=st.integers(0, 40))
    def die(self, down: int) -> None:
        """Killed, and away for a while that is bridged."""
        self.restart(down * GRAIN_S)

    @rule()
    def unplug(self) -> None:
        """The camera is gone for 5 s: both see it."""
        for life in (self.twin, self.life):
            life.camera.offline(SourceError("timeout", "no answer"))
        for _ in range(5):
            self.clock.advance(1.0)
            for life in (self.twin, self.life):
                life.camera.tick()
                life.state.tick()

    @precondition(lambda self: self.is_live and self.exact)
    @rule()
    def die_without_a_tick(self) -> None:
        """What was only noted is lost with it: from here on alerts may come later than the twin's."""
        self.exact = False
        self.clock.advance(GRAIN_S)
        self.show(self.life, True, tick=False)
        self.show(self.twin, True)
        self.restart(0.0)

    @property
    def is_live(self) -> bool:
        """A camera that is away is watched by the second, and the twin is not watched while the other is
        down: what holds of that is said by tests of its own."""
        return self.twin.camera.state == "live"

    def show(self, life: Life, seen: bool, *, tick: bool = True) -> None:
        time = FrameTime(self.clock.monotonic_s(), self.clock.utc_s())
        life.camera.received(time)
        life.camera.analyse(Frame("yard", 0, SEEN if seen else EMPTY, FIT, time), network()[1])
        if tick:
            life.state.tick()

    def restart(self, down_s: float) -> None:
        assert down_s < BRIDGE_S
        self.lives += 1
        into = self.base / f"life{self.lives}"
        self.life.die(into)
        self.clock.advance(down_s)
        # The twin's camera gave nothing meanwhile, unnoticed.
        self.twin.camera.received(FrameTime(self.clock.monotonic_s(), self.clock.utc_s()))
        self.twin.camera._status.take_gap()
        self.life = Life(into, self.clock, self.settings, "boot")

    def teardown(self) -> None:
        if not hasattr(self, "life"):
            return
        told, expected = self.life.alerts(), self.twin.alerts()
        for life in (self.twin, self.life):
            life.state.close()
        shutil.rmtree(self.base)
        if self.exact:
            assert told == expected
        numbers = [(id_, seq) for id_, seq, _ in told]
        assert len(set(numbers)) == len(numbers), "an alert's message twice"
        lives = defaultdict(list)
        for id_, seq, text in told:
            lives[id_].append((seq, text))
        for messages in lives.values():
            assert [seq for seq, _ in messages] == list(range(len(messages))), "a hole"
            # Rule and beginning: an id names one alert.
            assert len({(text.split()[0], text.split()[2]) for _, text in messages}) == 1
        for name in ("yard/seen", "yard/missed"):
            marks = [text.split()[1] for _, _, text in told if text.startswith(name + " ")]
            marks = [mark for mark in marks if mark != "update"]
            assert all(one != two for one, two in pairwise(marks)), "raised twice, or forgotten"


def test_a_camera_that_was_coming_back_when_all_was_killed_still_is() -> None:
    """Connecting after a restart is no new absence: its alert ends when the twin's does."""
    state = Restarts()
    state.begin(dwells=(0.0, 0.0, 0.0), on_unknown="hold")
    for _ in range(6):
        state.unplug()
    state.see(seen=False, steps=1)
    state.die(down=35)
    state.die(down=3)
    state.see(seen=False, steps=2)
    state.teardown()


class TestRestarts(Restarts.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(
        max_examples=25,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
