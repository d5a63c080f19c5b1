"""The key ``evidence``: which pictures are kept of alerts, how many, and who is blanked out in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, Union

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from edgeseg.config.classes import Vocabulary
from edgeseg.config.fields import ON_OFF_WORDS, Keys, OnOff, Terms, between, text
from edgeseg.settings import (
    EVIDENCE_PICTURES,
    LEAST_EVIDENCE_BYTES,
    LONGEST_EVIDENCE_DAYS,
    MOST_EVIDENCE_BYTES,
    SHORTEST_EVIDENCE_DAYS,
    EvidenceBudget,
    EvidencePictures,
    EvidenceSettings,
)
from edgeseg.yamlfile import Step, Steps, shown

# Words in the names of classes, as data sets call people on foot, on wheels and in general.
PEOPLE_WORDS = frozenset(
    (
        *("person", "people", "pedestrian", "rider", "bicyclist", "cyclist", "motorcyclist", "human"),
        *("man", "woman", "child", "walker", "worker"),
    )
)
DEFAULT_PICTURES: EvidencePictures = "masked"

_UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_BYTES = re.compile(rf"\s*([0-9]{{1,9}}(?:\.[0-9]{{1,3}})?)\s*({'|'.join(_UNITS)})\s*")
_BYTES_PATTERN = rf"^\s*[0-9]{{1,9}}(\.[0-9]{{1,3}})?\s*({'|'.join(_UNITS)})\s*$"

Wrong = Callable[[Sequence[Step], str], None]
"""Takes the path of what is wrong, and the message."""


def size_bytes(value: object) -> int:
    """``200 MB`` -> bytes. Raises ValueError."""
    found = _BYTES.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(
            f"got {shown(value)}, expected a size such as '200 MB'; units are {', '.join(_UNITS)}"
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
        raise ValueError(f"got {shown(value)}, expected {words}, or keys such as {{pictures: labels}}")
    return value


Bytes = Annotated[int, BeforeValidator(size_bytes), text({"pattern": _BYTES_PATTERN, "examples": ["200 MB"]})]
Days = Annotated[
    float,
    AfterValidator(between(SHORTEST_EVIDENCE_DAYS, LONGEST_EVIDENCE_DAYS)),
    WithJsonSchema({"type": "number", "minimum": SHORTEST_EVIDENCE_DAYS, "maximum": LONGEST_EVIDENCE_DAYS}),
]
_Word = Union[EvidencePictures, OnOff]


class CameraEvidenceFile(Keys, title="evidence of a camera"):
    """What is kept of the alerts of this camera; the rest as the file's own `evidence` has it."""

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


class EvidenceFile(CameraEvidenceFile, title="evidence"):
    """Pictures that are kept of alerts, of when a condition began and of when the alert was raised."""

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


def budget(file: EvidenceFile | None) -> EvidenceBudget:
    return EvidenceBudget() if file is None else EvidenceBudget(file.keep, file.days)


def evidence_of_camera(
    name: str,
    file: EvidenceFile | None,
    camera: CameraEvidenceFile | None,
    vocabulary: Vocabulary,
    wrong: Wrong,
) -> EvidenceSettings | None:
    """What is kept of one camera; None for nothing. file, camera: as written. vocabulary: of its model."""
    own: Steps = ("cameras", name, "evidence")
    written = [key for key in (camera, file) if key is not None]
    pictures = next((key.pictures for key in written if key.pictures is not None), DEFAULT_PICTURES)
    if not written or pictures == "none":
        return None
    told = False
    if camera is not None and camera.people is not None:
        people = vocabulary.classes_of_terms(
            camera.people, lambda steps, message: wrong((*own, "people", *steps), message)
        )
        told = not people
    elif file is not None and file.people is not None:
        # Another camera's model may have the others; ``check_people`` has looked at each word.
        people = vocabulary.classes_of_terms(file.people, lambda steps, message: None)
        told = not any(term in vocabulary.groups or vocabulary.models_with(term) for term in file.people)
    else:
        people = tuple(name for name in vocabulary.classes or () if is_person(name))
    if pictures == "masked" and not (people or told) and vocabulary.classes is not None:
        said_by_camera = camera is not None and (camera.pictures or camera.people or file is None)
        wrong(
            own if said_by_camera else ("evidence",),
            f"camera {name}: the model {vocabulary.model} has no class of people, so `masked` can hide "
            "nobody; name the classes to hide in `people`, or write labels or none",
        )
    return EvidenceSettings(pictures, people)


def check_people(file: EvidenceFile | None, vocabulary: Vocabulary, wrong: Wrong) -> None:
    """Each word is known to some model of the file. vocabulary: of all of them together."""
    if file is not None and file.people is not None:
        vocabulary.classes_of_terms(
            file.people, lambda steps, message: wrong(("evidence", "people", *steps), message)
        )


def is_person(name: str) -> bool:
    """Whether a class is one of people, by its name."""
    return not PEOPLE_WORDS.isdisjoint(re.findall("[a-z]+", name.lower()))
