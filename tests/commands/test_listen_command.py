"""``edgeseg listen`` against a real broker: lines, JSON, a terminal; credentials, refusals, Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgeseg.clock import ManualClock
from edgeseg.commands.listen.latest_values import NodeValues
from edgeseg.publish.base import Message
from edgeseg.publish.topics import Topics
from tests.support.broker import Broker, Subscriber, wait_until
from tests.support.publish_events import (
    NOON_S,
    alert,
    camera_alert,
    occupancy,
    one_of_each,
    rule_state,
    status,
)

ENDS_WITHIN_S = 90


class Listener:
    """``edgeseg listen`` as a process; what it prints is kept."""

    def __init__(
        self, *arguments: str, environment: dict[str, str] | None = None, terminal: bool = False
    ) -> None:
        self._lines: list[str] = []
        self._ours, output = pty.openpty() if terminal else os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgeseg", "listen", *arguments],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "120", "TERM": "xterm", **(environment or {})},
        )
        os.close(output)
        self._text = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        return self._text

    def error_line(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline().rstrip("\n")

    def wait_for(self, words: str) -> None:
        wait_until(lambda: words in self._text, f"{words!r} in {self._text!r}")

    def end(self) -> tuple[int, str]:
        """Ctrl-C. Returns the exit code and what stood on standard error."""
        self.process.send_signal(signal.SIGINT)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=ENDS_WITHIN_S)
        self._reader.join(ENDS_WITHIN_S)
        os.close(self._ours)
        return self.process.returncode, errors

    def _read(self) -> None:
        # A terminal whose other end is gone is an error to its reader.
        try:
            while piece := os.read(self._ours, 65536):
                self._text += piece.decode(errors="replace")
        except OSError:
            pass


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Starts listeners; what a failed test leaves is killed."""
    started: list[Listener] = []

    def start(*arguments: str, **more: Any) -> Listener:
        started.append(Listener(*arguments, **more))
        return started[-1]

    yield start
    for listener in started:
        if listener.process.poll() is None:
            listener.process.kill()
            listener.ended()


@contextmanager
def node(broker: Broker, user: str | None = None, password: str | None = None) -> Iterator[Subscriber]:
    """What a node leaves at the broker."""
    with Subscriber(broker.port, "nothing", username=user, password=password) as publisher:
        for message in messages():
            publisher.publish(message.topic, message.payload, retain=message.retain)
        yield publisher


def messages() -> list[Message]:
    topics = Topics("edgeseg", "gatehouse", boot="b1", clock=ManualClock(utc_s=NOON_S))
    return [topics.status("online"), *(one for event in one_of_each() for one in topics.messages(event))]


