"""The key ``clip`` of ``evidence``: video around an alert, of the camera's own packets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from edgeseg.config import addresses
from edgeseg.config.fields import ON_OFF_WORDS, Duration, Keys, OnOff, duration_between
from edgeseg.config.report import Report
from edgeseg.settings import SourceUrl
from edgeseg.sources.gstreamer import launch_line
from edgeseg.yamlfile import quoted

LONGEST_CLIP_BEFORE_S, DEFAULT_CLIP_BEFORE_S = 30.0, 5.0
SHORTEST_CLIP_AFTER_S, LONGEST_CLIP_AFTER_S, DEFAULT_CLIP_AFTER_S = 1.0, 120.0, 10.0
# Sources that can be read twice, and sources that have packets.
_STREAMS = ("rtsp://", "rtsps://", "http://", "https://")
_RECORDABLE = (*_STREAMS, "file://")


def _clip_keys(value: object) -> object:
    """Take ``clip: on`` and ``clip: off``."""
    if isinstance(value, str) and value.lower() in ON_OFF_WORDS:
        value = value.lower() in ("on", "yes")
    if value is True:
        return {}
    if value is not False and not isinstance(value, (dict, Keys)):
        raise ValueError(
            f"got {quoted(value)}, expected on, off, or keys such as {{before: 5 s, after: 10 s}}"
        )
    return value


class ClipFile(Keys, title="clip"):
    """A clip of the camera's own packets around an alert; nothing is decoded or encoded again."""

    before: Annotated[Duration, duration_between(0.0, LONGEST_CLIP_BEFORE_S)] = Field(
        DEFAULT_CLIP_BEFORE_S,
        description="How long before the alert it begins, at most 30 s; with the keyframe before that. "
        "Default: 5 s.",
    )
    after: Annotated[Duration, duration_between(SHORTEST_CLIP_AFTER_S, LONGEST_CLIP_AFTER_S)] = Field(
        DEFAULT_CLIP_AFTER_S, description="How long after the alert it ends, 1 s to 2 min. Default: 10 s."
    )


# A discriminator, so that a mistake in one form is not also one in the other.
Clip = Annotated[
    Annotated[Literal[False], Tag("off"), WithJsonSchema({"type": "boolean"})]
    | Annotated[ClipFile, Tag("keys")],
    Discriminator(lambda value: "off" if value is False else "keys"),
    BeforeValidator(_clip_keys, json_schema_input_type=OnOff | ClipFile),
]


def is_recordable(source: str) -> bool:
    """Return whether clips can be made of a camera's ``source``."""
    if launch_line.pipeline_of(source) is not None:
        return False
    return "://" not in source or source.lower().startswith(_RECORDABLE)


def record_source_settings(file: str, report: Report) -> SourceUrl | None:
    """Return the stream of which clips are made, None after reporting what is wrong with it."""
    try:
        source = addresses.source(file)
    except ValueError as error:
        report.error(str(error))
        return None
    if not file.lower().startswith(_STREAMS):
        report.error(f"got {source.shown}, expected a stream: {', '.join(_STREAMS)}")
    return source
