"""The example files: in shape, and about names, topics and commands that edgeseg really has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
import yaml

from edgeseg import config
from edgeseg.cli import parser
from edgeseg.clock import SystemClock
from edgeseg.models import registry
from edgeseg.publish.homeassistant.discovery import devices
from edgeseg.publish.mqtt.commands import parse
from edgeseg.publish.mqtt.outbox import Outbox
from edgeseg.publish.mqtt.publisher import MqttPublisher
from edgeseg.publish.topics import TABLE, Topics
from edgeseg.settings import HomeAssistantSettings, MqttSettings, PipelineSettings, Secret
from tests.conftest import missing
from tests.support.broker import Broker, Subscriber, free_port, wait_until
from tests.support.homeassistant_pipeline import PIPELINE, devices_of, settings_of
from tests.support.publish_events import alert, occupancy, rule_state

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "docs" / "examples"
DOCKER = EXAMPLES / "docker"
BASE = "edgeseg/warehouse"
_BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def loading_bay() -> PipelineSettings:
    """What the examples are for."""
    return config.load(ROOT / "pipelines" / "loading-bay.yaml")


def block(page: str, language: str, words: str) -> str:
    """The piece of code on a page that has these words in it."""
    found = _BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    (piece,) = [text for kind, text in found if kind == language and words in text]
    return str(piece)


def test_automations_are_about_entities_that_are_announced(loading_bay: PipelineSettings) -> None:
    assert loading_bay.homeassistant == HomeAssistantSettings(), "the file that they are for has it on"
    text = (EXAMPLES / "homeassistant-automations.yaml").read_text(encoding="utf-8")
    rules = yaml.safe_load(text)
    assert all({"alias", "triggers", "actions"} <= rule.keys() for rule in rules)
    classes_of = {camera.model: registry.find(camera.model).classes for camera in loading_bay.cameras}
    announced = devices(loading_bay, BASE, classes_of).values()
    ids = {part["default_entity_id"] for device in announced for part in device["components"].values()}
    named = set(
        re.findall(r"\b(?:sensor|binary_sensor|event|button|switch|number|image)\.warehouse\w+", text)
    )
    assert len(named) >= 5
    assert named <= ids


def test_the_flow_hears_and_says_what_edgeseg_does(loading_bay: PipelineSettings) -> None:
    nodes = json.loads((EXAMPLES / "node-red-flow.json").read_text(encoding="utf-8"))
    ids = [node["id"] for node in nodes]
    assert len(set(ids)) == len(ids)
    assert all(wire in ids for node in nodes for output in node.get("wires", []) for wire in output)
    used = [node for node in nodes if node["type"] not in ("tab", "mqtt-broker")]
    assert {node["z"] for node in used} | {node["broker"] for node in used if "broker" in node} <= set(ids)
    assert "credentials" not in json.dumps(nodes[1])
    heard = [node["topic"] for node in nodes if node["type"] == "mqtt in"]
    assert len(heard) == 2
    for topic in heard:
        assert published(topic, loading_bay), topic
    (said,) = [node["topic"] for node in nodes if node["type"] == "mqtt out" and node["topic"]]
    assert parse(BASE, said, b"5").camera in {camera.name for camera in loading_bay.cameras}


def published(topic: str, settings: PipelineSettings) -> bool:
    """Whether it is one of the topics, with names of the file."""
    names: dict[str, set[str]] = {
        "camera": {camera.name for camera in settings.cameras},
        "zone": {zone.name for camera in settings.cameras for zone in camera.zones},
        "rule": {rule.name for c in settings.cameras for zone in c.zones for rule in zone.rules},
        "class": {*settings.groups, *registry.find(settings.cameras[0].model).classes},
    }
    below = re.sub(r"^edgeseg/(\+|warehouse)/", "", topic)
    for row in TABLE:
        pattern = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", row.template)
        if found := re.fullmatch(pattern, below):
            return all(value in ("+", *names[what]) for what, value in found.groupdict().items())
    return False


def test_the_container_runs_a_command_that_exists_and_not_as_root() -> None:
    lines = (DOCKER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    words = dict(steps)
    assert json.loads(words["ENTRYPOINT"]) == ["edgeseg"]
    assert parser().parse_args(json.loads(words["CMD"])).log == "json"
    assert words["USER"].isdecimal()
    assert words["USER"] != "0"
    kept = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    needed = {line.removeprefix("!") for line in kept if line.startswith("!")}
    assert all((ROOT / name).exists() for name in needed)
    # What hatchling reads, and the lock.
    assert needed >= {"edgeseg", "models", "pipelines", "systemd", "pyproject.toml", "README.md", "LICENSE"}
    assert any("requirements/demo.lock" in rest for _, rest in steps)
    assert "requirements" in needed


def test_compose_names_what_is_there() -> None:
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
    service = compose["services"]["edgeseg"]
    build = service["build"]
    assert (DOCKER / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()
    assert set(service["depends_on"]) < set(compose["services"])
    assert set(service["secrets"]) == set(compose["secrets"]) == {"mqtt_password"}
    named = {volume.split(":")[0] for one in compose["services"].values() for volume in one["volumes"]}
    assert {name for name in named if not name.startswith("./")} == set(compose["volumes"])
    ours = {"./mosquitto.conf"}
    made = {"./pipeline.yaml"}
    assert {name for name in named if name.startswith("./")} == ours | made
    # Nothing that holds a password is in the file or can be taken into the image.
    assert "password" not in json.dumps(service["environment"]).lower()


def test_the_brokers_configuration_is_one(tmp_path: Path) -> None:
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin") or missing("mosquitto")
    hasher = shutil.which("mosquitto_passwd", path="/usr/sbin:/usr/bin") or missing("mosquitto_passwd")
    port = free_port()
    text = (DOCKER / "mosquitto.conf").read_text(encoding="utf-8")
    text = text.replace("/mosquitto/data", str(tmp_path)).replace(
        "listener 1883", f"listener {port} 127.0.0.1"
    )
    (tmp_path / "mosquitto.conf").write_text(f"user root\n{text}")
    subprocess.run([str(hasher), "-c", "-b", str(tmp_path / "passwords"), "edgeseg", "hush"], check=True)
    broker = subprocess.Popen(
        [str(program), "-c", str(tmp_path / "mosquitto.conf")], stderr=subprocess.DEVNULL
    )
    try:
        assert wait_until(lambda: answer(port, "edgeseg", "hush"), "an answer") == "Success"
        assert answer(port, None, None) == "Not authorized"
    finally:
        broker.terminate()
        broker.wait(240)


def answer(port: int, user: str | None, password: str | None) -> str | None:
    """What the broker says to a login, in words; None where it is not there."""
    said: list[str] = []
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_connect = lambda client, _, flags, reason, properties: said.append(str(reason))
    if user is not None:
        client.username_pw_set(user, password)
    try:
        client.connect("127.0.0.1", port)
    except OSError:
        return None
    while not said and client.loop(0.2) == mqtt.MQTT_ERR_SUCCESS:
        pass
    client.disconnect()
    return said[0] if said else None


def test_the_recipes_shell_is_shell() -> None:
    page = (ROOT / "docs" / "ten-devices.md").read_text(encoding="utf-8")
    pieces = [text for kind, text in _BLOCK.findall(page) if kind == "sh"]
    assert len(pieces) == 3
    for piece in pieces:
        checked = subprocess.run(["bash", "-n"], input=piece, text=True, capture_output=True)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_the_recipes_access_list_lets_a_node_do_its_own_and_no_more(tmp_path: Path) -> None:
    acl = block("docs/ten-devices.md", "", "pattern readwrite")
    users = {"gatehouse": "g", "other": "o", "homeassistant": "h"}
    clock = SystemClock()
    with (
        Broker(tmp_path, users=users, acl=acl) as broker,
        Subscriber(broker.port, "#", username="homeassistant", password="h") as home,
    ):
        publisher = MqttPublisher(
            MqttSettings("127.0.0.1", broker.port, False, None, "gatehouse", Secret("g"), None, "edgeseg"),
            Topics("edgeseg", "gatehouse", boot="b1", clock=clock),
            Outbox(None, clock),
            clock,
            on_command=lambda command: None,
            discovery_prefixes=("homeassistant",),
        )
        announced = devices_of(settings_of(PIPELINE, tmp_path))
        publisher.announce(announced, "homeassistant")
        with publisher:
            publisher.send(rule_state("ON"))
            home.wait_for_payload("rule/blocked", "ON")
            for topic in announced:
                home.wait_for(lambda all_, topic=topic: [one for one in all_ if one.topic == topic], topic)  # type: ignore[misc]
            home.forget()
            home.publish("homeassistant/status", "online")
            home.wait_for_payload("rule/blocked", "ON")
            assert publisher.counts.refused == 0
        with Subscriber(broker.port, "edgeseg/gatehouse/#", username="other", password="o") as other:
            other.publish("edgeseg/gatehouse/yard/set/enabled", "OFF")
            assert other.messages == []


def test_the_documented_subscriber(tmp_path: Path) -> None:
    program = block("docs/mqtt.md", "python", "paho")
    assert len([line for line in program.splitlines() if line.strip()]) <= 22
    with Broker(tmp_path, users={"watcher": "w"}) as broker:
        environment = {"MQTT_HOST": "127.0.0.1", "MQTT_PORT": str(broker.port), "MQTT_USER": "watcher"}
        process = subprocess.Popen(
            [sys.executable, "-u", "-W", "error", "-c", program],
            stdout=subprocess.PIPE,
            text=True,
            env={**environment, "MQTT_PASSWORD": "w"},
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "Success\n"
            # It subscribes after it has said so, and what is not retained is lost on it until then.
            wait_until(lambda: "Sending SUBACK" in broker.log_text, "a subscription")
            topics = Topics("edgeseg", "gatehouse", boot="b1", clock=SystemClock())
            with Subscriber(broker.port, "nothing", username="watcher", password="w") as publisher:
                for event in (occupancy(), occupancy(2, unknown="dark"), alert()):
                    message = topics.messages(event)[0]
                    publisher.publish(message.topic, message.payload, retain=message.retain)
            said = [process.stdout.readline() for _ in range(3)]
        finally:
            process.kill()
            process.communicate()
    assert said == [
        "yard/gate: {'road': 0.6, 'car': 0.1235, 'vehicle': 0.1235}\n",
        "yard/gate: unknown, dark\n",
        "ALERT new yard/gate: blocked\n",
    ]


def test_the_examples_are_linked_from_the_readme() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("homeassistant-automations.yaml", "node-red-flow.json", "docker/compose.yaml"):
        assert f"](docs/examples/{name})" in page
