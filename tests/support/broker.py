"""A real mosquitto as a subprocess, and a real subscriber that records what it hears."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.conftest import missing
from tests.support.passwords import note, used

T = TypeVar("T")

# Long enough for a machine that does ten other things; a test that passes never waits it out.
DEADLINE_S = 60.0
_SBIN = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"


def wait_until(condition: Callable[[], T], what: str, *, deadline_s: float = DEADLINE_S) -> T:
    """Poll until the condition gives something true, and return that; fail after the deadline."""
    pause = threading.Event()
    for _ in range(int(deadline_s / 0.02)):
        if found := condition():
            return found
        pause.wait(0.02)
    raise AssertionError(f"not within {deadline_s:g} s: {what}")


# The kernel's own begin at 32768 (ip_local_port_range, Linux' default).
_PORTS = range(12_000, 32_000)
_WORKERS_AT_MOST = 16


def _ports() -> Iterator[int]:
    """Ports for the servers that tests start, in turn, for ever.

    They lie below the range that the kernel gives out by itself, so that no connection of this machine takes
    one between the question and the server's start. Processes of one parallel run have a share each.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    # Two runs at the same time begin at different places.
    first = Random(run).randrange(len(_PORTS)) + worker * len(_PORTS) // _WORKERS_AT_MOST
    yield from (_PORTS[number % len(_PORTS)] for number in count(first))


_next_port = _ports()


