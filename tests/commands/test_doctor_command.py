"""``edgeseg doctor``: the table of engines, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from edgeseg.cli import main
from edgeseg.commands.doctor import JSON_SCHEMA
from edgeseg.engines.select import is_measured
from edgeseg.models import registry
from edgeseg.models.runtimes import ENGINES
from tests.support.tiny_models import Convention, write_model


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "cache"))
    return write_model(tmp_path / "tiny", Convention())


def test_every_engine_has_its_line(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not ENGINES["openvino"].installed or not is_measured(registry.find(str(model)), (64, 48))
    assert main(["doctor", str(model), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, JSON_SCHEMA)
    (engines,) = found["engines"]
    assert (engines["model"], engines["input"], engines["threads"]) == ("tiny", "64x48", 1)
    assert engines["candidates"][0]["state"] == "chosen"
    rows = {row["engine"]: row for row in engines["candidates"]}
    assert set(rows) == set(ENGINES)
    assert rows["onnxruntime"]["state"] in ("chosen", "slower")
    assert rows["onnxruntime"]["agreement"] == 1.0
    assert engines["chosen"] == next(name for name, row in rows.items() if row["state"] == "chosen")
    assert rows["litert"]["verdict"] == "reads tflite, the model has onnx"
    for name, row in rows.items():
        if row["state"] == "not installed":
            assert row["verdict"].endswith(ENGINES[name].install)
    (finding,) = found["findings"]
    assert (finding["section"], finding["state"]) == ("engines", "ok")
    # `run` need not measure again.
    assert is_measured(registry.find(str(model)), (64, 48))


def test_the_table_for_people(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(model)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("engines: tiny at 64x48, 1 thread, on ")
    assert "same labels" in lines[1]
    assert "chosen" in lines[2]
    assert "`engine: auto` takes " in lines[-2]
    assert lines[-1] == "all is well"


def test_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    sections = ("device", "accelerators", "runtimes", "decoding", "disk", "service")
    code = main(["doctor", "--json", *(word for section in sections for word in ("--only", section))])
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, JSON_SCHEMA)
    assert code == (0 if found["ok"] else 1)
    states = {(one["section"], one["subject"]): one["state"] for one in found["findings"]}
    assert states["device", "board"] == states["disk", "state"] == "ok"
    assert states["runtimes", "libraries"] == states["decoding", "software"] == "ok"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--threads", "0"], "--threads 0: expected 1 to "),
        (["--input", "big"], "--input: "),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], words: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", str(model), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_weights_that_are_not_here(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model / "tiny.onnx").unlink()
    assert main(["doctor", str(model)]) == 2
    assert "edgeseg models pull tiny" in capsys.readouterr().err
