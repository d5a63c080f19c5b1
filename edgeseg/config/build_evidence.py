"""What is kept of alerts: from the keys as written to settings, and who is blanked out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeseg.config import addresses
from edgeseg.config.classes import Vocabulary
from edgeseg.config.keys.evidence import DEFAULT_PICTURES, CameraEvidenceFile, ClipFile, EvidenceFile
from edgeseg.settings import ClipSettings, EvidenceBudget, EvidenceSettings, SourceUrl
from edgeseg.sources.gstreamer import launch_line
from edgeseg.yamlfile import KeyPath, PathPart

# Words in the names of classes, as data sets call people on foot, on wheels and in general.
PEOPLE_WORDS = frozenset(
    (
        *("person", "people", "pedestrian", "rider", "bicyclist", "cyclist", "motorcyclist", "human"),
        *("man", "woman", "child", "walker", "worker"),
    )
)
# What can be read twice, and what packets can be had of.
_STREAMS = ("rtsp://", "rtsps://", "http://", "https://")
_RECORDABLE = (*_STREAMS, "file://")

Wrong = Callable[[Sequence[PathPart], str], None]
"""Takes the path of what is wrong, and the message."""


def budget(file: EvidenceFile | None) -> EvidenceBudget:
    return EvidenceBudget() if file is None else EvidenceBudget(file.keep, file.days)


@dataclass(frozen=True, slots=True)
class Written:
    """What is written of one camera. source: its own. file, camera: the key ``evidence`` of the file and of
    the camera."""

    name: str
    source: str
    file: EvidenceFile | None
    camera: CameraEvidenceFile | None

    @property
    def at(self) -> KeyPath:
        return ("cameras", self.name, "evidence")

    @property
    def keys(self) -> Sequence[CameraEvidenceFile | EvidenceFile]:
        """Those there are; the first that says something is right."""
        return [key for key in (self.camera, self.file) if key is not None]


def evidence_of_camera(written: Written, vocabulary: Vocabulary, wrong: Wrong) -> EvidenceSettings | None:
    """What is kept of one camera; None for nothing. vocabulary: of its model."""
    pictures = next((key.pictures for key in written.keys if key.pictures is not None), DEFAULT_PICTURES)
    clip = _clip(written, wrong)
    record_source = _record_source(written, clip, wrong)
    if not written.keys or (pictures == "none" and clip is None):
        return None
    people = _people(written, vocabulary, wrong, needed=pictures == "masked")
    return EvidenceSettings(pictures, people, clip, record_source)


def _people(written: Written, vocabulary: Vocabulary, wrong: Wrong, *, needed: bool) -> tuple[str, ...]:
    file, camera, told = written.file, written.camera, False
    if camera is not None and camera.people is not None:
        people = vocabulary.classes_of_terms(
            camera.people, lambda steps, message: wrong((*written.at, "people", *steps), message)
        )
        told = not people
    elif file is not None and file.people is not None:
        # Another camera's model may have the others; ``check_people`` has looked at each word.
        people = vocabulary.classes_of_terms(file.people, lambda steps, message: None)
        told = not any(term in vocabulary.groups or vocabulary.models_with(term) for term in file.people)
    else:
        people = tuple(name for name in vocabulary.classes or () if is_person(name))
    if needed and not (people or told) and vocabulary.classes is not None:
        said_by_camera = camera is not None and (camera.pictures or camera.people or file is None)
        wrong(
            written.at if said_by_camera else ("evidence",),
            f"camera {written.name}: the model {vocabulary.model} has no class of people, so `masked` can "
            "hide nobody; name the classes to hide in `people`, or write labels or none",
        )
    return people


def _clip(written: Written, wrong: Wrong) -> ClipSettings | None:
    clip = next((key.clip for key in written.keys if key.clip is not None), False)
    if not isinstance(clip, ClipFile):
        return None
    recordable = "://" not in written.source or written.source.lower().startswith(_RECORDABLE)
    if launch_line.pipeline_of(written.source) is not None or not recordable:
        _need_record_source(written, wrong)
    return ClipSettings(clip.before, clip.after)


def _need_record_source(written: Written, wrong: Wrong) -> None:
    if written.camera is not None and written.camera.record_source is not None:
        return
    own = written.camera is not None and written.camera.clip is not None
    wrong(
        (*written.at, "clip") if own else ("evidence", "clip"),
        f"camera {written.name}: its source hands over no packets that a clip could be made of; name a "
        "stream of it in record_source (rtsp://...), or write clip: off for it",
    )


def _record_source(written: Written, clip: ClipSettings | None, wrong: Wrong) -> SourceUrl | None:
    text = written.camera.record_source if written.camera is not None else None
    if text is None:
        return None
    at = (*written.at, "record_source")
    if clip is None:
        wrong(at, "has no effect without clip: clips are made of it")
        return None
    try:
        source = addresses.source(text)
    except ValueError as error:
        wrong(at, str(error))
        return None
    if not text.lower().startswith(_STREAMS):
        wrong(at, f"got {source.shown}, expected a stream: {', '.join(_STREAMS)}")
    return source


def check_people(file: EvidenceFile | None, vocabulary: Vocabulary, wrong: Wrong) -> None:
    """Each word is known to some model of the file. vocabulary: of all of them together."""
    if file is not None and file.people is not None:
        vocabulary.classes_of_terms(
            file.people, lambda steps, message: wrong(("evidence", "people", *steps), message)
        )


def is_person(name: str) -> bool:
    """Whether a class is one of people, by its name."""
    return not PEOPLE_WORDS.isdisjoint(re.findall("[a-z]+", name.lower()))
