"""The example files in the hands of what they are for: Node-RED, linters of Dockerfiles, the compose schema.

`make test-examples` runs it, with these tools from npm and PyPI in a folder of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from edgeseg.clock import SystemClock
from edgeseg.events import ZoneOccupancy
from edgeseg.publish.topics import Topics
from tests.support.broker import Broker, Subscriber, accepts, free_port, wait_until
from tests.support.publish_events import alert, occupancy
from tests.test_examples import DOCKER, EXAMPLES

TOOLS = Path(os.environ.get("EDGESEG_EXAMPLE_TOOLS", ""))
MODULES = TOOLS / "node_modules"
pytestmark = pytest.mark.skipif(
    "EDGESEG_EXAMPLE_TOOLS" not in os.environ, reason="needs Node-RED and linters: make test-examples"
)
STARTS_WITHIN_S = 90.0


def test_the_flow_in_node_red(tmp_path: Path) -> None:
    with (
        Broker(tmp_path) as broker,
        Subscriber(broker.port) as everything,
        (tmp_path / "node-red.log").open("wb") as log,
    ):
        flow = (EXAMPLES / "node-red-flow.json").read_text(encoding="utf-8")
        (tmp_path / "flow.json").write_text(flow.replace('"port": "1883"', f'"port": "{broker.port}"'))
        port = free_port()
        settings = (
            f"module.exports = {{uiHost: '127.0.0.1', uiPort: {port}, telemetry: {{enabled: false}}}}\n"
        )
        (tmp_path / "settings.js").write_text(settings)
        node_red = subprocess.Popen(
            [str(MODULES / ".bin" / "node-red"), "--userDir", str(tmp_path), str(tmp_path / "flow.json")],
            stdout=log,
            stderr=log,
        )
        try:
            wait_until(lambda: accepts(port), "Node-RED", deadline_s=STARTS_WITHIN_S)
            wait_until(lambda: broker.log_text.count("SUBSCRIBE") >= 3, "its subscriptions")
            topics = Topics("edgeseg", "warehouse", boot="b1", clock=SystemClock())

            def send(event: object) -> None:
                for message in topics.messages(event):  # type: ignore[arg-type]
                    place = message.topic.replace("zone/gate", "zone/bay")
                    everything.publish(place, message.payload, retain=message.retain)

            send(alert())
            send(alert())
            told = everything.wait_for_payload("edgeseg-example/notice", "yard/gate: blocked at 50 %")
            assert told.qos == 1
            send(covered(0.0))
            everything.wait_for_payload("yard/set/rate", "1")
            send(covered(0.3))
            everything.wait_for_payload("yard/set/rate", "5")
            send(occupancy(3, unknown="dark"))
            send(covered(0.4))
            everything.wait_for_payload("class/vehicle", "40.0")
            assert len(everything.on("edgeseg-example/notice")) == 1, "once, though the alert came twice"
            assert len(everything.on("set/rate")) == 2, (
                "neither unknown nor more of the same changes the rate"
            )
        finally:
            node_red.terminate()
            node_red.wait(240)
            print((tmp_path / "node-red.log").read_text())


def covered(share: float) -> ZoneOccupancy:
    return occupancy(coverage={"road": 1 - share, "vehicle": share})


@pytest.mark.parametrize("linter", ["dockerfilelint", "dockerfile-utils"])
def test_the_dockerfile_has_no_flaw(linter: str) -> None:
    command = {
        "dockerfilelint": ["dockerfilelint", "--output", "json", "Dockerfile"],
        "dockerfile-utils": ["dockerfile-utils", "lint", "Dockerfile"],
    }[linter]
    path = str(MODULES / ".bin" / command[0])
    answer = subprocess.run([path, *command[1:]], cwd=DOCKER, capture_output=True, text=True, timeout=280)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    if linter == "dockerfilelint":
        assert json.loads(answer.stdout)["totalIssues"] == 0


def test_the_compose_file_is_one(tmp_path: Path) -> None:
    right = DOCKER / "compose.yaml"
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(right.read_text(encoding="utf-8").replace("read_only:", "read_onyl:"))
    for path, code in ((right, 0), (wrong, 1)):
        command = [
            str(TOOLS / "bin" / "check-jsonschema"),
            "--builtin-schema",
            "vendor.compose-spec",
            str(path),
        ]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=280)
        assert answer.returncode == code, answer.stdout + answer.stderr
