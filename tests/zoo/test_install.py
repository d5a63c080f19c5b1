"""``edgeseg models import`` and ``quantize``: whole model folders or nothing, figures in the manifest."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest
import yaml

from edgeseg.cli import main
from edgeseg.commands import models
from edgeseg.models import manifest, registry
from tests.conftest import ROOT
from tests.support.tiny_models import Convention, write_model

torch = pytest.importorskip("torch", reason="torch is not installed (extra zoo)")
pytest.importorskip("transformers", reason="transformers is not installed (extra zoo)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra zoo)")

from edgeseg.zoo.networks import build  # noqa: E402
from edgeseg.zoo.recipe import Recipe  # noqa: E402
from edgeseg.zoo.state import State  # noqa: E402
from tests.zoo.test_importing import save_segformer  # noqa: E402

# An export takes 20 seconds of one core, and twice that on a busy machine.
pytestmark = pytest.mark.timeout(400)

SHIPPED = ROOT / "models" / "deeplabv3plus-mnv2-camvid"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGESEG_MODELS", raising=False)
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight smooth pictures of 160 x 96."""
    folder = tmp_path_factory.mktemp("frames")
    random = np.random.default_rng(0)
    for index in range(8):
        small = random.integers(0, 256, (6, 8, 3), np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), cv2.resize(small, (160, 96), interpolation=cv2.INTER_CUBIC))
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "best.pt"
    torch.manual_seed(0)
    network = build("icnet", 3)
    with torch.no_grad():
        # Two classes with nearly the same logits: what int8 rounds decides between them.
        network.classify.weight[1] = network.classify.weight[0] * 1.0001
        network.classify.weight[2] = -network.classify.weight[0]
        network.classify.bias.zero_()
    State.around(Recipe("icnet", ("a", "b", "c"), 1), network).save(path)
    return path


@pytest.fixture(scope="module")
def imported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("models")
    arguments = ["--name", "mine", "--size", "160x96", "--into", str(into)]
    assert main(["models", "import", str(checkpoint), *arguments]) == 0
    return into / "mine"


@pytest.fixture
def model(imported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(imported, tmp_path / "models" / "mine"))


