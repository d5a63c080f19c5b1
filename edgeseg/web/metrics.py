"""What Prometheus scrapes: stages as they end, everything else looked up when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edgeseg import __version__
from edgeseg.clock import Clock
from edgeseg.events import Alert, CameraStatus, Event, NodeStats
from edgeseg.observers import StageName, StageTimer
from edgeseg.publish.base import SilentPublisher
from edgeseg.system.process_usage import usage
from edgeseg.web.latest import LatestValues

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Stages take from a tenth of a millisecond (rules) to seconds (a network on a small latest).
_STAGE_BUCKETS_S = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_LATENCY_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_RULE_VALUES = {"ON": 1.0, "OFF": 0.0}


@dataclass(frozen=True, slots=True)
class CameraFacts:
    """What is known of a camera besides its events. age_s: of its newest picture. engine: None: loading."""

    name: str
    age_s: float | None
    model: str
    engine: str | None
    input_px: tuple[int, int]
    rate_fps: float
    effective_fps: float
    gated: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What is looked up when somebody asks. stats: with the publisher's counters. connected: None where there
    is no broker. stuck: how often in 24 h a process ended because something stood still."""

    stats: NodeStats
    connected: bool | None
    stuck: int
    cameras: tuple[CameraFacts, ...] = ()
    pages: int = 0


class Metrics(SilentPublisher):
    """A publisher that counts alerts, told too when stages end. Thread-safe.

    facts: looks up the rest; called by scrapes alone.
    """

    def __init__(self, facts: Callable[[], Facts], latest: LatestValues, clock: Clock) -> None:
        self._clock = clock
        self._registry = CollectorRegistry()
        self._stages = Histogram(
            "edgeseg_stage_seconds",
            "Time of one stage for one frame.",
            ["camera", "stage"],
            buckets=_STAGE_BUCKETS_S,
            registry=self._registry,
        )
        self._latency = Histogram(
            "edgeseg_capture_to_publish_seconds",
            "From the arrival of a picture until all it gave was published.",
            ["camera"],
            buckets=_LATENCY_BUCKETS_S,
            registry=self._registry,
        )
        self._alerts = Counter(
            "edgeseg_alerts",
            "Alerts that began.",
            ["camera", "zone", "rule", "kind"],
            registry=self._registry,
        )
        self._registry.register(_Lookup(facts, latest))
        ProcessCollector(registry=self._registry)

    def start_timer(self, camera: str, captured_s: float) -> StageTimer:
        """Start the timer of one frame: see ``observers.StartTimer``."""
        before_s = self._clock.monotonic_s()

        def lap(stage: StageName) -> None:
            nonlocal before_s
            now_s = self._clock.monotonic_s()
            self._stages.labels(camera, stage).observe(now_s - before_s)
            before_s = now_s
            if stage == "publish":
                self._latency.labels(camera).observe(now_s - captured_s)

        return lap

    def send(self, event: Event) -> None:
        if isinstance(event, Alert) and event.event == "new":
            self._alerts.labels(event.camera, event.zone or "", event.rule, event.kind).inc()

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)


