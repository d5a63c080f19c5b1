"""A daemon, its cameras and its broker, and a watcher who notes when it hears what."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from edgeseg.clock import parse_utc
from edgeseg.tools.soak.process_resources import ProcessResources, session
from tests.support.broker import Broker, Received, Subscriber, wait_until
from tests.support.daemon import Daemon
from tests.support.tiny_models import Convention, write_model

T = TypeVar("T")

CAMERA = """\
  {name}:
    source: {source}
    rate: {rate}
    # Every picture counts: frame rates are compared.
    gate: off
    health: {health}
    zones:
      right:
        polygon: [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]
        rules:
          seen: {{occupied: [red], enter: 5 %, leave: 2 %, for: {for_}, clear: {for_}}}
"""
# Beyond this a wait has failed; on a machine that does other things as well.
PATIENCE_S = 60.0
LEAKS_SETTLE_S = 15.0


@dataclass(frozen=True)
class ReceivedMessage:
    """at_s: monotonic."""

    at_s: float
    topic: str
    payload: Any


def write_pipeline(
    folder: Path,
    cameras: Mapping[str, str],
    port: int,
    *,
    rate: float = 5,
    for_: str = "200 ms",
    model: Path | None = None,
    node: str = "test",
    health: str = "off",
) -> Path:
    """A pipeline file in ``folder``, by default with the tiny network, which is made there. health: off for
    clips that repeat themselves."""
    if model is None:
        model = folder / "tiny"
        if not model.exists():
            write_model(model, Convention())
    text = f'node: {node}\nmqtt: {{url: "mqtt://127.0.0.1:{port}"}}\nmodel: {model}\ncameras:\n'
    for name, source in cameras.items():
        text += CAMERA.format(name=name, source=source, rate=rate, for_=for_, health=health)
    file = folder / "pipeline.yaml"
    file.write_text(text)
    return file


class Watcher(Subscriber):
    """A subscriber to everything that notes when each message came."""

    def __init__(self, port: int, **options: Any) -> None:
        super().__init__(port, "#", **options)
        self.heard: list[ReceivedMessage] = []

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        try:
            payload: Any = json.loads(message.payload)
        except ValueError:
            payload = message.payload
        self.heard.append(ReceivedMessage(time.monotonic(), message.topic, payload))
        super()._on_message(client, userdata, message)

    def since(self, at_s: float, topic_end: str) -> list[ReceivedMessage]:
        return [one for one in list(self.heard) if one.at_s >= at_s and one.topic.endswith(topic_end)]

    def first(
        self, at_s: float, topic_end: str, fits: Callable[[Any], bool], *, within_s: float = PATIENCE_S
    ) -> float:
        """Wait for a message after ``at_s`` whose payload fits. Returns the seconds until it came."""

        def found() -> ReceivedMessage | None:
            return next((one for one in self.since(at_s, topic_end) if fits(one.payload)), None)

        heard = wait_until(found, f"{topic_end} that fits", deadline_s=within_s)
        return heard.at_s - at_s

    @property
    def alerts(self) -> list[Any]:
        return [one.payload for one in list(self.heard) if one.topic.endswith("/alert")]


class Scene:
    """``with Scene(folder, {"yard": url}) as scene``: everything runs, and every camera is live.

    broker: an own one, already started. port: where the daemon finds it, for a relay between.
    """

    def __init__(
        self,
        folder: Path,
        cameras: Mapping[str, str],
        *,
        rate: float = 5,
        for_: str = "200 ms",
        broker: Broker | None = None,
        port: int | None = None,
        model: Path | None = None,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        wait_for: Sequence[str] | None = None,
        health: str = "off",
    ) -> None:
        self.folder = folder
        self.cameras = dict(cameras)
        self._rate = rate
        self._for = for_
        self._given_broker = broker
        self._port = port
        self._model = model
        self._health = health
        self._environment = dict(environment or {})
        self._prefix = prefix
        self._wait_for = self.cameras if wait_for is None else wait_for

    def __enter__(self) -> Scene:
        with ExitStack() as stack:
            self.broker = self._given_broker or stack.enter_context(Broker(self.folder))
            self.watcher = stack.enter_context(Watcher(self.broker.port))
            self.file = self.write_pipeline()
            self.daemon = stack.enter_context(Daemon(self.file, self._environment, self._prefix))
            stack.callback(self._nothing_left)
            for camera in self._wait_for:
                self.until_results(camera, time.monotonic())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def pid(self) -> int:
        return self.daemon.process.pid

    def write_pipeline(self, cameras: Mapping[str, str] | None = None) -> Path:
        return write_pipeline(
            self.folder,
            cameras or self.cameras,
            self._port or self.broker.port,
            rate=self._rate,
            for_=self._for,
            model=self._model,
            health=self._health,
        )

    def until_not_live(self, camera: str, at_s: float, *, within_s: float = PATIENCE_S) -> float:
        """Seconds from ``at_s`` until subscribers were told that the camera gives no results."""
        return self.watcher.first(
            at_s, f"/{camera}/status", lambda status: status["state"] != "live", within_s=within_s
        )

    def until_results(self, camera: str, at_s: float, *, within_s: float = PATIENCE_S) -> float:
        """Seconds from ``at_s`` until the first occupancy that is known."""
        return self.watcher.first(
            at_s,
            f"/{camera}/zone/right/occupancy",
            lambda occupancy: occupancy["state"] == "ok",
            within_s=within_s,
        )

    def until_alert(self, at_s: float, camera: str | None = None, *, within_s: float = PATIENCE_S) -> float:
        """Seconds from ``at_s`` until a new alert of the camera (of any)."""
        return self.watcher.first(
            at_s,
            "/alert",
            lambda alert: alert["event"] == "new" and camera in (None, alert["camera"]),
            within_s=within_s,
        )

    def until_caught_up(self) -> None:
        """Until nothing that waited is still on its way: two alerts have come that happen now."""
        for _ in range(2):
            self.watcher.first(
                time.monotonic(), "/alert", lambda alert: alert["event"] == "new" and not alert["replayed"]
            )

    def fps(self, camera: str, for_s: float) -> float:
        """Known results a second, measured from now on by when their pictures were taken."""
        at_s = time.monotonic()
        pause(for_s)
        topic = f"/{camera}/zone/right/occupancy"
        taken = [
            parse_utc(one.payload["captured_at"])
            for one in self.watcher.since(at_s, topic)
            if one.payload["state"] == "ok"
        ]
        assert len(taken) > 2, f"{camera} gave {len(taken)} results in {for_s} s"
        return (len(taken) - 1) / (taken[-1] - taken[0])

    def leaks(self, before: ProcessResources) -> int:
        """What stays behind; what is still being taken down gets some seconds."""
        now = ProcessResources.of(self.pid)
        until_s = time.monotonic() + LEAKS_SETTLE_S
        while now.beyond(before) and time.monotonic() < until_s:
            pause(0.2)
            now = min(now, ProcessResources.of(self.pid), key=lambda one: one.beyond(before))
        if now.beyond(before):
            print(f"held before: {before}; now: {now}")
        return now.beyond(before)

    def messages(self, topic_end: str) -> list[Received]:
        return self.watcher.on(topic_end)

    def _nothing_left(self) -> None:
        if self.daemon.process.poll() is None:
            self.daemon.stop()
        wait_until(lambda: not session(self.pid), "no process of the daemon is left")


def pause(seconds: float) -> None:
    """Let time pass: for faults that last."""
    threading.Event().wait(seconds)
