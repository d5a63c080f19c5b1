"""Launch line: GStreamer pipelines as text, in the syntax of ``gst-launch-1.0``.

    gstreamer: rtspsrc location=rtsp://viewer:${PASSWORD}@10.0.0.5/s ! decodebin ! appsink

Nothing here needs GStreamer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

PREFIX = "gstreamer:"
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_PROPERTY = re.compile(rf"([A-Za-z][\w:-]*)\s*=\s*({_QUOTED}|(?:\\.|[^\s\"'\\])+)")
_SECRET_NAME = re.compile(
    r"(?i)pass(?:word|wd|phrase|code)|(?:^|[-_:])(?:pw|pwd|key|auth)$|token|secret|credential|headers|cookies"
)
_URL_PASSWORD = re.compile(r"://[^\s/:@\"']*:([^\s\"']*)@")
_SINK = re.compile(rf"{_QUOTED}|(?<!\S)appsink(?!\S)")
_LINKED_SINK = re.compile(rf"{_QUOTED}|!\s*appsink(?!\S)")
_ELEMENT = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(?=\s|$)")


def pipeline_of(source: str) -> str | None:
    """The pipeline of a source that is one, on one line; None for any other kind of source."""
    if not source.lstrip().lower().startswith(PREFIX):
        return None
    return " ".join(source.partition(":")[2].split())


def shown(pipeline: str) -> str:
    """How messages name it: by its first element, without any property, so without any password."""
    first = _ELEMENT.match(pipeline)
    return f"{PREFIX} {first[0]} ..." if first else f"{PREFIX} ..."


def syntax_error(pipeline: str) -> str | None:
    """Return what is wrong with the text of a pipeline, for a config problem; None where it is valid."""
    sinks = [found for found in _SINK.findall(pipeline) if found == "appsink"]
    if len(sinks) != 1:
        count = f"has {len(sinks)} elements appsink" if sinks else "has no appsink"
        return f"{count}, expected one, where edgeseg takes the pictures: ... ! appsink"
    for variable in VARIABLE.finditer(pipeline):
        word = _word_before(pipeline, variable.start())
        if "=" not in word:
            return f"takes ${{{variable[1]}}} only in the value of a property, such as user-pw=${{NAME}}"
        if "://" not in word and _in_quotes(pipeline, variable.start()):
            return f"has ${{{variable[1]}}} in quotes; write it without, edgeseg quotes what it holds"
    return None


def filled(pipeline: str, values: Mapping[str, str]) -> str:
    """With its variables' ``values``: percent-encoded inside a URL, elsewhere escaped for GStreamer."""

    def value(variable: re.Match[str]) -> str:
        text = values[variable[1]]
        if "://" in _word_before(pipeline, variable.start()):
            return quote(text, safe="")
        return re.sub(r"([^\w.-])", r"\\\1", text, flags=re.ASCII)

    return VARIABLE.sub(value, pipeline)


def secrets(pipeline: str) -> frozenset[str]:
    """The passwords that stand in it, as written and as meant."""
    values = {value for name, value in _PROPERTY.findall(pipeline) if _SECRET_NAME.search(name)}
    bare = {re.sub(r"\\(.)", r"\1", value.strip("\"'")) for value in values}
    urls = set(_URL_PASSWORD.findall(pipeline))
    return frozenset((values | bare | urls | {unquote(value) for value in urls}) - {""})


def with_converter(pipeline: str) -> str:
    """With a ``videoconvert`` before the appsink, which copies nothing where there is nothing to convert."""
    converting = "! videoconvert name=edgeseg-convert ! appsink"
    return _LINKED_SINK.sub(lambda found: converting if found[0][0] == "!" else found[0], pipeline)


def _word_before(text: str, end: int) -> str:
    found = re.search(r"(?:\\.|[^\s\\])*$", text[:end])
    return found[0] if found else ""


def _in_quotes(text: str, position: int) -> bool:
    return any(found.start() < position < found.end() for found in re.finditer(_QUOTED, text))