class _Lookup(Collector):
    def __init__(self, facts: Callable[[], Facts], latest: LatestValues) -> None:
        self._facts = facts
        self._latest = latest

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first scrape, and asking is not free."""
        return ()

    def collect(self) -> Iterable[Metric]:
        facts = self._facts()
        yield from _of_node(facts)
        yield from _of_stats(facts.stats)
        yield from _of_cameras(facts)
        yield from self._of_zones(facts)

    def _of_zones(self, facts: Facts) -> Iterable[Metric]:
        coverage = GaugeMetricFamily(
            "edgeseg_zone_coverage_ratio",
            "Share of a zone that a class or group covers; absent while unknown.",
            labels=["camera", "zone", "class"],
        )
        known = GaugeMetricFamily(
            "edgeseg_zone_known", "1 while it is known what a zone looks like.", labels=["camera", "zone"]
        )
        rules = GaugeMetricFamily(
            "edgeseg_rule_on",
            "1 while a rule is on; absent while unknown.",
            labels=["camera", "zone", "rule"],
        )
        state = GaugeMetricFamily(
            "edgeseg_camera_state", "1 for the state a camera is in.", labels=["camera", "state"]
        )
        for camera in facts.cameras:
            standing = self._latest.standing(camera.name)
            status: CameraStatus | None = standing.status
            if status is not None:
                state.add_metric([camera.name, status.state], 1)
            for zone, occupancy in standing.occupancies.items():
                known.add_metric([camera.name, zone], float(occupancy.coverage is not None))
                for name, share in (occupancy.coverage or {}).items():
                    coverage.add_metric([camera.name, zone, name], share)
            for (zone, rule), told in standing.rules.items():
                value = _RULE_VALUES.get(told.state.state)
                if value is not None:
                    rules.add_metric([camera.name, zone, rule], value)
        yield from (coverage, known, rules, state)


def _of_node(facts: Facts) -> Iterable[Metric]:
    info = GaugeMetricFamily("edgeseg_build_info", "Always 1.", labels=["version"])
    info.add_metric([__version__], 1)
    yield info
    used = usage()
    yield _counter("edgeseg_cpu_seconds", "CPU time, camera processes that run included.", used.cpu_s)
    yield _gauge("edgeseg_memory_bytes", "Resident memory, camera processes included.", used.memory_bytes)
    yield _gauge("edgeseg_uptime_seconds", "Since this process began to watch.", facts.stats.uptime_s)
    yield _gauge("edgeseg_workers_busy_ratio", "Share of the workers' time in use.", facts.stats.busy)
    yield _gauge(
        "edgeseg_workers_demand_ratio",
        "What cameras ask of the workers; above 1 frames are dropped.",
        facts.stats.demand,
    )
    yield _gauge(
        "edgeseg_unplanned_restarts", "Restarts in 24 h that nobody asked for.", facts.stats.restarts
    )
    yield _gauge("edgeseg_watchdog_restarts", "Those of them because something stood still.", facts.stuck)
    yield _gauge("edgeseg_live_pages", "Pages that are open.", facts.pages)
    if facts.connected is not None:
        yield _gauge("edgeseg_mqtt_connected", "1 while the broker is connected.", facts.connected)


def _of_stats(stats: NodeStats) -> Iterable[Metric]:
    yield _gauge(
        "edgeseg_outbox_waiting", "Alerts that the broker has not acknowledged.", stats.outbox_waiting
    )
    yield _gauge("edgeseg_outbox_durable", "1 while alerts wait on disk.", stats.outbox_durable)
    dropped = CounterMetricFamily(
        "edgeseg_outbox_dropped", "Alerts dropped, since the state file began.", labels=["cause"]
    )
    for cause in ("expired", "overflowed", "rejected", "lost"):
        dropped.add_metric([cause], getattr(stats, f"outbox_{cause}"))
    yield dropped
    yield _counter("edgeseg_alerts_delivered", "Alerts that the broker took.", stats.alerts_delivered)
    yield _counter("edgeseg_messages_refused", "Messages that the broker refused.", stats.messages_refused)
    analysed = CounterMetricFamily("edgeseg_frames_analysed", "Frames analysed.", labels=["camera"])
    lost = CounterMetricFamily(
        "edgeseg_frames_dropped", "Frames that were due and not analysed.", labels=["camera", "cause"]
    )
    again = CounterMetricFamily(
        "edgeseg_reconnects", "Times that a source was opened again.", labels=["camera"]
    )
    for camera, frames in stats.analysed.items():
        analysed.add_metric([camera], frames)
    for camera, causes in stats.dropped.items():
        for cause, frames in causes.items():
            lost.add_metric([camera, cause], frames)
    for camera, times in stats.reconnects.items():
        again.add_metric([camera], times)
    yield from (analysed, lost, again)


def _of_cameras(facts: Facts) -> Iterable[Metric]:
    age = GaugeMetricFamily(
        "edgeseg_frame_age_seconds", "Since the newest picture arrived.", labels=["camera"]
    )
    engine = GaugeMetricFamily(
        "edgeseg_engine_info", "Always 1.", labels=["camera", "model", "engine", "input"]
    )
    rate = GaugeMetricFamily(
        "edgeseg_rate_fps",
        "Frames a second that are analysed at most: as set, and now.",
        labels=["camera", "of"],
    )
    gated = GaugeMetricFamily(
        "edgeseg_gated", "1 where only pictures that show motion are analysed.", labels=["camera"]
    )
    for camera in facts.cameras:
        if camera.age_s is not None:
            age.add_metric([camera.name], camera.age_s)
        width, height = camera.input_px
        labels = [camera.name, camera.model, camera.engine or "loading", f"{width}x{height}"]
        engine.add_metric(labels, 1)
        rate.add_metric([camera.name, "set"], camera.rate_fps)
        rate.add_metric([camera.name, "now"], camera.effective_fps)
        gated.add_metric([camera.name], float(camera.gated))
    yield from (age, engine, rate, gated)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=float(value))
