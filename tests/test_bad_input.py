"""Each mistake of a user gives one clear line and exit code 2, and leaves nothing half-written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgeseg.cli import main
from tests.tiny_models import Convention, write_manifest, write_model

PIPELINE = """\
node: test
model: {model}
cameras:
  yard:
    source: {source}
    zones:
      all:
        polygon: [[0, 0], [1, 0], [1, 1], [0, 1]]
        rules:
          seen: {{occupied: [red], enter: 10 %, leave: 5 %}}
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a network that works."""
    return write_model(tmp_path / "tiny", Convention(), "onnx", "float")


def one_line(capsys: pytest.CaptureFixture[str], *expected: str) -> str:
    """The only line on standard error, which must hold all of these words."""
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert "Traceback" not in lines[0]
    for words in expected:
        assert words in lines[0]
    return lines[0]


def pipeline(folder: Path, model: Path, source: str) -> Path:
    path = folder / "pipeline.yaml"
    path.write_text(PIPELINE.format(model=model, source=source))
    return path


@pytest.mark.parametrize("command", ["segment", "replay"])
def test_a_missing_clip(
    command: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = pipeline(tmp_path, model, "clip.mp4")
    more = [str(file)] if command == "replay" else ["--model", str(model), "--output", str(tmp_path / "out")]
    assert main([command, str(tmp_path / "gone.mp4"), *more]) == 2
    one_line(capsys, "gone.mp4", "no such file")


@pytest.mark.parametrize("command", ["segment", "replay"])
def test_a_truncated_clip(
    command: str, model: Path, tmp_path: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(tiny_clip.read_bytes()[: tiny_clip.stat().st_size // 2])
    out = tmp_path / "out"
    if command == "segment":
        arguments = ["segment", str(cut), "--model", str(model), "--output", str(out)]
    else:
        file = pipeline(tmp_path, model, "clip.mp4")
        arguments = ["replay", str(cut), str(file), "--output", str(out)]
    assert main(arguments) == 2
    one_line(capsys, "cut.mp4", "cut off")
    assert not out.exists()
    assert not list(tmp_path.glob("out*"))


def test_a_daemon_with_a_missing_clip(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(pipeline(tmp_path, model, "gone.mp4"))]) == 2
    assert "gone.mp4: no such file" in capfd.readouterr().err


def test_an_unknown_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", __file__, "--model", "deeplabv3-mnv2-pascall"]) == 2
    one_line(capsys, "no model 'deeplabv3-mnv2-pascall'", "deeplabv3-mnv2-pascal")


def test_weights_that_are_not_the_pinned_ones(
    model: Path, tmp_path: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = next(model.glob("*.onnx"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert main(["segment", str(tiny_clip), "--model", str(model), "--output", str(tmp_path / "out")]) == 2
    one_line(capsys, weights.name, "sha256")
    assert not (tmp_path / "out").exists()


def test_an_edge_tpu_model_on_a_cpu(
    data_dir: Path, tmp_path: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "deeplabv3_mnv2_dm05_pascal_quant_edgetpu.tflite"
    folder = tmp_path / "edgetpu"
    folder.mkdir()
    shutil.copy(data_dir / "models" / name, folder / name)
    labels = Convention(form="labels", layout="nhwc", dtype="uint8", size=(513, 513))
    write_manifest(folder, folder / name, labels, "tflite", "int8")
    assert main(["segment", str(tiny_clip), "--model", str(folder), "--output", str(tmp_path / "out")]) == 2
    one_line(capsys, name, "Edge TPU")


def test_several_cameras_and_none_named(
    model: Path, tmp_path: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = pipeline(tmp_path, model, "clip.mp4")
    file.write_text(file.read_text() + "  gate: {source: other.mp4}\n")
    assert main(["replay", str(tiny_clip), str(file)]) == 2
    one_line(capsys, "several cameras (yard, gate)", "--camera")
    assert main(["replay", str(tiny_clip), str(file), "--camera", "gat"]) == 2
    one_line(capsys, "--camera gat", "yard, gate")


def test_a_rate_out_of_bounds(tiny_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", str(tiny_clip), "--rate", "0"]) == 2
    one_line(capsys, "--rate 0")


def test_a_start_that_is_no_time(tiny_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["replay", str(tiny_clip), "p.yaml", "--start", "yesterday"])
    assert ended.value.code == 2
    assert "yesterday" in capsys.readouterr().err
