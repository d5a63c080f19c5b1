"""What the README's threat model promises, where no other test shows it."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edgeseg
from edgeseg import config
from edgeseg.cli import main
from edgeseg.errors import ConfigError, EdgesegError
from edgeseg.models import registry
from edgeseg.models.manifest import load as load_manifest
from edgeseg.web.routes import ROUTES
from tests.support.broker import Broker, Certificates, Subscriber, free_port, wait_until
from tests.support.daemon import Daemon
from tests.support.examples import examples
from tests.support.rtsp_fixtures import RtspServer

PACKAGE = Path(edgeseg.__file__).parent
MODEL = "deeplabv3plus-mnv2-camvid"

# With characters that URLs and YAML dislike; each of its own, so that a leak says whose it is.
SECRETS = {
    "right for the camera": "cam/right@1#",
    "wrong for the camera": "cam/wrong@2#",
    "wrong in a query": "query-wrong-3",
    "right for the broker": "broker-right%4",
    "wrong for the broker": "broker-wrong%5",
    "a bystander's": "bystander-6!",
    "the web server's token": "token/of the-web-7",
}
# All sections that look at what the file names.
DOCTOR = "--only disk --only clock --only service --only broker --only cameras"

PIPELINE = """\
node: gatehouse
mqtt: {{url: "{broker}", username: edgeseg, password_file: {password_file}{more}}}
web: {{listen: "127.0.0.1:{port}", token_file: web_token}}
model: deeplabv3plus-mnv2-camvid
# Measuring engines first takes a while; what the clip shows by then counts for nothing here.
engine: onnxruntime
cameras:
  right:
    source: "rtsp://viewer:${{RIGHT}}@{place}"
    health: off
    zones: {{z: {{polygon: [[0, 0], [1, 0], [1, 1]]}}}}
  wrong: {{source: "rtsp://viewer:${{WRONG}}@{place}"}}
  query: {{source: "http://127.0.0.1:9/x?token=${{QUERY}}"}}
