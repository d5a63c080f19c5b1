"""Pipeline text: the first pipeline file, with comments for a newcomer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

WEB_LISTEN = "127.0.0.1:8088"
# The middle of the picture, where something is most likely to be seen at first.
_POLYGON = "[[0.25, 0.30], [0.75, 0.30], [0.75, 0.95], [0.25, 0.95]]"
# What people most often watch for; the first that the network knows becomes the first rule.
_WATCHED = ("person", "pedestrian", "people", "vehicle", "car", "bicyclist")


@dataclass(frozen=True, slots=True)
class Answers:
    """What a first file is made of. source: as it stands in the file, secrets as ``${VAR}``. seen: what the
    stream was found to be. mqtt: the broker's address without login, None for none."""

    file: str
    node: str
    camera: str
    source: str
    seen: str
    model: str
    classes: Sequence[str]
    engine: str
    measured: str
    rate_fps: float
    mqtt: str | None
    username: str | None
    variables: Sequence[str]


def classes_in_short(classes: Sequence[str], most: int = 8) -> str:
    """Return the first few classes, with those that people watch most often first."""
    watched = [name for name in _WATCHED if name in classes]
    shown = [*watched, *(name for name in classes if name not in watched)]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


def pipeline_text(answers: Answers) -> str:
    """The whole file."""
    return "\n".join(
        [
            *_head(answers),
            f"node: {_quoted(answers.node)}    # this device in the topics; each file needs its own",
            "",
            *_broker(answers),
            "",
            f"web: {{listen: {WEB_LISTEN}}}    # dashboard and zone editor, for this machine's browser alone",
            "",
            f"model: {_quoted(answers.model)}    # what it sees: `edgeseg models show`",
            f"engine: {answers.engine}    # {answers.measured}",
            "",
            "cameras:",
            f"  {_quoted(answers.camera)}:",
            f"    # {answers.seen}",
            f"    source: {_quoted(answers.source)}",
            f"    rate: {answers.rate_fps:g}    # pictures analysed a second; more seldom finds more",
            "    zones:",
            "      middle:    # what programs see in the topics",
            "        name: Middle of the picture    # what people see",
            "        # Corners in their order around the zone: [0, 0] is the picture's top left, [1, 1] its",
            "        # bottom right. The zone editor in the browser draws them.",
            f"        polygon: {_POLYGON}",
            *_rule(answers.classes),
            "",
        ]
    )


def _head(answers: Answers) -> list[str]:
    lines = [
        "# Made by `edgeseg init`; yours to change. `edgeseg check` finds every mistake.",
        "#",
    ]
    lines += [
        f"#   export {name}='...'    what is secret comes from the environment" for name in answers.variables
    ]
    lines += [
        f"#   edgeseg run {answers.file}",
        f"#   edgeseg doctor {answers.file}    where something does not work",
        "",
    ]
    return lines


def _broker(answers: Answers) -> list[str]:
    if answers.mqtt is None:
        return [
            "# Without `mqtt:` the events are printed as JSON lines. With a broker, remove the # signs:",
            "# mqtt: {url: mqtt://broker.local, username: edgeseg, password_file: mqtt_password}",
        ]
    lines = ["mqtt:", f"  url: {_quoted(answers.mqtt)}"]
    if answers.username is not None:
        lines += [
            f"  username: {_quoted(answers.username)}",
            "  password_file: mqtt_password    # a file beside this one that holds the password alone",
        ]
    return lines


def _rule(classes: Sequence[str]) -> list[str]:
    watched = next((name for name in _WATCHED if name in classes), None)
    if watched is None:
        known = ", ".join(classes[:6])
        return [
            f"        # An alert, once you know what to watch for ({known}, ...); remove the # signs:",
            "        # rules:",
            f"        #   present: {{occupied: [{_quoted(classes[-1])}], enter: 5 %, leave: 2 %, for: 2 s}}",
        ]
    return [
        "        rules:",
        "          present:",
        f"            occupied: [{_quoted(watched)}]",
        "            enter: 5 %    # begins when it covers at least so much of the zone ...",
        "            leave: 2 %    # ... and ends at so much or less; between the two nothing changes",
        "            for: 2 s      # what lasts less raises no alert",
        "            clear: 5 s    # nor does what is away for less end one",
    ]


def _quoted(text: str) -> str:
    """Plain where YAML reads it as this very text."""
    plain = all(char.isalnum() or char in "_./:@?=&%{}$-" for char in text) and text[:1].isalpha()
    word = text.lower() in ("on", "off", "yes", "no", "true", "false", "null", "y", "n")
    return text if plain and not word and not text.endswith(":") else json.dumps(text, ensure_ascii=False)
