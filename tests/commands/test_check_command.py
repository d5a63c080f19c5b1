"""``edgeseg check``: what it prints, and its exit codes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from edgeseg.commands import check
from edgeseg.errors import ConfigError
from tests.conftest import ROOT

GOOD = """\
cameras:
  yard:
    source: {source}
    zones:
      gate:
        polygon: [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]
        rules:
          blocked: {{occupied: [car]}}
          guarded: {{absent: [person]}}
  empty:
    source: rtsp://viewer:${{EMPTY_PASSWORD}}@10.0.0.6/
"""


def run(*arguments: str) -> int:
    """The command without the rest of the command line around it."""
    parser = argparse.ArgumentParser()
    check.add_parser(parser.add_subparsers())
    args = parser.parse_args(["check", *arguments])
    code: int = args.run(args)
    return code


def pipeline(folder: Path, text: str) -> str:
    path = folder / "yard.yaml"
    path.write_text(text)
    return str(path)


def report(printed: str) -> dict[str, object]:
    made: dict[str, object] = json.loads(printed)
    Draft202012Validator(check.JSON_SCHEMA).validate(made)
    return made


def test_a_good_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(pipeline(tmp_path, GOOD.format(source="rtsp://10.0.0.5/"))) == 0
    assert capsys.readouterr().out.splitlines() == [
        "note: cameras.empty: has no zones, so nothing of it is measured",
        "ok: 2 cameras, 1 zone, 2 rules",
    ]


def test_notes_say_what_has_no_effect_or_is_unwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """\
mqtt: {url: "mqtt://b", username: u, password_file: p}
cameras:
  yard:
    source: rtsp://viewer:hunter2@10.0.0.5/
    zones:
      gate:
        polygon: [[0, 0], [1, 0], [1, 1]]
        confidence: 50 %
        rules:
          night: {occupied: [car], hours: "22:00-06:00"}
          morning: {occupied: [car], hours: "06:00-09:00", timezone: UTC}
"""
    assert run(pipeline(tmp_path, text)) == 0
    printed = capsys.readouterr().out
    assert "hunter2" not in printed
    assert "UTC; write timezone: Europe/Rome" in printed
    assert [line.split(": ")[1] for line in printed.splitlines()[:-1]] == [
        "cameras.yard.source",
        "cameras.yard.zones.gate.rules.night.hours",
        "cameras.yard.zones.gate.confidence",
        "mqtt.url",
    ]


def test_problems_are_raised_for_the_command_line_to_print(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run(pipeline(tmp_path, "engine: kserv\ncameras: {yard: {sorce: 5}}"))
    assert len(caught.value.problems) == 3


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(pipeline(tmp_path, GOOD.format(source="rtsp://10.0.0.5/")), "--json") == 0
    good = report(capsys.readouterr().out)
    assert (good["ok"], good["cameras"], good["zones"], good["rules"]) == (True, 2, 1, 2)
    assert run(pipeline(tmp_path, "cameras: {yard: {}}"), "--json") == 2
    bad = report(capsys.readouterr().out)
    assert (bad["ok"], bad["cameras"]) == (False, None)
    assert bad["problems"] == [
        {
            "file": f"{tmp_path}/yard.yaml",
            "line": 1,
            "column": 17,
            "where": "cameras.yard.source",
            "message": "is missing",
        }
    ]


def test_static_by_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither the clip nor the variable exists, and no weights are anywhere.
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EMPTY_PASSWORD", raising=False)
    assert run(pipeline(tmp_path, GOOD.format(source="absent.mp4"))) == 0
    assert "ok: " in capsys.readouterr().out


def test_live_says_everything_that_this_machine_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EMPTY_PASSWORD", raising=False)
    monkeypatch.setenv("EDGESEG_MODELS", str(models_without_weights(tmp_path)))
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ConfigError) as caught:
        run(pipeline(tmp_path, GOOD.format(source="absent.mp4")), "--live")
    said = [f"{problem.where}: {problem.message}" for problem in caught.value.problems]
    assert any("EMPTY_PASSWORD is not set" in line for line in said)
    assert any("weights" in line and "edgeseg models pull" in line for line in said)
    monkeypatch.setenv("EMPTY_PASSWORD", "x")
    with pytest.raises(ConfigError, match=r"cameras\.yard\.source: absent\.mp4: no such file or folder"):
        run(pipeline(tmp_path, GOOD.format(source="absent.mp4")), "--live")


def test_live_loads_the_engine(
    tmp_path: Path,
    tiny_clip: Path,
    data_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = models_without_weights(tmp_path) / "deeplabv3-mnv2-pascal"
    name = "deeplabv3_mnv2_pascal_quant.tflite"
    (folder / name).symlink_to(data_dir / "models" / name)
    monkeypatch.setenv("EDGESEG_MODELS", str(folder.parent))
    monkeypatch.setenv("EMPTY_PASSWORD", "x")
    file = pipeline(tmp_path, GOOD.format(source=tiny_clip))
    assert run(file, "--live", "--json") == 0
    made = report(capsys.readouterr().out)
    loaded = {"model": "deeplabv3-mnv2-pascal", "engine": "litert", "input": "513x513"}
    assert made["engines"] in ([loaded | {"chosen": "unmeasured"}], [loaded | {"chosen": "measured"}])
    assert run(file, "--live") == 0
    assert "loaded: deeplabv3-mnv2-pascal in litert, 513x513" in capsys.readouterr().out


def models_without_weights(folder: Path) -> Path:
    """A folder of models with the manifest of one and its weights nowhere."""
    name = "deeplabv3-mnv2-pascal"
    manifest = ROOT / "models" / name / "model.yaml"
    target = folder / "models" / name
    target.mkdir(parents=True)
    (target / "model.yaml").write_text(manifest.read_text())
    return target.parent
