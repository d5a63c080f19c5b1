"""The key ``evidence``, in the file and in a camera: what it means, and each way to get it wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseg import config
from edgeseg.config.keys.evidence import is_person, size_bytes
from edgeseg.errors import ConfigError
from edgeseg.models import registry
from edgeseg.settings import ClipSettings, EvidenceBudget, EvidenceSettings, PipelineSettings, Secret
from tests.support.tiny_models import Convention, write_model

FILE = "yard.yaml"
CAMERA = """\
cameras:
  yard:
    source: rtsp://10.0.0.5/stream2
"""
CITYSCAPES = "model: deeplab-mnv2-cityscapes\n"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str) -> PipelineSettings:
    Path(FILE).write_text(text, encoding="utf-8")
    return config.load(Path(FILE))


def evidence(text: str) -> EvidenceSettings | None:
    return load(text).cameras[0].evidence


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text)
    return str(caught.value).split("\n")


def test_without_the_key_nothing_is_kept() -> None:
    settings = load(CAMERA)
    assert settings.cameras[0].evidence is None
    assert settings.evidence_budget == EvidenceBudget(200_000_000, 7.0)


@pytest.mark.parametrize("text", ["on", "yes", "masked", "{}", "{pictures: masked}", "{days: 3}"])
def test_on_means_masked(text: str) -> None:
    assert evidence(f"evidence: {text}\n{CAMERA}") == EvidenceSettings("masked", ("person",))


@pytest.mark.parametrize("text", ["off", "no", "none", "{pictures: none}"])
def test_off_means_none(text: str) -> None:
    assert evidence(f"evidence: {text}\n{CAMERA}") is None
    assert evidence(f"evidence: full\n{CAMERA}    evidence: {text}\n") is None


def test_a_camera_differs_where_it_says_so() -> None:
    assert evidence(f"{CAMERA}    evidence: labels\n") == EvidenceSettings("labels", ("person",))
    text = (
        f"evidence: {{pictures: labels, people: [person, dog]}}\n{CAMERA}    evidence: {{pictures: full}}\n"
    )
    assert evidence(text) == EvidenceSettings("full", ("person", "dog"))


def test_people_are_found_by_their_names() -> None:
    assert evidence(f"{CITYSCAPES}evidence: on\n{CAMERA}") == EvidenceSettings("masked", ("person", "rider"))
    assert is_person("Person, individual, someone")
    assert not is_person("personal computer")
    assert not is_person("motorbike")


def test_groups_and_lists_name_people() -> None:
    text = f"groups: {{soft: [person, dog]}}\nevidence: {{people: [soft, cat]}}\n{CAMERA}"
    assert evidence(text) == EvidenceSettings("masked", ("person", "dog", "cat"))


def test_the_budget() -> None:
    text = f"evidence: {{keep: 1.5 GB, days: 0.5}}\n{CAMERA}"
    assert load(text).evidence_budget == EvidenceBudget(1_500_000_000, 0.5)
    assert size_bytes("1 MiB") == 1 << 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("evidence: blurred\n", "got 'blurred', expected full, masked, labels, none, or keys"),
        ("evidence: {keep: 200}\n", "got 200, expected a size such as '200 MB'"),
        ("evidence: {keep: 1 kB}\n", "got 1 kB, expected 1 MB to 1000 GB"),
        ("evidence: {days: 0}\n", "got 0, expected 0.01 to 3650"),
        ("evidence: {people: [pedestrain]}\n", "has no class 'pedestrain'"),
        ("evidence: {picture: full}\n", "did you mean 'pictures'?"),
    ],
)
def test_mistakes_are_told(text: str, message: str) -> None:
    (problem,) = problems(text + CAMERA)
    assert problem.startswith(f"{FILE}:1:")
    assert message in problem


def test_a_mistake_of_a_camera_is_told_there() -> None:
    (problem,) = problems(f"{CAMERA}    evidence: {{people: [persom]}}\n")
    assert problem.startswith(f"{FILE}:4:")
    assert "did you mean 'person'?" in problem


def test_a_network_that_knows_no_people_can_hide_none(tmp_path: Path) -> None:
    text = "model: tiny/model.yaml\nevidence: on\n" + CAMERA
    write_model(tmp_path / "tiny", Convention())
    (problem,) = problems(text)
    assert problem.startswith(f"{FILE}:2:")
    assert "has no class of people, so `masked` can hide no person" in problem
    assert "labels or none" in problem
    assert evidence(text.replace("evidence: on", "evidence: labels")) == EvidenceSettings("labels", ())
    assert evidence(text.replace("on\n", "{people: [red]}\n", 1)) == EvidenceSettings("masked", ("red",))


def test_a_word_that_another_cameras_network_knows_is_no_mistake() -> None:
    gate = "  gate:\n    source: rtsp://10.0.0.6/s\n    model: deeplab-mnv2-cityscapes\n"
    text = f"evidence: {{people: [person, rider]}}\n{CAMERA}{gate}"
    settings = load(text)
    assert [camera.evidence for camera in settings.cameras] == [
        EvidenceSettings("masked", ("person",)),
        EvidenceSettings("masked", ("person", "rider")),
    ]


def test_a_clip_and_where_it_comes_from() -> None:
    assert evidence(f"evidence: {{clip: on}}\n{CAMERA}") == EvidenceSettings(
        "masked", ("person",), ClipSettings(5.0, 10.0)
    )
    text = f"evidence: {{pictures: none, clip: {{before: 2 s, after: 1 min}}}}\n{CAMERA}"
    assert evidence(text) == EvidenceSettings("none", ("person",), ClipSettings(2.0, 60.0))
    assert evidence(f"{text}    evidence: {{clip: off}}\n") is None
    sharper = "    evidence: {record_source: 'rtsp://me:secret@10.0.0.5/main'}\n"
    kept = evidence(text + sharper)
    assert kept is not None
    assert kept.record_source is not None
    assert kept.record_source.shown == "rtsp://***@10.0.0.5/main"
    assert "secret" not in repr(kept)


def test_passwords_of_second_streams_come_from_the_environment_and_are_hidden(tmp_path: Path) -> None:
    second = "    evidence: {clip: on, record_source: 'rtsp://me:${PASSWORD}@10.0.0.5/main'}\n"
    settings = load(CAMERA + second)
    with pytest.raises(ConfigError, match=r"evidence.record_source: .*PASSWORD is not set"):
        config.resolve(settings, {}, None)
    resolved = config.resolve(settings, {"PASSWORD": "s3/cret"}, None)
    kept = resolved.cameras[0].evidence
    assert kept is not None
    assert kept.record_source is not None
    assert kept.record_source.url == Secret("rtsp://me:s3%2Fcret@10.0.0.5/main")
    assert config.secrets_of(resolved) == ("s3/cret",)


@pytest.mark.parametrize(
    ("source", "keys", "message"),
    [
        ("rtsp://10.0.0.5/s", "{clip: long}", "got 'long', expected on, off, or keys"),
        ("rtsp://10.0.0.5/s", "{clip: {before: 1 min}}", "got 1 min, expected 0 s to 30 s"),
        ("rtsp://10.0.0.5/s", "{clip: {after: 0 s}}", "got 0 s, expected 1 s to 2 min"),
        ("rtsp://10.0.0.5/s", "{record_source: 'rtsp://10.0.0.5/t'}", "has no effect without clip"),
        (
            "rtsp://10.0.0.5/s",
            "{clip: on, record_source: main.mp4}",
            "got main.mp4, expected a stream: rtsp://",
        ),
        ("csi://0", "{clip: on}", "hands over no packets"),
        ("v4l2:///dev/video0", "{clip: on}", "hands over no packets"),
        ("'gstreamer: videotestsrc ! appsink'", "{clip: on}", "hands over no packets"),
    ],
)
def test_mistakes_about_clips_are_told(source: str, keys: str, message: str) -> None:
    (problem,) = problems(f"cameras:\n  yard:\n    source: {source}\n    evidence: {keys}\n")
    assert problem.startswith(f"{FILE}:4:")
    assert message in problem


def test_a_second_stream_makes_clips_of_what_hands_over_none() -> None:
    keys = "{clip: on, record_source: 'rtsp://10.0.0.5/t'}"
    assert evidence(f"cameras:\n  yard:\n    source: csi://0\n    evidence: {keys}\n") is not None


def test_lint_warns_that_clips_are_not_masked() -> None:
    settings = load(f"evidence: {{clip: on}}\n{CAMERA}")
    assert any("clips show people" in warning for warning in config.lint_warnings(settings, registry.find))