def one_line(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("edgeseg: ")
    assert all(word in said[-1] for word in words), said[-1]
    assert not any("Traceback" in line for line in said)


def test_a_checkpoint_becomes_a_model_and_gets_an_int8_artefact(
    model: Path, frames: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [artefact.precision for artefact in registry.find("mine").artefacts] == ["float"]
    arguments = ["models", "quantize", "mine", "--frames", str(frames), "--force"]
    assert main(arguments) == 0
    assert "agrees with float on" in capsys.readouterr().out
    first = registry.find("mine")
    registry.check(first)
    small = first.artefacts[0]
    assert (small.precision, small.figures and small.figures.judged_on) == ("int8", 4)
    # Other frames, another file; the manifest lists the new one and the old one is gone.
    assert main([*arguments[:-2], str(frames / "0.png"), "--force"]) == 2
    one_line(capsys, "1 frame, need at least 2")
    shorter = model.parent.parent / "shorter"
    shutil.copytree(frames, shorter, ignore=shutil.ignore_patterns("[0-3].png"))
    assert main(["models", "quantize", "mine", "--frames", str(shorter), "--force"]) == 0
    assert (
        main(["models", "quantize", "mine", "--frames", str(shorter), "--flavour", "tensorrt", "--force"])
        == 0
    )
    assert "never run on TensorRT" in capsys.readouterr().out
    files = {path.name for path in model.iterdir()}
    again = registry.find("mine")
    assert files == {"model.yaml", "card.md", *(artefact.blob.file for artefact in again.artefacts)}
    assert [artefact.flavour for artefact in again.artefacts] == ["cpu", "cpu", "tensorrt"]
    assert [artefact.precision for artefact in again.artefacts] == ["int8", "float", "int8"]
    assert "never run on TensorRT" in (model / "model.yaml").read_text()
    registry.check(again)
    assert main(["segment", "--model", "mine", str(frames / "0.png")]) == 0
    capsys.readouterr()
    assert main(["models", "show", "mine", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, models.JSON_SCHEMA)
    shown = document["models"][0]["artefacts"][0]["figures"]
    assert set(shown["agreement_iou"]) <= {"a", "b", "c"}
    assert main(["models", "show", "mine"]) == 0
    assert "zones differ by" in capsys.readouterr().out
    assert main(["models", "list"]) == 0
    assert "% as float)" in capsys.readouterr().out


def test_what_fails_the_gate_is_not_installed(
    model: Path, frames: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    assert main(["models", "quantize", "mine", "--frames", str(frames)]) == 2
    one_line(capsys, "int8 fails the gate: labels agree on", "need 97.00%", "--force")
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before
    assert [path.name for path in model.parent.iterdir()] == ["mine"]


def test_a_model_of_edgeseg_is_copied_and_its_comments_stay(
    tmp_path: Path, frames: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (SHIPPED / "model.yaml").read_bytes()
    assert main(["models", "quantize", SHIPPED.name, "--frames", str(frames), "--force"]) == 0
    assert (SHIPPED / "model.yaml").read_bytes() == before
    copied = tmp_path / "models" / SHIPPED.name
    assert registry.find(SHIPPED.name).folder.resolve() == copied
    registry.check(registry.find(SHIPPED.name))
    # What was said of the replaced file's figures goes with them.
    lines = before.decode().splitlines()
    comments = [line for line in lines if "#" in line and "# Calibrated on" not in line]
    after = (copied / "model.yaml").read_text().splitlines()
    assert comments == [line for line in after if "#" in line]
    assert "--into DIR" not in capsys.readouterr().err


def test_edgeseg_s_own_folder_is_left_alone(
    frames: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["models", "quantize", SHIPPED.name, "--frames", str(frames)]) == 2
    one_line(capsys, "models: is edgeseg's own folder", "--into DIR")


def test_public_checkpoints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_segformer(tmp_path / "public")
    arguments = ["models", "import", str(tmp_path / "public"), "--name", "street", "--licence", "MIT"]
    assert main(arguments) == 0
    imported = registry.find("street")
    assert imported.classes == ("road_street", "car", "car_2", "traffic-light")
    assert (imported.licence, imported.input.size_px) == ("MIT", (512, 512))
    assert main(["segment", "--model", "street", str(SHIPPED / "overlay-1.jpg")]) == 0
    capsys.readouterr()
    assert main(arguments) == 2
    one_line(capsys, "models/street: is there already")


def test_what_cannot_be_imported_leaves_nothing(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
    (tmp_path / "best.pt").write_bytes(b"not one")
    for origin, said in (
        (strange, "BertModel, expected SegformerForSemanticSegmentation or"),
        (tmp_path / "best.pt", "not a readable checkpoint"),
        (tmp_path / "none.pt", "no such file or folder"),
    ):
        assert main(["models", "import", str(origin), "--name", "mine"]) == 2
        one_line(capsys, said)
    assert main(["models", "import", str(checkpoint), "--name", "../mine"]) == 2
    one_line(capsys, "--name ../mine: expected lower-case letters")
    assert main(["models", "import", str(checkpoint), "--name", "mine", "--size", "100x64"]) == 2
    one_line(capsys, "expected multiples of 32")
    assert not (tmp_path / "models").exists()


def test_a_hub_that_cannot_be_reached(tmp_path: Path) -> None:
    # Nothing listens on port 9; asked in a process of its own because the address is read at import.
    environment = {
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(tmp_path / "hub"),
        "HOME": str(tmp_path),
    }
    command = [sys.executable, "-m", "edgeseg", "models", "import", "owner/network", "--name", "mine"]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=280, env={"PYTHONPATH": str(ROOT), **environment}
    )
    assert ended.returncode == 2, ended.stderr
    assert "owner/network: cannot be fetched from Hugging Face" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_frames_that_are_none(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "quantize", "mine", "--frames", str(tmp_path / "none")]) == 2
    one_line(capsys, "none: no such clip or folder")
    (tmp_path / "empty").mkdir()
    assert main(["models", "quantize", "mine", "--frames", str(tmp_path / "empty")]) == 2
    one_line(capsys, "no picture in this folder")


def test_a_model_without_a_float_deploy_graph(
    tmp_path: Path, frames: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(tmp_path / "models" / "tiny", Convention())
    assert main(["models", "quantize", "tiny", "--frames", str(frames)]) == 2
    one_line(capsys, "no float ONNX deploy graph to quantize, only onnx float with logits")


def test_artefacts_in_brackets(model: Path, frames: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = yaml.safe_load((model / "model.yaml").read_text())
    (model / "model.yaml").write_text(yaml.safe_dump(document, default_flow_style=True))
    manifest.load(model / "model.yaml")
    assert main(["models", "quantize", "mine", "--frames", str(frames), "--force"]) == 2
    one_line(capsys, "artefacts is in brackets")


@pytest.mark.parametrize("blocks", [8, 700])
def test_a_disk_that_fills(blocks: int, model: Path, frames: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    command = [
        sys.executable,
        "-m",
        "edgeseg",
        "models",
        "quantize",
        "mine",
        "--force",
        "--frames",
        str(frames),
    ]
    # Files of so many blocks at most: to the one who writes a larger one, the same as no space.
    limited = ["bash", "-c", f'ulimit -f {blocks} && exec "$@"', "bash", *command]
    ended = subprocess.run(limited, capture_output=True, text=True, timeout=280, cwd=tmp_path)
    assert ended.returncode == 2, ended.stderr
    assert "cannot be written" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before
    assert [path.name for path in model.parent.iterdir()] == ["mine"]
