"""model.yaml changes in one place and nowhere else."""

from __future__ import annotations

import pytest
import yaml

from edgeseg.errors import ModelError
from edgeseg.zoo.manifest_text import fresh, with_artefact

WRITTEN = """\
# A manifest by hand.
name: yard
artefacts:   # the best first
- file: int8.onnx   # made in May
  format: onnx
  precision: int8
# the float one stays
- file: float.onnx
  format: onnx
  input:
    size: 64x64

    # until here

fit: stretch   # as the camera was
"""
ENTRY = {"file": "new.onnx", "format": "onnx", "figures": {"agreement": 0.99, "shift_cells": [0.0, 0.1]}}


def files(text: str) -> list[str]:
    return [entry["file"] for entry in yaml.safe_load(text)["artefacts"]]


def test_an_entry_takes_the_place_of_another() -> None:
    text = with_artefact(WRITTEN, ENTRY, "int8.onnx")
    assert files(text) == ["new.onnx", "float.onnx"]
    assert yaml.safe_load(text)["artefacts"][0] == ENTRY
    lost = set(WRITTEN.splitlines()) - set(text.splitlines())
    assert lost == {"- file: int8.onnx   # made in May", "  precision: int8"}
    assert "# the float one stays" in text
    assert with_artefact(text, ENTRY, "new.onnx") == text


def test_a_new_entry_comes_first_and_one_for_another_flavour_last() -> None:
    text = with_artefact(WRITTEN, ENTRY, None)
    assert files(text) == ["new.onnx", "int8.onnx", "float.onnx"]
    assert set(WRITTEN.splitlines()) <= set(text.splitlines())
    text = with_artefact(WRITTEN, ENTRY | {"flavour": "tensorrt"}, None, "a note")
    assert files(text) == ["int8.onnx", "float.onnx", "new.onnx"]
    assert "- file: new.onnx\n  # a note\n" in text
    assert set(WRITTEN.splitlines()) <= set(text.splitlines())


def test_the_last_line_may_lack_its_end() -> None:
    text = with_artefact("artefacts:\n  - file: a.onnx", ENTRY | {"flavour": "tensorrt"}, None)
    assert files(text) == ["a.onnx", "new.onnx"]


@pytest.mark.parametrize("artefacts", ["[{file: a.onnx}]", "\n  - {file: a.onnx}"])
def test_brackets_are_refused(artefacts: str) -> None:
    with pytest.raises(ModelError, match="artefacts is in brackets"):
        with_artefact(f"artefacts: {artefacts}\n", ENTRY, None)


def test_a_fresh_manifest_survives_awkward_words() -> None:
    text = fresh("yard", "Yard: 'day' #1", "unknown", (64, 32), ("no", "1", "car"), ENTRY)
    document = yaml.safe_load(text)
    assert (document["title"], document["input"]["size"]) == ("Yard: 'day' #1", "64x32")
    assert [entry["name"] for entry in document["classes"]] == ["no", "1", "car"]
    assert [tuple(entry["colour"]) for entry in document["classes"]] == [
        (128, 0, 0),
        (0, 128, 0),
        (128, 128, 0),
    ]
