"""What parses bytes from outside, each as a function that either takes them or refuses them in words.

hypothesis and atheris drive the same targets. A target raises whatever the parser should not have raised.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from edgeseg import config
from edgeseg.capture import wire_format
from edgeseg.errors import ConfigError, EdgesegError
from edgeseg.models import manifest
from edgeseg.publish.mqtt import commands

_FOLDER = Path(tempfile.gettempdir())


def refused(*reasons: object) -> None:
    """In at least one line of words, none of them endless."""
    assert reasons
    assert all(0 < len(str(reason)) < 10_000 for reason in reasons)


def pipeline_file(raw: bytes, folder: Path = _FOLDER) -> None:
    path = folder / "fuzzed.yaml"
    path.write_bytes(raw)
    try:
        config.load(path)
    except ConfigError as error:
        refused(*error.problems)


def model_manifest(raw: bytes, folder: Path = _FOLDER) -> None:
    path = folder / manifest.MANIFEST
    path.write_bytes(raw)
    try:
        manifest.load(path)
    except ConfigError as error:
        refused(*error.problems)
    except EdgesegError as error:
        refused(error)


def mqtt_command(raw: bytes) -> None:
    """The first line is the topic."""
    topic, _, payload = raw.partition(b"\n")
    try:
        found = commands.parse("edgeseg/test", topic.decode("utf-8", "replace"), payload)
    except ValueError as error:
        refused(error)
    else:
        assert found.thing in ("enabled", "rate", "snapshot", "evidence")
        # A file of that name is looked for.
        assert found.thing != "evidence" or not set(str(found.value)) & set("/.\0")


def camera_message(raw: bytes) -> None:
    """What a camera process says: it decodes what strangers send."""
    try:
        wire_format.decode(raw)
    except wire_format.WireError as error:
        refused(error)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "pipeline": pipeline_file,
    "manifest": model_manifest,
    "command": mqtt_command,
    "message": camera_message,
}


def seeds(target: str) -> list[bytes]:
    """Whole inputs to begin with."""
    root = Path(__file__).resolve().parent.parent.parent
    match target:
        case "pipeline":
            return [path.read_bytes() for path in sorted((root / "pipelines").glob("*.yaml"))]
        case "manifest":
            return [path.read_bytes() for path in sorted((root / "models").glob("*/model.yaml"))]
        case "command":
            pairs = (("enabled", "ON"), ("rate", "2.5"), ("snapshot", ""), ("rate", "1e999"), ("x/y", "\0"))
            pairs += (("evidence", "0123456789abcdef"), ("evidence", "0123456789abcdef-before.jpg"))
            return [f"edgeseg/test/yard/set/{thing}\n{value}".encode() for thing, value in pairs]
    counts = '{"decoded":1,"corrupt_packets":0,"no_slot":0,"source_fps":null}'
    return [
        f'["Heartbeat",{{"counts":{counts}}}]'.encode(),
        b'["Failed",{"reason":"timeout","message":"x"}]',
        b'["FrameReady",{"layout":1,"slot":0,"time":{"camera_time_s":1.0,"captured_at_s":2.0}}]',
    ]