def free_port() -> int:
    """A TCP port that is free on every address of this machine."""
    for port in islice(_next_port, len(_PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Certificates:
    """A certificate authority made for one test, and the broker's certificate for 127.0.0.1/localhost."""

    ca: Path
    certificate: Path
    key: Path

    @staticmethod
    def make(folder: Path) -> Certificates:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.which("openssl") is None:
            missing("openssl")

        def openssl(*arguments: str) -> None:
            subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl(
            *("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2"),
            *("-subj", "/CN=edgeseg test authority"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )
        openssl("req", *new_key, "-keyout", "broker.key", "-out", "broker.csr", "-subj", "/CN=localhost")
        (folder / "names.cnf").write_text(
            "subjectAltName=DNS:localhost,IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n"
        )
        openssl(
            *("x509", "-req", "-in", "broker.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-out", "broker.pem", "-days", "2", "-extfile", "names.cnf"),
        )
        return Certificates(folder / "ca.pem", folder / "broker.pem", folder / "broker.key")


class Broker:
    """mosquitto on 127.0.0.1, without persistence: what it knew is gone after a restart.

    users: name -> password, None lets everybody in. acl: text of an ACL file. Both may be changed and
    brought into force by ``reload``. ``extra``: more lines of configuration.
    """

    def __init__(
        self,
        folder: Path,
        *,
        users: dict[str, str] | None = None,
        acl: str | None = None,
        tls: Certificates | None = None,
        port: int | None = None,
        extra: str = "",
    ) -> None:
        self.folder = folder / "broker"
        self.users = users
        self.acl = acl
        self.tls = tls
        self.port = port or free_port()
        self.extra = extra
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://127.0.0.1:{self.port}"

    @property
    def log_text(self) -> str:
        return (self.folder / "log").read_text()

    def start(self) -> None:
        """Returns when the port takes connections."""
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path=_SBIN)
        if program is None:
            missing("mosquitto")
        self._configure()
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                [str(program), "-v", "-c", str(self.folder / "mosquitto.conf")], stdout=output, stderr=output
            )

        def up() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, f"mosquitto ended: {self.log_text}"
            return accepts(self.port)

        wait_until(up, "mosquitto listens")

    def stop(self) -> None:
        """SIGTERM. Clients are told."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """It keeps its sockets and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def reload(self) -> None:
        """Bring changed ``users`` and ``acl`` into force."""
        self._configure()
        self._signal(signal.SIGHUP)

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _configure(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f"listener {self.port} 127.0.0.1",
            "user root",
            "persistence false",
            # Not stdout: into a file that is buffered by the block, and tests read the log.
            "log_dest stderr",
            "set_tcp_nodelay true",
            f"allow_anonymous {'true' if self.users is None else 'false'}",
        ]
        if self.users is not None:
            used(*self.users.values())
            passwords = self.folder / "passwords"
            passwords.write_text("".join(f"{name}:{word}\n" for name, word in self.users.items()))
            passwords.chmod(0o600)
            hasher = shutil.which("mosquitto_passwd") or shutil.which("mosquitto_passwd", path=_SBIN)
            if self.users:
                subprocess.run([str(hasher), "-U", str(passwords)], check=True)
            lines.append(f"password_file {passwords}")
        if self.acl is not None:
            (self.folder / "acl").write_text(self.acl)
            (self.folder / "acl").chmod(0o600)
            lines.append(f"acl_file {self.folder / 'acl'}")
        if self.tls is not None:
            lines += [f"certfile {self.tls.certificate}", f"keyfile {self.tls.key}"]
        (self.folder / "mosquitto.conf").write_text("\n".join([*lines, self.extra, ""]))

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(DEADLINE_S)
            self._process = None


def nobody_may_subscribe(folder: Path) -> str:
    """Lines of configuration for a broker that refuses subscriptions: its access-list files grant them all
    and then do not deliver."""
    plugin = next(Path("/usr/lib").glob("**/mosquitto_dynamic_security.so"), None)
    if plugin is None:
        missing("mosquitto's plugin for dynamic security")
    access = {
        "publishClientSend": True,
        "publishClientReceive": True,
        "subscribe": False,
        "unsubscribe": True,
    }
    (folder / "security.json").write_text(json.dumps({"defaultACLAccess": access}))
    return f"plugin {plugin}\nplugin_opt_config_file {folder / 'security.json'}"


@contextmanager
def old_broker(folder: Path) -> Iterator[int]:
    """amqtt speaks MQTT 3.1.1 only. It takes the properties of an MQTT 5 CONNECT for the client's name, and
    waits for the rest for ever."""
    port = free_port()
    config = folder / "amqtt.yaml"
    config.write_text(
        f"listeners: {{default: {{type: tcp, bind: '127.0.0.1:{port}'}}}}\n"
        "plugins: {amqtt.plugins.authentication.AnonymousAuthPlugin: {allow_anonymous: true}}\n"
    )
    amqtt = Path(sys.executable).parent / "amqtt"
    with (folder / "amqtt.log").open("wb") as output:
        process = subprocess.Popen([str(amqtt), "-c", str(config)], stdout=output, stderr=output)
    try:
        wait_until(lambda: accepts(port), "amqtt listens")
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


@dataclass(frozen=True)
class Received:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    expires_s: int | None = None


class Subscriber:
    """Records every message of ``topics``; comes back and subscribes again when the broker does, unless it
    is to ``stay_away``."""

    def __init__(
        self,
        port: int,
        topics: str = "#",
        *,
        username: str | None = None,
        password: str | None = None,
        ca: Path | None = None,
        protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
        client_id: str = "",
        stay_away: bool = False,
    ) -> None:
        self.thrown_off = False
        self._received: list[Received] = []
        self._changed = threading.Condition()
        self._subscriptions = 0
        self._topics = topics
        self._port = port
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=protocol, reconnect_on_failure=not stay_away
        )
        self._client.on_disconnect = self._on_disconnect
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(0.05, 0.2)  # type: ignore[arg-type]
        if username is not None:
            self._client.username_pw_set(username, password)
        if ca is not None:
            self._client.tls_set_context(ssl.create_default_context(cafile=str(ca)))

    @property
    def messages(self) -> list[Received]:
        with self._changed:
            return list(self._received)

    def on(self, topic_end: str) -> list[Received]:
        return [message for message in self.messages if message.topic.endswith(topic_end)]

    def forget(self) -> None:
        with self._changed:
            self._received.clear()

    def publish(self, topic: str, payload: str | bytes, *, retain: bool = False) -> None:
        """Returns when the broker has it."""
        self._client.publish(topic, payload, 1, retain).wait_for_publish(DEADLINE_S)

    def wait_for(self, condition: Callable[[list[Received]], T], what: str = "the messages") -> T:
        """Wait until the condition on everything received so far is true, and return its value."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self._received), DEADLINE_S):
                shown = "\n".join(f"{one.topic} {one.payload[:100]!r}" for one in self._received[-20:])
                raise AssertionError(f"not within {DEADLINE_S:g} s: {what}; the last received:\n{shown}")
            return condition(self._received)

    def wait_for_payload(self, topic_end: str, payload: bytes | str) -> Received:
        expected = payload.encode() if isinstance(payload, str) else payload
        found = self.wait_for(
            lambda all_: [one for one in all_ if one.topic.endswith(topic_end) and one.payload == expected],
            f"{expected!r} on {topic_end}",
        )
        return found[-1]

    def wait_until_subscribed(self, times: int = 1) -> None:
        """``times`` counts from the start: 2 waits for the first reconnection."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._subscriptions >= times, DEADLINE_S), "no SUBACK"

    def __enter__(self) -> Subscriber:
        self._client.connect_async("127.0.0.1", self._port)
        self._client.loop_start()
        self.wait_until_subscribed()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        note(*(f"{one.topic} {one.payload.decode('latin-1')}" for one in self.messages))

    def _on_connect(self, client: paho.Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if not reason.is_failure:
            client.subscribe(self._topics, 1)

    def _on_disconnect(self, client: paho.Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.thrown_off = True

    def _on_subscribe(self, client: paho.Client, _: Any, mid: int, reasons: Any, properties: Any) -> None:
        with self._changed:
            self._subscriptions += 1
            self._changed.notify_all()

    def _on_message(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        with self._changed:
            self._received.append(
                Received(
                    message.topic,
                    bytes(message.payload),
                    message.qos,
                    message.retain,
                    getattr(message.properties, "MessageExpiryInterval", None),
                )
            )
            self._changed.notify_all()
