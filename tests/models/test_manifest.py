"""model.yaml is read once, and everything that is wrong with it is said at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from edgeseg.errors import ConfigError
from edgeseg.models import manifest
from tests.conftest import ROOT
from tests.support.tiny_models import CLASSES, PALETTE, Convention, write_model

SHIPPED = sorted((ROOT / "models").glob("*/model.yaml"))


def test_a_manifest_becomes_a_frozen_model(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "tiny", Convention(multiple_of=16))
    model = manifest.load(folder / "model.yaml")
    assert (model.name, model.classes, model.input.size_px) == ("tiny", CLASSES, (64, 48))
    assert model.palette.dtype == np.uint8
    assert model.palette.tolist() == [list(colour) for colour in PALETTE]
    assert not model.palette.flags.writeable
    assert len(model.digest) == 64
    assert model.artefacts[0].blob.bytes == (folder / "tiny.onnx").stat().st_size


def test_an_artefact_may_differ_in_input_and_output(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "tiny", Convention())
    document = yaml.safe_load((folder / "model.yaml").read_text())
    second = document["artefacts"][0] | {
        "file": "other.tflite",
        "format": "tflite",
        "input": {"layout": "nhwc", "dtype": "int8", "size": "32x32"},
        "output": {"form": "labels"},
    }
    document["artefacts"].append(second)
    (folder / "model.yaml").write_text(yaml.safe_dump(document))
    first, other = manifest.load(folder / "model.yaml").artefacts
    assert (first.input.layout, first.input.dtype, first.output.form) == ("nchw", "float32", "logits")
    assert (other.input.layout, other.input.dtype, other.input.size_px) == ("nhwc", "int8", (32, 32))
    assert other.input.colour == "rgb"
    assert other.output.form == "labels"


def test_measured_sizes_come_largest_first(tmp_path: Path) -> None:
    sizes = [{"size": "32x32", "miou": 0.6}, {"size": "64x48", "miou": 0.7}]
    folder = write_model(tmp_path / "tiny", Convention(multiple_of=16), sizes=sizes)
    model = manifest.load(folder / "model.yaml")
    assert model.sizes == (manifest.SizeScore((64, 48), 0.7), manifest.SizeScore((32, 32), 0.6))


def test_a_measured_size_must_be_one_the_network_takes(tmp_path: Path) -> None:
    sizes = [{"size": "32x30", "miou": 0.6}]
    folder = write_model(tmp_path / "tiny", Convention(multiple_of=16), sizes=sizes)
    with pytest.raises(ConfigError, match=r"sizes\[0\].size: got 32x30, but .* multiples of 16"):
        manifest.load(folder / "model.yaml")


def test_every_problem_at_once(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "tiny", Convention())
    document = yaml.safe_load((folder / "model.yaml").read_text())
    document["artefacts"][0] |= {"file": "../../etc/passwd", "sha256": "abc", "url": "http://u:p@h/x"}
    document["input"] |= {"size": "64", "std": [1, 0, 1], "layuot": "nhwc"}
    document["output"]["form"] = "logit"
    document["classes"][0]["colour"] = [0, 0, 256]
    document["classes"][1]["name"] = "Red light"
    del document["licence"]
    (folder / "model.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    with pytest.raises(ConfigError) as caught:
        manifest.load(folder / "model.yaml")
    said = {problem.where: problem for problem in caught.value.problems}
    for where, words in {
        "artefacts[0].file": "plain file name",
        "artefacts[0].sha256": "64 lower-case",
        "artefacts[0].url": "without credentials",
        "input.size": "got '64', expected WIDTHxHEIGHT",
        "input.std": "above 0",
        "input.layuot": "did you mean 'layout'?",
        "output.form": "did you mean 'logits'?",
        "classes[0].colour[2]": "got 256",
        "classes[1].name": "'Red light'",
        "licence": "is missing",
    }.items():
        assert words in said[where].message
        assert said[where].line > 0
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        ({"name": "other"}, "name", "its folder is called 'tiny'"),
        ({"classes": [{"name": "a", "colour": [0, 0, 0]}] * 2}, "classes[1].name", "is class 0 already"),
        ({"input": {"size": "64x50", "multiple_of": 16}}, "input.size", "multiples of 16"),
        ({"output": {"form": "deploy", "names": {"labels": "x"}}}, "output.names", "labels and confidence"),
        ({"output": {"form": "mask"}}, "classes", "form mask tells 2 apart"),
    ],
)
def test_contradictions(tmp_path: Path, change: dict[str, object], where: str, words: str) -> None:
    folder = write_model(tmp_path / "tiny", Convention(), **change)
    with pytest.raises(ConfigError) as caught:
        manifest.load(folder / "model.yaml")
    (problem,) = caught.value.problems
    assert (problem.where, words in problem.message) == (where, True), problem


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_shipped_manifests(path: Path) -> None:
    model = manifest.load(path)
    card = (path.parent / "card.md").read_text()
    assert model.licence in card
    assert "Bad at" in card
    for artefact in model.artefacts:
        # Either it can be fetched from a pinned place, or it travels along.
        if artefact.blob.url is None:
            assert (path.parent / artefact.blob.file).stat().st_size == artefact.blob.bytes
        else:
            assert "104342d2d3480b3e66203073dac24f4e2dbb4c41" in artefact.blob.url


def test_shipped_classes_are_those_of_the_label_files(data_dir: Path) -> None:
    def names(file: str) -> list[str]:
        text = (data_dir / "samples" / file).read_text()
        return [line.replace(" ", "_") for line in text.split("\n\n")[0].split("\n") if line]

    def flat(classes: tuple[str, ...]) -> list[str]:
        return [name.replace("_", "") for name in classes]

    voc = names("pascal_voc_segmentation_labels.txt")
    for name in ("deeplabv3-mnv2-pascal", "deeplabv3-mnv2-dm05-pascal"):
        assert flat(manifest.load(ROOT / "models" / name / "model.yaml").classes) == voc
    # That file lists a background that the network does not have.
    streets = names("cityscapes_segmentation_labels.txt")[1:]
    model = manifest.load(ROOT / "models" / "deeplab-mnv2-cityscapes" / "model.yaml")
    assert list(model.classes) == streets
