"""READ ME FIRST: frame in, events out.

    capture -> preprocess -> segment -> postprocess -> zones -> rules -> publish

``CameraPipeline.analyse`` is the pipeline. Before it, a source decodes pictures (``sources/``) and
``preprocess`` places them into network inputs; in the daemon both happen in the camera's own process.
After it, a publisher takes the events (``publish/``). It is plain single-threaded code without a clock:
the daemon, ``edgeseg replay`` and the tests run the very same lines.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from edgeseg.engines.base import Engine
from edgeseg.events import Event, RuleState, ZoneOccupancy
from edgeseg.frames import Frame, FrameTime, LabelMap
from edgeseg.models.model import Model
from edgeseg.observers import NO_TIMER, OccupancyObserver, StageTimer
from edgeseg.rules import Dwell, RuleId, RuleMemory, ZoneRules
from edgeseg.settings import CameraSettings, ZoneSettings
from edgeseg.stages import postprocess
from edgeseg.stages.confidence_gate import ConfidenceGate
from edgeseg.stages.illumination import classify_illumination
from edgeseg.stages.smoothing import TemporalSmoother
from edgeseg.stages.zones import ZoneMeter

# Why there is no picture yet after a start; any other reason is the camera's own.
_CONNECTING = "connecting"


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What one frame gave: the label map for whoever wants to look, the events for the publisher."""

    label_map: LabelMap
    events: tuple[Event, ...]


class CameraPipeline:
    """Everything that happens to one camera's frames after capture, with the state of its rules.

    seq: numbers the occupancies; a camera whose settings change hands its own on. memory: zone -> rule ->
    what it knew before, to go on from there. bridge_until_s: camera time until which the rules do not hear
    that there is no picture yet: edgeseg itself was away, not the camera. observer: sees what the rules see.
    """

    def __init__(
        self,
        node: str,
        camera: CameraSettings,
        model: Model,
        groups: Mapping[str, tuple[str, ...]],
        seq: Iterator[int],
        memory: Mapping[str, Mapping[str, RuleMemory]] | None = None,
        bridge_until_s: float | None = None,
        observer: OccupancyObserver | None = None,
    ) -> None:
        self._model = model
        self._meter = ZoneMeter(camera.name, camera.zones, groups, model.name, model.classes)
        self._steadier = TemporalSmoother() if camera.steady else None
        self._certainty = ConfidenceGate(camera.zones)
        self._minds_light = any(rule.unlike is not None for zone in camera.zones for rule in zone.rules)
        self._rules = {
            zone.name: ZoneRules(node, camera.name, zone, (memory or {}).get(zone.name))
            for zone in camera.zones
        }
        self._seq = seq
        self._bridge_until_s = bridge_until_s
        self._observer = observer
        self._newest: tuple[ZoneOccupancy, ...] = ()

    def analyse(self, frame: Frame, engine: Engine, timer: StageTimer = NO_TIMER) -> Analysis:
        """Segment a frame, measure its zones, and ask the rules what that means. Raises EngineError."""
        self._bridge_until_s = None
        outputs = engine.run(frame.views)
        timer("infer")
        label_map = postprocess.label_map(outputs, frame.fit, self._model)
        if self._steadier is not None:
            label_map = self._steadier.smooth(label_map, frame)
        timer("postprocess")
        measured = self._meter.measure(label_map, next(self._seq), frame.time)
        if self._minds_light:
            light = classify_illumination(frame.views, frame.fit)
            measured = tuple(replace(one, light=light) for one in measured)
        self._newest = self._certainty.apply(measured)
        timer("zones")
        events = tuple(self._judged(self._newest))
        timer("rules")
        return Analysis(label_map, events)

    def look(self, frame: Frame, engine: Engine) -> LabelMap:
        """Segment a frame of which nothing may be concluded. Raises EngineError."""
        return postprocess.label_map(engine.run(frame.views), frame.fit, self._model)

    def redraw(self, zones: Sequence[ZoneSettings]) -> None:
        """The same zones lie elsewhere in the picture from now on; their rules notice nothing."""
        self._meter.redraw(zones)

    def still(self, time: FrameTime, *, publish: bool) -> tuple[Event, ...]:
        """Nothing has moved from the frame analysed last until ``time``: what it showed holds then too.

        publish: whether the occupancies are published; the rules see them in any case.
        """
        seq = next(self._seq) if publish else 0
        held = tuple(
            replace(one, seq=seq, time=time, analysed=one.analysed or one.time) for one in self._newest
        )
        return tuple(event for event in self._judged(held) if publish or not isinstance(event, ZoneOccupancy))

    def suspend(self, reason: str, time: FrameTime) -> tuple[Event, ...]:
        """There is no usable picture: every zone is unknown, and says why."""
        if self._bridges(reason, time):
            return self.interrupt(reason, time)
        return tuple(self._judged(self._meter.unknown(reason, next(self._seq), time)))

    def interrupt(self, reason: str, time: FrameTime) -> tuple[Event, ...]:
        """edgeseg itself is going away or coming back: every zone and the state of every rule is unknown, but
        the rules do not hear of it. Once they have memory again they say their state anew."""
        events: list[Event] = []
        for unknown in self._meter.unknown(reason, next(self._seq), time):
            events.append(unknown)
            for rule in self._rules[unknown.zone].memory:
                events.append(RuleState(unknown.camera, unknown.zone, rule, "unknown", time))
        return tuple(events)

    def still_suspended(self, reason: str, time: FrameTime) -> tuple[Event, ...]:
        """Time goes by without a picture: what the rules make of that. Nothing is measured."""
        if self._bridges(reason, time):
            return ()
        unknown = self._meter.unknown(reason, 0, time)
        return tuple(event for event in self._judged(unknown) if not isinstance(event, ZoneOccupancy))

    @property
    def memory(self) -> Mapping[str, Mapping[str, RuleMemory]]:
        """Zone -> rule -> what it knows now."""
        return {zone: rules.memory for zone, rules in self._rules.items()}

    @property
    def dwells(self) -> list[Dwell]:
        """The dwells towards new alerts that are under way."""
        return [dwell for rules in self._rules.values() for dwell in rules.dwells]

    @property
    def change_key(self) -> tuple[object, ...]:
        """Of that, what changes only when something happens; cheap to compare."""
        return tuple(known.change_key for rules in self._rules.values() for known in rules.memory.values())

    def retire(self, time: FrameTime, keep: Collection[RuleId] = ()) -> tuple[Event, ...]:
        """The camera's settings are going away: alerts that are on end. keep: zones and rules that live on
        elsewhere."""
        return tuple(
            event
            for zone, rules in self._rules.items()
            for event in rules.retire(time, {rule for name, rule in keep if name == zone})
        )

    def _bridges(self, reason: str, time: FrameTime) -> bool:
        if self._bridge_until_s is not None and (
            reason != _CONNECTING or time.camera_time_s >= self._bridge_until_s
        ):
            self._bridge_until_s = None
        return self._bridge_until_s is not None

    def _judged(self, occupancies: tuple[ZoneOccupancy, ...]) -> Iterator[Event]:
        if self._observer is not None:
            self._observer(occupancies)
        for occupancy in occupancies:
            yield occupancy
            yield from self._rules[occupancy.zone].observe(occupancy)
