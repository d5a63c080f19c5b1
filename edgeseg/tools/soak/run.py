"""Soak run: cameras, broker, daemon and faults for some minutes, a sample each second."""

from __future__ import annotations

import logging
import os
import signal
import statistics
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeseg.clock import Clock
from edgeseg.errors import EdgesegError
from edgeseg.tools.soak.alert_audit import Audit, audit
from edgeseg.tools.soak.broker import Mosquitto
from edgeseg.tools.soak.cameras import CameraServer
from edgeseg.tools.soak.faults import Faults, Targets
from edgeseg.tools.soak.listener import SoakSubscriber
from edgeseg.tools.soak.process_resources import ProcessResources, resident_mib, session
from edgeseg.tools.soak.tcp_relay import TcpRelay

log = logging.getLogger(__name__)

NODE = "soak"
TOPICS = f"edgeseg/{NODE}"
_SAMPLE_EVERY_S = 1.0
_LIVE_WITHIN_S = 120.0
# Without faults, before the first of them and after the last.
_CALM_S = 10.0
# A camera process that hangs, a camera that was away and a broker's longest pause need this long at most.
_HEALED_WITHIN_S = 120.0
_STOPS_WITHIN_S = 30.0
_GONE_WITHIN_S = 10.0

# As the systemd unit has it, where the reason is.
MEMORY = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0", "MALLOC_ARENA_MAX": "1"}

_CAMERA = """\
  {name}:
    source: {source}
    rate: {rate:g}
    gate: off
    health: {health}
    zones:
      right:
        polygon: [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]
        rules:
          seen: {rule}
"""


