"""``edgeseg eval``: scores that can be worked out by hand, and two artefacts held against each other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator

from edgeseg.cli import main
from edgeseg.commands import evaluate
from tests.support.tiny_models import Convention, picture, write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny", Convention())


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """One picture of three blocks; its labels say that the blue one is green, and leave a strip void."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    blocks = picture()
    truth = np.zeros(blocks.shape[:2], np.uint8)
    truth[blocks[..., 0] > 0] = 1
    truth[(blocks[..., 1] > 0) | (blocks[..., 2] > 0)] = 2
    truth[40:] = 255
    cv2.imwrite(str(folder / "images" / "a.png"), blocks[..., ::-1])
    cv2.imwrite(str(folder / "labels" / "a.png"), truth)
    return folder


def answer(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    assert main(["eval", *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    Draft202012Validator(evaluate.JSON_SCHEMA).validate(found)
    return found


def test_scores_are_those_of_the_fcn_paper(
    model: Path, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer([str(model), str(labelled)], capsys)
    # Blocks are 8 x 16 pixels; the lowest 8 of 48 rows are void. Blue is predicted, never true.
    assert found["iou"] == {"background": 1.0, "red": 1.0, "green": 0.5, "blue": 0.0}
    assert found["mean_iou"] == 0.625
    pixels = 64 * 40
    assert found["pixel_accuracy"] == round((pixels - 128) / pixels, 4)
    background = pixels - 3 * 128
    assert found["frequency_weighted_iou"] == round((background + 128 + 256 * 0.5) / pixels, 4)


def test_labels_come_back_through_any_fit(
    model: Path, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer([str(model), str(labelled), "--fit", "letterbox"], capsys)
    assert (found["fit"], found["mean_iou"]) == ("letterbox", 0.625)


def test_camvids_own_folder_names(model: Path, labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (labelled / "images").rename(labelled / "val")
    (labelled / "labels").rename(labelled / "valannot")
    assert answer([str(model), str(labelled)], capsys)["pictures"] == 1


@pytest.fixture
def two_artefacts(tmp_path: Path) -> Path:
    """Float and "int8": the same network twice, so that they must agree in everything."""
    folder = write_model(tmp_path / "pair", Convention())
    document = yaml.safe_load((folder / "model.yaml").read_text())
    (float_one,) = document["artefacts"]
    shutil.copy(folder / float_one["file"], folder / "second.onnx")
    document["artefacts"].append(float_one | {"file": "second.onnx", "precision": "int8"})
    (folder / "model.yaml").write_text(yaml.safe_dump(document))
    return folder


def test_without_labels_artefacts_are_held_against_float(
    two_artefacts: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer([str(two_artefacts), str(tiny_clip), "--pictures", "10"], capsys)
    assert found["pictures"] == 10
    assert found["agreement"] == 1.0
    assert found["occupancy_error"] == {"mean": 0.0, "p95": 0.0}
    assert found["shift_cells"] == [0.0, 0.0]


def test_the_table_reads_well(model: Path, labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(model), str(labelled)]) == 0
    said = capsys.readouterr().out
    assert "tiny on onnxruntime, input 64x48, fit stretch" in said
    assert "mean IoU 62.5%" in said


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda data: cv2.imwrite(str(data / "labels/a.png"), np.zeros((24, 32), np.uint8)), "32 x 24"),
        (lambda data: cv2.imwrite(str(data / "labels/a.png"), np.full((48, 64), 9, np.uint8)), "class 9"),
        (lambda data: (data / "labels/a.png").unlink(), "missing"),
    ],
    ids=["another size", "a class beyond the list", "no labels"],
)
def test_wrong_labels_are_one_line(
    break_it: Any, words: str, model: Path, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_it(labelled)
    assert main(["eval", str(model), str(labelled)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_model_without_a_float_artefact_has_nothing_to_compare_with(
    tmp_path: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path / "tiny", Convention(), precision="int8")
    assert main(["eval", str(model), str(tiny_clip)]) == 2
    assert "in float" in capsys.readouterr().err
