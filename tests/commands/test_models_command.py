"""``edgeseg models``: tables for people, JSON for programs, exit code 2 for what the user has to mend."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import jsonschema
import pytest

from edgeseg.commands import models
from edgeseg.errors import ConfigError, ModelError
from edgeseg.models import registry
from tests.conftest import ROOT
from tests.support.tiny_models import Convention, write_model

SHIPPED = {path.parent.name for path in (ROOT / "models").glob("*/model.yaml")}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGESEG_MODEL_MIRROR", raising=False)
    monkeypatch.setenv("EDGESEG_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    # The checkout's own folders may hold weights: these have none but what cannot be fetched.
    for name in SHIPPED:
        (tmp_path / "models" / name).mkdir(parents=True)
        for file in ("model.yaml", "card.md"):
            shutil.copy(ROOT / "models" / name / file, tmp_path / "models" / name)
        for artefact in registry.find(str(ROOT / "models" / name)).artefacts:
            for blob in artefact.blobs:
                if blob.url is None:
                    shutil.copy(ROOT / "models" / name / blob.file, tmp_path / "models" / name)


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    models.add_parser(parser.add_subparsers())
    args = parser.parse_args(["models", *arguments])
    code: int = args.run(args)
    return code


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, object]]:
    assert run(*arguments, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, models.JSON_SCHEMA)
    return {model["name"]: model for model in document["models"]}


def test_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(tmp_path / "models" / "tiny", Convention(multiple_of=16))
    assert run("list") == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line for line in out.splitlines() if line}
    assert rows["tiny"].split()[-1] == "ok"
    assert "any multiple of 16" in rows["tiny"]
    assert rows["deeplabv3-mnv2-pascal"].split()[-1] == "missing"
    assert "edgeseg models pull" in out
    listed = answer(capsys, "list")
    assert set(listed) == SHIPPED | {"tiny"}
    assert listed["tiny"]["input"] == {"width": 64, "height": 48, "multiple_of": 16}


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "deeplabv3-mnv2-pascal") == 0
    out = capsys.readouterr().out
    for words in ("Apache-2.0", "513x513", "dining_table", "sha256 350af47f", "google-coral", "Bad at"):
        assert words in out
    assert set(answer(capsys, "show", "deeplabv3-mnv2-pascal")) == {"deeplabv3-mnv2-pascal"}


def test_show_of_a_model_that_travels_along(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", str(ROOT / "models" / "icnet-mnv2-camvid")) == 0
    out = capsys.readouterr().out
    assert "from edgeseg itself: it travels along" in out
    assert "nowhere" not in out
    assert "![" not in out
    assert "Bad at" in out


def test_pull_and_verify(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    monkeypatch.setenv("EDGESEG_MODEL_MIRROR", str(data_dir / "models"))
    assert run("pull", "--all") == 0
    out = capsys.readouterr().out
    assert all(f"ok      {name}" in out for name in SHIPPED)
    assert run("verify") == 0
    capsys.readouterr()
    described = answer(capsys, "verify", "deeplab-mnv2-cityscapes")["deeplab-mnv2-cityscapes"]
    path = Path(described["artefacts"][0]["files"][0]["path"])  # type: ignore[index]
    assert path.is_relative_to(tmp_path / "cache")
    path.write_bytes(path.read_bytes()[:-1])
    for arguments in (("verify",), ("verify", "deeplab-mnv2-cityscapes"), ("verify", "--json")):
        with pytest.raises(ModelError, match=r"cut short.*edgeseg models pull deeplab-mnv2-cityscapes"):
            run(*arguments)
        assert "damaged" in capsys.readouterr().out
    assert run("pull", "deeplab-mnv2-cityscapes") == 0


def test_verify_says_what_fails_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("verify", "--help")
    said = " ".join(capsys.readouterr().out.split())
    assert "only damaged files fail it, and of a model that is named missing ones too" in said
    assert run("verify") == 0
    assert "missing" in capsys.readouterr().out


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="did you mean 'deeplabv3-mnv2-pascal'"):
        run("show", "deeplabv3-mnv2-pascla")
    with pytest.raises(ModelError, match="edgeseg models pull deeplabv3-mnv2-pascal"):
        run("verify", "deeplabv3-mnv2-pascal")
    write_model(tmp_path / "models" / "tiny", Convention(), fit="strech")
    with pytest.raises(ConfigError, match=r"model\.yaml:\d+:\d+: fit: got 'strech'.*did you mean 'stretch'"):
        run("list")