@dataclass(frozen=True, slots=True)
class SoakSettings:
    """What to run. sources: URLs of real cameras; pictures: what the soak's own cameras show.

    rule: of every camera, as YAML.
    """

    seconds: float
    seed: int
    model: str
    rule: str
    rate: float
    sources: Sequence[str]
    pictures: Sequence[Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class ResourceSample:
    """at_s: since the beginning. resident_mib: of the daemon itself."""

    at_s: float
    resident_mib: float
    holdings: ProcessResources
    live: int


@dataclass(frozen=True, slots=True)
class SoakResult:
    """The result. before, after: resources of the daemon without faults.

    exit_code: None where the daemon ended too early.
    """

    samples: tuple[ResourceSample, ...]
    ages_s: tuple[tuple[float, float], ...]
    faults: Counter[str]
    history: tuple[tuple[float, str], ...]
    alerts: Audit
    late: int
    disorder: int
    before: ProcessResources
    after: ProcessResources
    live: int
    cameras: int
    left_processes: int
    exit_code: int | None


class Soak:
    """folder: of the daemon's state, its log and the pipeline file. Raises EdgesegError where a soak cannot
    begin: no mosquitto, no picture from any camera."""

    def __init__(self, settings: SoakSettings, folder: Path, clock: Clock) -> None:
        self._settings = settings
        self._folder = folder
        self._clock = clock
        self._pause = threading.Event()
        self._samples: list[ResourceSample] = []

    def run(self) -> SoakResult:
        """Return after the planned time, or earlier when the daemon has ended."""
        with ExitStack() as stack:
            broker = stack.enter_context(Mosquitto(self._folder))
            line = stack.enter_context(TcpRelay(broker.port))
            listener = stack.enter_context(SoakSubscriber(broker.port, f"{TOPICS}/#", self._clock))
            lines = []
            for pictures in self._settings.pictures:
                camera = stack.enter_context(CameraServer(pictures, self._clock))
                lines.append(stack.enter_context(TcpRelay(camera.port)))
            sources = [*self._settings.sources, *(f"http://127.0.0.1:{one.port}/camera" for one in lines)]
            names = [f"camera{number}" for number in range(len(sources))]
            file = self._write_pipeline(dict(zip(names, sources, strict=True)), line.port)
            daemon = stack.enter_context(self._daemon(file))
            self._began_s = self._clock.monotonic_s()
            self._until_live(daemon, listener, len(names))
            self._watch(daemon, listener, _CALM_S)
            before = ProcessResources.of(daemon.pid)
            targets = Targets(daemon.pid, broker, listener, line, lines, names, TOPICS)
            faults = Faults(targets, self._settings.seed, self._clock.monotonic_s())
            self._watch(daemon, listener, self._settings.seconds, faults)
            after = self._heal(daemon, listener, faults, before, len(names))
            live = len(listener.live)
            code = self._end(daemon)
            return SoakResult(
                samples=tuple(self._samples),
                ages_s=tuple((at_s - self._began_s, age_s) for at_s, age_s in listener.ages_s),
                faults=faults.counts,
                history=tuple((at_s - self._began_s, kind) for at_s, kind in faults.history),
                alerts=audit(listener.alerts),
                late=sum(alert["replayed"] for alert in listener.alerts),
                disorder=listener.disorder,
                before=before,
                after=after,
                live=live,
                cameras=len(names),
                left_processes=self._left(daemon.pid),
                exit_code=code,
            )

    def _write_pipeline(self, sources: dict[str, str], port: int) -> Path:
        settings = self._settings
        text = f'node: {NODE}\nmqtt: {{url: "mqtt://127.0.0.1:{port}"}}\nmodel: {settings.model}\ncameras:\n'
        for name, source in sources.items():
            # Cameras of the soak's own repeat themselves, and a square is much of their picture.
            health = "on" if source in settings.sources else "off"
            text += _CAMERA.format(
                name=name, source=source, rate=settings.rate, health=health, rule=settings.rule
            )
        file = self._folder / "pipeline.yaml"
        file.write_text(text)
        return file

    @contextmanager
    def _daemon(self, file: Path) -> Iterator[subprocess.Popen[bytes]]:
        environment = os.environ | MEMORY | {"XDG_STATE_HOME": str(self._folder / "state")}
        # Of a service that this soak may itself be.
        environment.pop("STATE_DIRECTORY", None)
        environment.pop("NOTIFY_SOCKET", None)
        with (self._folder / "daemon.log").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "edgeseg", "run", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def _until_live(self, daemon: subprocess.Popen[bytes], listener: SoakSubscriber, count: int) -> None:
        until_s = self._clock.monotonic_s() + _LIVE_WITHIN_S
        while len(listener.live) < count:
            if daemon.poll() is not None or self._clock.monotonic_s() >= until_s:
                raise EdgesegError(
                    f"soak: {len(listener.live)} of {count} cameras gave results within "
                    f"{_LIVE_WITHIN_S:g} s; see {self._folder / 'daemon.log'}"
                )
            self._pause.wait(0.2)

    def _watch(
        self,
        daemon: subprocess.Popen[bytes],
        listener: SoakSubscriber,
        seconds: float,
        faults: Faults | None = None,
    ) -> None:
        until_s = self._clock.monotonic_s() + seconds
        while self._clock.monotonic_s() < until_s and daemon.poll() is None:
            if faults is not None:
                faults.tick(self._clock.monotonic_s())
            self._sample(daemon.pid, listener)
            self._pause.wait(_SAMPLE_EVERY_S)

    def _sample(self, pid: int, listener: SoakSubscriber) -> None:
        at_s = self._clock.monotonic_s() - self._began_s
        try:
            self._samples.append(
                ResourceSample(at_s, resident_mib(pid), ProcessResources.of(pid), len(listener.live))
            )
        except FileNotFoundError:
            # It has ended this very moment; the loop finds out.
            return

    def _heal(
        self,
        daemon: subprocess.Popen[bytes],
        listener: SoakSubscriber,
        faults: Faults,
        before: ProcessResources,
        count: int,
    ) -> ProcessResources:
        """Wait until all is well again, and what is held as before; or until that takes too long."""
        until_s = self._clock.monotonic_s() + _HEALED_WITHIN_S
        after = before
        while self._clock.monotonic_s() < until_s and daemon.poll() is None:
            healed = faults.heal(self._clock.monotonic_s())
            self._sample(daemon.pid, listener)
            after = ProcessResources.of(daemon.pid)
            if healed and len(listener.live) == count and not after.beyond(before):
                break
            self._pause.wait(_SAMPLE_EVERY_S)
        return after

    def _end(self, daemon: subprocess.Popen[bytes]) -> int | None:
        if daemon.poll() is not None:
            return None
        daemon.send_signal(signal.SIGTERM)
        try:
            return daemon.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            return None

    def _left(self, pid: int) -> int:
        """Processes of the daemon that outlive it by more than some seconds."""
        until_s = self._clock.monotonic_s() + _GONE_WITHIN_S
        while (left := len(session(pid))) and self._clock.monotonic_s() < until_s:
            self._pause.wait(0.1)
        return left


def quantile(values: Sequence[float], share: float) -> float:
    """0 of nothing."""
    if len(values) < 2:
        return values[0] if values else 0.0
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]
