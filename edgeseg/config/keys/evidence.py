"""The key ``evidence``, of the file and of a camera: what is kept of alerts, and how much of it."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Literal, Union

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from edgeseg.config.fields import ON_OFF_WORDS, Duration, Keys, OnOff, Terms, between, duration_between, text
from edgeseg.settings import (
    EVIDENCE_PICTURES,
    LEAST_EVIDENCE_BYTES,
    LONGEST_CLIP_AFTER_S,
    LONGEST_CLIP_BEFORE_S,
    LONGEST_EVIDENCE_DAYS,
    MOST_EVIDENCE_BYTES,
    SHORTEST_CLIP_AFTER_S,
    SHORTEST_EVIDENCE_DAYS,
    EvidenceBudget,
    EvidencePictures,
)
from edgeseg.yamlfile import quoted

DEFAULT_PICTURES: EvidencePictures = "masked"

_UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_BYTES = re.compile(rf"\s*([0-9]{{1,9}}(?:\.[0-9]{{1,3}})?)\s*({'|'.join(_UNITS)})\s*")
_BYTES_PATTERN = rf"^\s*[0-9]{{1,9}}(\.[0-9]{{1,3}})?\s*({'|'.join(_UNITS)})\s*$"


def size_bytes(value: object) -> int:
    """``200 MB`` -> bytes. Raises ValueError."""
    found = _BYTES.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(
            f"got {quoted(value)}, expected a size such as '200 MB'; units are {', '.join(_UNITS)}"
        )
    size = int(Decimal(found[1]) * _UNITS[found[2]])
    if not LEAST_EVIDENCE_BYTES <= size <= MOST_EVIDENCE_BYTES:
        raise ValueError(
            f"got {value.strip() if isinstance(value, str) else value}, expected 1 MB to 1000 GB"
        )
    return size


def _policy_alone(value: object) -> object:
    """``evidence: labels``, ``evidence: on`` and ``evidence: off``."""
    if isinstance(value, bool):
        return {"pictures": DEFAULT_PICTURES if value else "none"}
    if isinstance(value, str) and value.lower() in ON_OFF_WORDS:
        return {"pictures": DEFAULT_PICTURES if value.lower() in ("on", "yes") else "none"}
    if isinstance(value, str) and value in EVIDENCE_PICTURES:
        return {"pictures": value}
    if not isinstance(value, (dict, Keys)):
        words = ", ".join(EVIDENCE_PICTURES)
        raise ValueError(f"got {quoted(value)}, expected {words}, or keys such as {{pictures: labels}}")
    return value


def _clip_keys(value: object) -> object:
    """``clip: on`` and ``clip: off``."""
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
        5.0,
        description="How long before the alert it begins, at most 30 s; with the keyframe before that. "
        "Default: 5 s.",
    )
    after: Annotated[Duration, duration_between(SHORTEST_CLIP_AFTER_S, LONGEST_CLIP_AFTER_S)] = Field(
        10.0, description="How long after the alert it ends, 1 s to 2 min. Default: 10 s."
    )


# A mapping is one of keys, a word a switch: told apart by hand, so that a mistake is told once.
Clip = Annotated[
    Union[
        Annotated[Literal[False], Tag("off"), WithJsonSchema({"type": "boolean"})],
        Annotated[ClipFile, Tag("keys")],
    ],
    Discriminator(lambda value: "off" if value is False else "keys"),
    BeforeValidator(_clip_keys, json_schema_input_type=Union[OnOff, ClipFile]),
]
Bytes = Annotated[int, BeforeValidator(size_bytes), text({"pattern": _BYTES_PATTERN, "examples": ["200 MB"]})]
Days = Annotated[
    float,
    AfterValidator(between(SHORTEST_EVIDENCE_DAYS, LONGEST_EVIDENCE_DAYS)),
    WithJsonSchema({"type": "number", "minimum": SHORTEST_EVIDENCE_DAYS, "maximum": LONGEST_EVIDENCE_DAYS}),
]
_Word = Union[EvidencePictures, OnOff]


class _What(Keys):
    pictures: EvidencePictures | None = Field(
        None,
        description="What a picture shows: `masked`, with people blanked out as far as the network sees "
        "them; `labels`, the colours of the classes and nothing of the picture; `full`; or `none`. "
        "Default: masked.",
    )
    people: Terms | None = Field(
        None,
        description="Classes or groups that `masked` blanks out. Default: those of the model that are called "
        "person, pedestrian, rider, bicyclist and the like.",
    )
    clip: Clip | None = Field(
        None,
        description="A clip around each alert, of the camera's own packets: people in it are not blanked "
        "out. Default: off.",
    )


class CameraEvidenceFile(_What, title="evidence of a camera"):
    """What is kept of the alerts of this camera; the rest as the file's own `evidence` has it."""

    record_source: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="Another stream of the same camera that clips are made of, such as a sharper one: "
        "rtsp://, rtsps://, http:// or https://. It is read all the time, but not decoded. Default: "
        "`source`.",
    )


class EvidenceFile(_What, title="evidence"):
    """What is kept of alerts: pictures of when a condition began and of when the alert was raised, clips."""

    keep: Bytes = Field(
        EvidenceBudget().keep_bytes,
        description="What all pictures together may take on disk; the oldest make room. Default: 200 MB.",
    )
    days: Days = Field(
        EvidenceBudget().days, description="After how many days a picture is removed. Default: 7."
    )


Evidence = Annotated[
    EvidenceFile, BeforeValidator(_policy_alone, json_schema_input_type=Union[_Word, EvidenceFile])
]
CameraEvidence = Annotated[
    CameraEvidenceFile,
    BeforeValidator(_policy_alone, json_schema_input_type=Union[_Word, CameraEvidenceFile]),
]