"""


@pytest.fixture
def camera(tiny_clip: Path) -> Iterator[RtspServer]:
    with RtspServer(
        tiny_clip, user="viewer", password=SECRETS["right for the camera"], digest=True
    ) as server:
        yield server


def pipeline(folder: Path, camera: RtspServer, broker: str, more: str = "") -> Path:
    for name in ("right", "wrong"):
        (folder / f"mqtt_{name}").write_text(SECRETS[f"{name} for the broker"] + "\n")
    (folder / "web_token").write_text(SECRETS["the web server's token"] + "\n")
    file = folder / "gatehouse.yaml"
    place = camera.url_with(None, None).removeprefix("rtsp://")
    file.write_text(
        PIPELINE.format(broker=broker, place=place, password_file="mqtt_right", more=more, port=free_port())
    )
    return file


ENVIRONMENT = {
    "RIGHT": SECRETS["right for the camera"],
    "WRONG": SECRETS["wrong for the camera"],
    "QUERY": SECRETS["wrong in a query"],
    "BYSTANDER": SECRETS["a bystander's"],
}


def secrets_in(text: str) -> list[str]:
    return [whose for whose, secret in SECRETS.items() if secret in text or quote(secret, safe="") in text]


def _filled(path: str) -> str:
    return path.format_map({"camera": "right", "zone": "z", "alert": "none-1", "part": "before"})


def pages(file: Path) -> str:
    """All that the web server says to who has the token, to who has none, and to who has a wrong one."""
    web = config.load(file).web
    assert web is not None
    files = [f"/{path.name}" for path in sorted((PACKAGE / "web" / "static").iterdir())]
    paths = ["/", *files, *(route.path for route in ROUTES if route.method == "GET" and route.handler)]
    said = ""
    for token in (SECRETS["the web server's token"], None, "another-token-0123"):
        for path in paths:
            request = Request(f"http://127.0.0.1:{web.port}" + _filled(path))
            if token is not None:
                request.add_header("Authorization", f"Bearer {token}")
            try:
                with urlopen(request, timeout=120) as answer:
                    said += f"{path} {answer.headers}\n{answer.read().decode('latin-1')}\n"
            except HTTPError as refusal:
                said += f"{path} {refusal.headers}\n{refusal.read().decode('latin-1')}\n"
    return said


def output_of(command: str, file: Path) -> str:
    """Of a command with a pipeline file, standard error included; it has to end by itself."""
    name, *options = command.split()
    answer = subprocess.run(
        [sys.executable, "-m", "edgeseg", name, str(file), *options],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, **ENVIRONMENT},
    )
    assert "Traceback" not in answer.stderr
    # What install-service prints holds the file itself.
    return answer.stderr + ("" if name == "install-service" else answer.stdout)


def titles(pid: int) -> str:
    """The command lines and names of a process and all that come from it."""
    said = ""
    for task in Path(f"/proc/{pid}/task").iterdir():
        said += (task / "comm").read_text() + (task / "cmdline").read_text()
        for child in (task / "children").read_text().split():
            said += titles(int(child))
    return said


def test_no_output_holds_a_credential(camera: RtspServer, tmp_path: Path) -> None:
    """Everything that a run puts out: log, state folder, process titles, all messages at the broker."""
    state = tmp_path / "state"
    with Broker(tmp_path, users={"edgeseg": SECRETS["right for the broker"], "watcher": "w"}) as broker:
        file = pipeline(tmp_path, camera, broker.url)
        with Subscriber(broker.port, "#", username="watcher", password="w") as subscriber:
            with Daemon(file, {**ENVIRONMENT, "XDG_STATE_HOME": str(state)}) as daemon:
                subscriber.wait_for_payload("gatehouse/status", "online")
                for words in (b'"live"', b'"auth"', b'"refused"'):
                    subscriber.wait_for(
                        lambda all_, words=words: [one for one in all_ if words in one.payload],
                        f"a camera that is {words!r}",
                    )
                subscriber.publish("edgeseg/gatehouse/right/set/rate", "9" * 500)
                subscriber.publish("edgeseg/gatehouse/right/set/rate", "4")
                subscriber.wait_for_payload("right/rate", "4")
                named = titles(daemon.process.pid)
                shown = pages(file)
                told = output_of("top --once", file) + output_of(f"doctor --json {DOCTOR}", file)
                assert daemon.stop() == 0
            messages = "".join(
                f"{one.topic} {one.payload.decode('latin-1')}\n" for one in subscriber.messages
            )
        # A broker that refuses the password, and one that asks for TLS.
        broker.users = {"edgeseg": "another-pass-8", "watcher": "w"}
        broker.reload()
        file.write_text(file.read_text().replace("mqtt_right", "mqtt_wrong"))
        with Daemon(file, ENVIRONMENT) as refused:
            refused.wait_for_log("user or password")
            refused.stop()
    kept = "".join(path.read_bytes().decode("latin-1") for path in state.rglob("*") if path.is_file())
    everything = {
        "log": daemon.log + refused.log,
        "standard output": daemon.output + refused.output,
        "messages": messages,
        "titles": named,
        "pages": shown,
        "commands": told,
        "state": kept,
    }
    assert all(everything[name] for name in ("log", "messages", "titles"))
    assert all(words in shown for words in ("<html", "edgeseg_", '"cameras"'))
    assert "right" in told
    assert {name: secrets_in(text) for name, text in everything.items() if secrets_in(text)} == {}


@pytest.mark.parametrize(
    "command",
    [
        *("check", "check --live", "check --live --json", "run", "install-service --print", "top --once"),
        f"doctor {DOCTOR}",
    ],
)
def test_no_mistake_shows_a_credential(command: str, camera: RtspServer, tmp_path: Path) -> None:
    file = pipeline(tmp_path, camera, "mqtts://broker.invalid", ", ca_file: absent.pem")
    literal = SECRETS["a bystander's"]
    file.write_text(file.read_text().replace("${WRONG}", literal))
    assert secrets_in(output_of(command, file)) == []


def test_a_broker_without_a_trusted_certificate_gets_no_password(camera: RtspServer, tmp_path: Path) -> None:
    tls = Certificates.make(tmp_path / "certificates")
    with Broker(tmp_path, users={"edgeseg": "x"}, tls=tls) as broker:
        with Daemon(pipeline(tmp_path, camera, broker.url), ENVIRONMENT) as daemon:
            daemon.wait_for_log("certificate")
            daemon.stop()
        assert "edgeseg-gatehouse" not in broker.log_text


def test_commands_can_be_switched_off(camera: RtspServer, tmp_path: Path) -> None:
    with Broker(tmp_path, users={"edgeseg": SECRETS["right for the broker"], "watcher": "w"}) as broker:
        file = pipeline(tmp_path, camera, broker.url, ", commands: off")
        with (
            Subscriber(broker.port, "#", username="watcher", password="w") as subscriber,
            Daemon(file, ENVIRONMENT) as daemon,
        ):
            subscriber.wait_for(
                lambda all_: [one for one in all_ if b'"live"' in one.payload], "a live camera"
            )
            subscriber.publish("edgeseg/gatehouse/right/set/enabled", "OFF")
            subscriber.publish("edgeseg/gatehouse/right/set/rate", "4")
            # What would have been answered had been answered before the daemon says goodbye.
            daemon.stop()
            subscriber.wait_for_payload("gatehouse/status", "offline")
            assert not [
                one for one in subscriber.messages if one.topic.endswith("right/rate") and one.payload == b"4"
            ]
            assert not [one for one in subscriber.messages if b'"disabled"' in one.payload]
        assert "/set/" not in "".join(line for line in broker.log_text.splitlines() if "SUBSCRIBE" in line)


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_no_code_is_loaded_from_data() -> None:
    """Pickles, YAML objects, ``eval``: nowhere. Checkpoints are read as weights, arrays as numbers."""
    never = {
        *(
            "eval",
            "exec",
            "compile",
            "os.system",
            "os.popen",
            "yaml.load",
            "yaml.unsafe_load",
            "yaml.full_load",
        ),
        *("pickle.load", "pickle.loads", "marshal.loads", "shelve.open", "dill.load", "joblib.load"),
        *("shutil.unpack_archive", "torch.hub.load", "torch.jit.load"),
    }
    for path in sorted(PACKAGE.rglob("*.py")):
        for name, call in calls(path):
            arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            assert name not in never, f"{path}: {name}"
            assert not name.endswith((".extractall", ".Unpickler")), f"{path}: {name}"
            assert arguments.get("shell") != "True", f"{path}: a shell"
            assert arguments.get("allow_pickle") != "True", f"{path}: {name} takes pickles"
            if name == "torch.load":
                assert arguments.get("weights_only") == "True", f"{path}: torch.load"


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir [{}]", "!!python/name:os.system", "!x {{}}"])
@pytest.mark.parametrize("load", [config.load, load_manifest], ids=["pipeline", "manifest"])
def test_yaml_tags_are_refused(tag: str, load: object, tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    file.write_text(f"name: {tag.format(tmp_path / 'made')}\n")
    with pytest.raises(ConfigError, match="tag"):
        load(file)  # type: ignore[operator]
    assert not (tmp_path / "made").exists()


HOSTILE = st.one_of(
    st.sampled_from(
        ["..", ".", "../x", "/etc/passwd", "a/b", "a+", "#", "a\0b", "$SYS", "~root", "a\nb", ""]
    ),
    st.text(min_size=1, max_size=80),
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=examples(60),
)
@given(HOSTILE, st.sampled_from(["node", "camera", "zone", "rule"]))
def test_names_are_one_level_of_topics_and_paths(tmp_path: Path, name: str, where: str) -> None:
    written = {"node": "n", "camera": "c", "zone": "z", "rule": "r"} | {where: name}
    quoted = {
        key: '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"' for key, value in written.items()
    }
    file = tmp_path / "p.yaml"
    file.write_text(
        f"node: {quoted['node']}\nmodel: {MODEL}\ncameras: {{{quoted['camera']}: {{source: a.mp4, zones: "
        f"{{{quoted['zone']}: {{polygon: [[0, 0], [1, 0], [1, 1]], "
        f"rules: {{{quoted['rule']}: {{occupied: [car]}}}}}}}}}}}}\n",
        encoding="utf-8",
    )
    try:
        read = config.load(file)
    except ConfigError:
        return
    accepted = (read.node, *(camera.name for camera in read.cameras))
    assert all(set(one) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") and one for one in accepted)


@pytest.mark.parametrize("name", ["../../etc", "/etc", "..", "a\0b"])
def test_models_are_not_looked_for_outside(name: str) -> None:
    with pytest.raises((EdgesegError, ValueError)):
        registry.find(name)


def test_no_runtime_sees_weights_that_are_not_the_pinned_ones(tmp_path: Path) -> None:
    """One flipped bit is found before a parser of a runtime looks at the file."""
    folder = tmp_path / "models" / MODEL
    shutil.copytree(PACKAGE.parent / "models" / MODEL, folder)
    for weights in [*folder.glob("*.onnx"), *folder.glob("*.tflite")]:
        data = bytearray(weights.read_bytes())
        data[len(data) // 2] ^= 1
        weights.write_bytes(data)
    program = (
        "import sys\n"
        "from edgeseg.models import registry\n"
        "from edgeseg.engines.select import open_engine\n"
        "from edgeseg.errors import ModelError\n"
        "try: open_engine(registry.find(sys.argv[1]), 'onnxruntime', None)\n"
        "except ModelError as error: print(error)\n"
        "print([name for name in ('onnxruntime', 'ai_edge_litert', 'openvino') if name in sys.modules])\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, MODEL],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, "EDGESEG_MODELS": str(folder.parent)},
    )
    assert "sha256" in answer.stdout, answer.stderr
    assert answer.stdout.endswith("[]\n")


def test_nothing_listens(camera: RtspServer, tmp_path: Path) -> None:
    """No TCP or UDP port is open unless the file asks for one."""
    file = tmp_path / "quiet.yaml"
    place = camera.url_with(None, None).removeprefix("rtsp://")
    file.write_text(f"model: {MODEL}\ncameras: {{a: {{source: 'rtsp://viewer:${{RIGHT}}@{place}'}}}}\n")
    with Daemon(file, ENVIRONMENT) as daemon:
        daemon.wait_for_log("pictures")
        assert wait_until(lambda: sockets(daemon.process.pid), "sockets") is not None
        assert listening() & sockets(daemon.process.pid) == set()
        daemon.stop()


def sockets(pid: int) -> set[str]:
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:"):
            found.add(target.removeprefix("socket:[").removesuffix("]"))
    return found


def listening() -> set[str]:
    """Inodes of sockets that wait for others: TCP in state 0A, any unconnected UDP (proc_net_tcp)."""
    found = set()
    for table, states in {"tcp": ("0A",), "tcp6": ("0A",), "udp": ("07",), "udp6": ("07",)}.items():
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] in states:
                found.add(fields[9])
    return found


def test_a_wrong_service_name_writes_nothing_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(f"model: {MODEL}\ncameras: {{a: {{source: rtsp://a/}}}}\n")
    assert main(["install-service", str(file), "--name", "../x", "--root", str(tmp_path / "root")]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.yaml"]