def test_a_line_for_each_change(listen: Callable[..., Listener], tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, node(broker) as publisher:
        listener = listen(broker.url)
        listener.wait_for("gatehouse: online")
        listener.wait_for("yard/gate: unknown: stale")
        topics = Topics("edgeseg", "gatehouse", boot="b1", clock=ManualClock(utc_s=NOON_S))
        for event in (occupancy(3), rule_state("ON"), occupancy(4), alert(1)):
            for message in topics.messages(event):
                publisher.publish(message.topic, message.payload, retain=message.retain)
        listener.wait_for("ALERT")
        code, errors = listener.end()
    assert code == 0
    assert "Traceback" not in errors
    assert listener.text.splitlines()[-3:] == [
        "11:06:40 gatehouse yard/gate: road 60 %, car 12 %, vehicle 12 %",
        "         gatehouse yard/gate: rule blocked ON",
        "11:06:50 gatehouse yard/gate: ALERT new blocked (occupied) at 50 %",
    ]


def test_everything_as_json_lines(listen: Callable[..., Listener], tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, node(broker) as publisher:
        listener = listen("--json", broker.url)
        listener.wait_for('"retain":true,"payload":"online"')
        publisher.publish("edgeseg/gatehouse/alert", '{"event":"new"}')
        listener.wait_for('"event"')
        assert listener.end()[0] == 0
    lines = [json.loads(line) for line in listener.text.splitlines()]
    assert lines[-1] == {"topic": "edgeseg/gatehouse/alert", "retain": False, "payload": {"event": "new"}}
    picture = next(line for line in lines if line["topic"].endswith("snapshot"))
    assert picture["payload"]["bytes"] > 0


def test_a_live_table_on_a_terminal(listen: Callable[..., Listener], tmp_path: Path) -> None:
    pytest.importorskip("rich")
    with Broker(tmp_path) as broker, node(broker):
        listener = listen(broker.url, terminal=True)
        listener.wait_for("unknown: stale")
        assert listener.end()[0] == 0
    assert "covered by" in listener.text


def test_credentials_of_the_file_or_the_environment_and_nowhere_else(
    listen: Callable[..., Listener], tmp_path: Path
) -> None:
    users = {"edgeseg": "hunter2", "watcher": "s3cret"}
    with Broker(tmp_path, users=users) as broker, node(broker, "edgeseg", "hunter2"):
        file = tmp_path / "gatehouse.yaml"
        file.write_text(
            f'node: n\nmqtt: {{url: "{broker.url}", username: watcher, password_file: password}}\n'
            # Whoever listens need not know the cameras' passwords.
            "cameras: {yard: {source: 'rtsp://viewer:${NOT_SET}@10.0.0.5/x'}}\n"
        )
        (tmp_path / "password").write_text("s3cret\n")
        given = {"EDGESEG_MQTT_USERNAME": "watcher", "EDGESEG_MQTT_PASSWORD": "s3cret"}
        for arguments, environment in (((str(file),), {}), ((broker.url,), given)):
            listener = listen(*arguments, environment=environment)
            listener.wait_for("gatehouse: online")
            command_line = Path(f"/proc/{listener.process.pid}/cmdline").read_text()
            code, errors = listener.end()
            assert code == 0
            assert "s3cret" not in errors + listener.text + command_line
        code, errors = listen(broker.url, environment={**given, "EDGESEG_MQTT_PASSWORD": "wr0ng"}).ended()
        assert code == 2
        assert "refused" in errors
        assert "wr0ng" not in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mqtt://viewer:hush@host"], "EDGESEG_MQTT_PASSWORD"),
        (["http://host"], "expected mqtt://host"),
        (["--node", "a/b"], "--node: '/' cannot be in a name"),
        (["--prefix", "a/#"], "--prefix: got 'a/#'"),
        (["none.yaml"], "none.yaml"),
    ],
)
def test_mistakes_are_one_line(
    listen: Callable[..., Listener], tmp_path: Path, arguments: list[str], words: str
) -> None:
    code, errors = listen(*arguments).ended()
    assert code == 2
    assert words in errors
    assert errors.count("\n") == 1
    assert "hush" not in errors


def test_a_broker_that_is_not_there_is_waited_for(listen: Callable[..., Listener], tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    listener = listen(broker.url)
    while "Connection refused" not in (said := listener.error_line()):
        assert "connecting" in said
    with broker, node(broker):
        assert listener.error_line() == f"{broker.url}: connected"
        listener.wait_for("gatehouse: online")
        assert listener.end()[0] == 0


def test_whatever_stands_at_the_broker_is_only_shown() -> None:
    values = NodeValues("edgeseg")
    hostile = [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"state":3}',
        b'{"state":"ok","coverage":{"a":"b"}}',
        b"\xff" * 300,
    ]
    places = (
        "n/status",
        "n/alert",
        "n/c/status",
        "n/c/zone/z/occupancy",
        "n/c/zone/z/rule/r",
        "n",
        "other/x",
    )
    for place in places:
        for payload in (*hostile, b'{"event":"\\u001b[2J","at":5,"evidence":[1],"state":"\\u001b]0;x"}'):
            line = values.receive(f"edgeseg/{place}", payload)
            assert line is None or line.isprintable()
    assert values.receive("elsewhere/n/status", b"online") is None
    for number in range(3000):
        values.receive(f"edgeseg/n/c/zone/z{number}/occupancy", b'{"state":"ok","coverage":{}}')
    assert len(values.zones) <= 2000


def test_what_is_taken_back_goes() -> None:
    values = NodeValues("edgeseg")
    topics = Topics("edgeseg", "gatehouse", boot="b1", clock=ManualClock(utc_s=NOON_S))
    for event in (status(), occupancy(), rule_state(), camera_alert()):
        for message in topics.messages(event):
            values.receive(message.topic, message.payload)
    assert values.cameras == {("gatehouse", "yard"): "live"}
    assert values.zones["gatehouse", "yard", "gate"].rules == {"blocked": "ON"}
    assert "gatehouse yard: ALERT end offline (camera) cleared" in values.alerts[0]
    values.receive("edgeseg/gatehouse/yard/zone/gate/rule/blocked", b"")
    assert values.zones["gatehouse", "yard", "gate"].rules == {}
    values.receive("edgeseg/gatehouse/yard/zone/gate/occupancy", b"")
    values.receive("edgeseg/gatehouse/yard/status", b"")
    assert (values.zones, values.cameras) == ({}, {})
