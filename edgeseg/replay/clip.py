"""Clip replay: runs a clip through a camera's pipeline in this process, deterministic and without loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TextIO

from edgeseg.clock import ManualClock
from edgeseg.engines.base import Engine
from edgeseg.engines.refine import refined
from edgeseg.engines.select import choose, open_engine
from edgeseg.errors import SourceError
from edgeseg.frames import Frame, FrameTime, Picture
from edgeseg.kserve import open_remote
from edgeseg.models import registry
from edgeseg.models.runtimes import AUTO
from edgeseg.observers import Observers, OccupancyObserver
from edgeseg.pipeline import Analysis
from edgeseg.publish.jsonl import JsonLinesPublisher
from edgeseg.publish.topics import Topics
from edgeseg.runtime.camera import Camera
from edgeseg.screening.health.monitor import HealthMonitor, health_monitor_settings
from edgeseg.screening.motion_gate import MotionGate, motion_gate_settings
from edgeseg.settings import CameraSettings, PipelineSettings
from edgeseg.sources.open import open_source
from edgeseg.sources.pacer import Pacer
from edgeseg.stages.preprocess import Preprocess

# The daemon's own tick.
_TICK_S = 1.0
_PREFIX_WITHOUT_BROKER = "edgeseg"
# Names the process start in payloads; a replay must give the same bytes again.
_BOOT = "replay"


@dataclass(frozen=True, slots=True, eq=False)
class ClipFrame:
    """One picture that was due and its frame. ``done_share``: how much of the clip is behind, 0-1."""

    picture: Picture
    frame: Frame
    done_share: float


def frames(
    path: Path, camera: str, preprocess: Preprocess, rate_fps: float, epoch_s: float | None = None
) -> Iterator[ClipFrame]:
    """Decode a clip, a picture or a folder of pictures, and yield the frames due at ``rate_fps``.

    epoch_s: UTC of the first picture; None takes the recording's own time, or else 1970. The picture is
    valid until the next step. Raises SourceError.
    """
    for one in gated_frames(path, camera, preprocess, rate_fps, epoch_s, None):
        if isinstance(one, ClipFrame):
            yield one


def gated_frames(
    path: Path,
    camera: str,
    preprocess: Preprocess,
    rate_fps: float,
    epoch_s: float | None,
    gate: MotionGate | None,
    health: HealthMonitor | None = None,
) -> Iterator[ClipFrame | FrameTime]:
    """Yield ``frames`` with a gate: for a skipped frame its time. Every frame counts as analysed.

    health: checks every picture; for one that must not be measured it also yields the time.
    """
    with open_source(str(path), epoch_s=epoch_s) as source:
        pacer, seq, duration_s = Pacer(rate_fps), 0, source.duration_s
        for picture in source:
            time_s = picture.time.camera_time_s
            if health is not None and health.update(picture, time_s) and gate is not None:
                gate.set_zones(health.zones)
            if not pacer.is_due(time_s):
                continue
            if health is not None and health.suspect:
                yield picture.time
                continue
            if gate is not None:
                passes = gate.passes(picture, time_s)
                gate.choose_decoding(source, rate_fps)
                if not passes:
                    yield picture.time
                    continue
                gate.mark_handed_over(seq)
                gate.mark_done(seq, analysed=True)
            fit, views = preprocess(picture)
            done_share = min(time_s / duration_s, 1.0) if duration_s else 0.0
            yield ClipFrame(picture, Frame(camera, seq, views, fit, picture.time), done_share)
            seq += 1


def transcript_publisher(
    settings: PipelineSettings, clock: ManualClock, stream: TextIO
) -> JsonLinesPublisher:
    """Return the publisher of a replay, with the same bytes each time. clock: the replay's."""
    prefix = settings.mqtt.prefix if settings.mqtt else _PREFIX_WITHOUT_BROKER
    return JsonLinesPublisher(Topics(prefix, settings.node, boot=_BOOT, clock=clock), stream)


class Replay:
    """Runs a clip through one camera of a pipeline file: what the daemon would have published.

    A context manager that loads the engine: raises ModelError, EngineError.

    Args:
        settings: of the pipeline file.
        chosen: the camera.
        stream: receives the messages as JSON lines.
        threads: of one inference.
        observer: called with each observation; see ``Observers``.
    """

    def __init__(
        self,
        settings: PipelineSettings,
        chosen: CameraSettings,
        stream: TextIO,
        threads: int = 1,
        observer: OccupancyObserver | None = None,
    ) -> None:
        self.model = registry.find(chosen.model)
        self.clock = ManualClock()
        self.publisher = transcript_publisher(settings, self.clock, stream)
        self.camera = Camera(
            settings.node,
            chosen,
            self.model,
            settings.groups,
            self.publisher,
            self.clock,
            count(1),
            observers=Observers(occupancies=observer),
        )
        self._chosen = chosen
        self._threads = threads
        self._engine: Engine | None = None
        self._opened = ExitStack()

    def __enter__(self) -> Replay:
        self._engine = self._open()
        self._opened.callback(self._engine.close)
        self._opened.enter_context(self.publisher)
        return self

    def _open(self) -> Engine:
        chosen, model = self._chosen, self.model

        def local(engine: str) -> Engine:
            opened = open_engine(model, engine, chosen.input_size_px, self._threads)
            return refined(opened, model, chosen.refine, self._threads)

        if chosen.remote is None:
            return local(chosen.engine)
        size_px = chosen.input_size_px or choose(model, chosen.engine)[1].input.size_px
        return open_remote(model, chosen.remote, size_px, partial(local, chosen.remote.fallback or AUTO))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def run(self, clip: Path, epoch_s: float | None = None) -> Iterator[tuple[ClipFrame, Analysis]]:
        """Run the clip to its end and yield the analysed frames, those that the camera's gate passes.

        The camera's clock follows the clip and ticks in its gaps, as the daemon's does. Raises SourceError,
        EngineError.
        """
        assert self._engine is not None, "use Replay as a context manager"
        chosen = self._chosen
        preprocess = Preprocess(chosen.fit or self.model.fit, self._engine.input_size_px)
        order, started = motion_gate_settings(chosen), False
        gate = None if order is None else MotionGate(order)
        checks = health_monitor_settings(chosen)
        health = None if checks is None else HealthMonitor(checks)
        for one in gated_frames(clip, chosen.name, preprocess, chosen.rate_fps, epoch_s, gate, health):
            time = one.frame.time if isinstance(one, ClipFrame) else one
            if not started:
                started = True
                self.clock.set(time.camera_time_s, time.captured_at_s)
                self.camera.connecting()
            while time.camera_time_s - self.clock.monotonic_s() > _TICK_S:
                self.clock.advance(_TICK_S)
                self.camera.tick()
            self.clock.set(time.camera_time_s, time.captured_at_s)
            self.camera.received(time)
            if health is not None:
                self.camera.judged(health.health, time)
                if health.suspect:
                    self.camera.tick()
                    continue
            if not isinstance(one, ClipFrame):
                self.camera.still(time)
                continue
            analysis = self.camera.analyse(one.frame, self._engine)
            if analysis is not None:
                yield one, analysis
        self.camera.offline(SourceError("ended", f"{clip}: the clip has ended"))
