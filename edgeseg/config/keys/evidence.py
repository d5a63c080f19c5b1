"""The key ``evidence``, of the file and of a camera: what is kept of alerts, and how much of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from edgeseg.config.classes import Vocabulary
from edgeseg.config.fields import ON_OFF_WORDS, Keys, OnOff, Terms, between, text
from edgeseg.config.keys.clip import Clip, ClipFile, is_recordable, record_source_settings
from edgeseg.config.report import Report
from edgeseg.settings import (
    EVIDENCE_PICTURES,
    ClipSettings,
    EvidenceBudget,
    EvidencePictures,
    EvidenceSettings,
    SourceUrl,
)
from edgeseg.yamlfile import quoted

DEFAULT_PICTURES: EvidencePictures = "masked"
# What all pictures may take on disk, and for how many days they may be kept.
LEAST_EVIDENCE_BYTES, MOST_EVIDENCE_BYTES = 10**6, 10**12
SHORTEST_EVIDENCE_DAYS, LONGEST_EVIDENCE_DAYS = 0.01, 3650.0
# Words in the names of classes: people on foot, on wheels and in general, as data sets call them.
PEOPLE_WORDS = frozenset(
    (
        *("person", "people", "pedestrian", "rider", "bicyclist", "cyclist", "motorcyclist", "human"),
        *("man", "woman", "child", "walker", "worker"),
    )
)

_UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_BYTES = re.compile(rf"\s*([0-9]{{1,9}}(?:\.[0-9]{{1,3}})?)\s*({'|'.join(_UNITS)})\s*")
_BYTES_PATTERN = rf"^\s*[0-9]{{1,9}}(\.[0-9]{{1,3}})?\s*({'|'.join(_UNITS)})\s*$"


def size_bytes(value: object) -> int:
    """Parse ``200 MB``. Raises ValueError."""
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
    """Take ``evidence: labels``, ``evidence: on`` and ``evidence: off``."""
    if isinstance(value, bool):
        return {"pictures": DEFAULT_PICTURES if value else "none"}
    if isinstance(value, str) and value.lower() in ON_OFF_WORDS:
        return {"pictures": DEFAULT_PICTURES if value.lower() in ("on", "yes") else "none"}
    if isinstance(value, str) and value in EVIDENCE_PICTURES:
        return {"pictures": value}
    if not isinstance(value, (dict, Keys)):
        choices = ", ".join(EVIDENCE_PICTURES)
        raise ValueError(f"got {quoted(value)}, expected {choices}, or keys such as {{pictures: labels}}")
    return value


Bytes = Annotated[int, BeforeValidator(size_bytes), text({"pattern": _BYTES_PATTERN, "examples": ["200 MB"]})]
Days = Annotated[
    float,
    AfterValidator(between(SHORTEST_EVIDENCE_DAYS, LONGEST_EVIDENCE_DAYS)),
    WithJsonSchema({"type": "number", "minimum": SHORTEST_EVIDENCE_DAYS, "maximum": LONGEST_EVIDENCE_DAYS}),
]
_Word = EvidencePictures | OnOff


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
    EvidenceFile, BeforeValidator(_policy_alone, json_schema_input_type=_Word | EvidenceFile)
]
CameraEvidence = Annotated[
    CameraEvidenceFile,
    BeforeValidator(_policy_alone, json_schema_input_type=_Word | CameraEvidenceFile),
]


def evidence_budget(file: EvidenceFile | None) -> EvidenceBudget:
    """Return how much evidence of all cameras is kept."""
    return EvidenceBudget() if file is None else EvidenceBudget(file.keep, file.days)


def check_people(file: EvidenceFile | None, vocabulary: Vocabulary, report: Report) -> None:
    """Report classes that no model of the file has.

    Args:
        file: the file's own key ``evidence``.
        vocabulary: of all models of the file together.
        report: of that key.
    """
    if file is not None and file.people is not None:
        vocabulary.classes_of_terms(file.people, report.below("people"))


@dataclass(frozen=True, slots=True)
class Written:
    """What is written for one camera.

    source: the camera's. own, common: the key ``evidence`` of the camera and of the file, each with its
    report.
    """

    camera: str
    source: str
    own: CameraEvidenceFile | None
    common: EvidenceFile | None
    own_report: Report
    common_report: Report

    @property
    def keys(self) -> Sequence[CameraEvidenceFile | EvidenceFile]:
        """The keys that are there; the first one that has a value counts."""
        return [key for key in (self.own, self.common) if key is not None]


def evidence_settings(written: Written, vocabulary: Vocabulary) -> EvidenceSettings | None:
    """Return what is kept of one camera's alerts; None for nothing. vocabulary: of its model."""
    pictures = next((key.pictures for key in written.keys if key.pictures is not None), DEFAULT_PICTURES)
    clip = _clip(written)
    record_source = _record_source(written, clip)
    if not written.keys or (pictures == "none" and clip is None):
        return None
    people = _people(written, vocabulary, needed=pictures == "masked")
    return EvidenceSettings(pictures, people, clip, record_source)


def _clip(written: Written) -> ClipSettings | None:
    clip = next((key.clip for key in written.keys if key.clip is not None), False)
    if not isinstance(clip, ClipFile):
        return None
    own = written.own
    if not is_recordable(written.source) and (own is None or own.record_source is None):
        report = written.own_report if own is not None and own.clip is not None else written.common_report
        report.error(
            f"camera {written.camera}: its source hands over no packets that a clip could be made of; name a "
            "stream of it in record_source (rtsp://...), or write clip: off for it",
            ("clip",),
        )
    return ClipSettings(clip.before, clip.after)


def _record_source(written: Written, clip: ClipSettings | None) -> SourceUrl | None:
    if written.own is None or written.own.record_source is None:
        return None
    report = written.own_report.below("record_source")
    if clip is None:
        report.error("has no effect without clip: clips are made of it")
        return None
    return record_source_settings(written.own.record_source, report)


def _people(written: Written, vocabulary: Vocabulary, *, needed: bool) -> tuple[str, ...]:
    own, common, reported = written.own, written.common, False
    if own is not None and own.people is not None:
        people = vocabulary.classes_of_terms(own.people, written.own_report.below("people"))
        reported = not people
    elif common is not None and common.people is not None:
        # Another camera's model may have the others; ``check_people`` has looked at each term.
        people = vocabulary.classes_of_terms(common.people, written.common_report.discarding())
        reported = not any(
            term in vocabulary.groups or vocabulary.models_with(term) for term in common.people
        )
    else:
        people = tuple(name for name in vocabulary.classes or () if is_person(name))
    if needed and not (people or reported) and vocabulary.classes is not None:
        of_camera = own is not None and (own.pictures or own.people or common is None)
        report = written.own_report if of_camera else written.common_report
        report.error(
            f"camera {written.camera}: the model {vocabulary.model} has no class of people, so `masked` can "
            "hide no person; name the classes to hide in `people`, or write labels or none"
        )
    return people


def is_person(name: str) -> bool:
    """Return whether a class is one of people, by its name."""
    return not PEOPLE_WORDS.isdisjoint(re.findall("[a-z]+", name.lower()))
