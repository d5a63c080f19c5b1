"""Each mistake of a user gives one clear line and exit code 2, and leaves nothing half-written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edgeseg.cli import main
from edgeseg.system.atomic_files import atomic_write
from edgeseg.system.paths import cache_dir, state_dir
from tests.conftest import write_clip
from tests.support.tiny_models import Convention, write_manifest, write_model

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


def test_a_pipeline_file_where_the_clip_comes(
    model: Path, tmp_path: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = pipeline(tmp_path, model, "clip.mp4")
    assert main(["replay", str(file), str(tiny_clip)]) == 2
    assert one_line(capsys) == (
        f"edgeseg: {file}: is no clip; the clip comes first, then the pipeline file: "
        f"edgeseg replay {tiny_clip} {file}"
    )


def test_a_rate_out_of_bounds(tiny_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", str(tiny_clip), "--rate", "0"]) == 2
    one_line(capsys, "--rate 0")


def test_a_start_that_is_no_time(tiny_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["replay", str(tiny_clip), "p.yaml", "--start", "yesterday"])
    assert ended.value.code == 2
    assert "yesterday" in capsys.readouterr().err


def writing_to(output: Path, command: str, model: Path, clip: Path, folder: Path) -> list[str]:
    """The arguments of a command that reads ``clip`` and writes to ``output``."""
    if command == "segment":
        return ["segment", str(clip), "--model", str(model), "--output", str(output), "--rate", "60"]
    return ["replay", str(clip), str(pipeline(folder, model, "clip.mp4")), "--output", str(output)]


@pytest.mark.parametrize("command", ["segment", "replay"])
def test_an_output_that_cannot_be_made(
    command: str, model: Path, tmp_path: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nobody makes files in /proc, not even root.
    for output in (Path("/proc/edgeseg/out"), tiny_clip / "out"):
        assert main(writing_to(output, command, model, tiny_clip, tmp_path)) == 2
        one_line(capsys, f"{output}: cannot be written", "--output")


def test_an_output_of_the_wrong_kind(
    model: Path, tmp_path: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert main(writing_to(file, "segment", model, tiny_clip, tmp_path)) == 2
    one_line(capsys, f"{file}: is a file, expected a folder", "--output")
    assert main(writing_to(tmp_path, "replay", model, tiny_clip, tmp_path)) == 2
    one_line(capsys, f"{tmp_path}: is a folder, expected a file", "--output")
    assert file.read_text() == "mine"


def test_a_demo_that_cannot_write(
    pulled_models: Path,
    tmp_path: Path,
    tiny_clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGESEG_CACHE", str(pulled_models))
    output = tiny_clip / "out"
    assert main(["demo", "--clip", str(tiny_clip), "--output", str(output)]) == 2
    one_line(capsys, f"{output}: cannot be written", "--output")


@pytest.mark.parametrize("command", ["segment", "replay"])
def test_a_disk_that_is_full(command: str, model: Path, tmp_path: Path, tiny_clip: Path) -> None:
    output = tmp_path / "new" / "out"
    arguments = writing_to(output, command, model, tiny_clip, tmp_path)
    # Files of at most one block: to the one who writes a larger one, the same as no space.
    limited = ["sh", "-c", 'ulimit -f 1 && exec "$@"', "sh", sys.executable, "-m", "edgeseg", *arguments]
    ended = subprocess.run(
        limited,
        capture_output=True,
        text=True,
        timeout=280,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "File too large" in ended.stderr
    assert str(output) in ended.stderr
    assert list(output.parent.iterdir()) == []


def test_a_transcript_into_a_device(model: Path, tmp_path: Path, tiny_clip: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True) as reader:
        assert main(writing_to(pipe, "replay", model, tiny_clip, tmp_path)) == 0
        assert reader.stdout is not None
        assert "edgeseg/test/yard" in reader.stdout.read()
    assert pipe.is_fifo()


def test_a_folder_of_the_users_beside_the_output(model: Path, tmp_path: Path, tiny_clip: Path) -> None:
    mine = tmp_path / "out.partial" / "mine"
    mine.mkdir(parents=True)
    for command in ("segment", "replay"):
        output = tmp_path / "out" if command == "segment" else tmp_path / "out" / "transcript"
        assert main(writing_to(output, command, model, tiny_clip, tmp_path)) == 0
    assert mine.is_dir()


@pytest.mark.parametrize("command", ["segment", "replay"])
def test_ctrl_c(command: str, model: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "long.mp4", frames=20000)
    folder = tmp_path / "results"
    arguments = writing_to(folder / "out", command, model, clip, tmp_path)
    # A shell's background job ignores interrupts, and so would what it starts.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        [sys.executable, "-m", "edgeseg", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            deadline_s = time.monotonic() + 240
            while not any(path.stat().st_size for path in folder.glob(".out.*/*") if path.is_file()):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline_s
                threading.Event().wait(0.02)
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=280) == ("", "")
        finally:
            process.kill()
            signal.signal(signal.SIGINT, inherited)
    assert process.returncode == 130
    assert list(folder.iterdir()) == []


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as partial:
        partial.write_text("first")
        assert not path.exists()

    def fail() -> None:
        with atomic_write(path) as partial:
            partial.write_text("second")
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        fail()
    assert path.read_text() == "first"
    with atomic_write(path):
        pass
    assert path.read_text() == "first", "nothing was written, so nothing appears"
    assert list(tmp_path.iterdir()) == [path]


def test_where_things_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EDGESEG_CACHE", "STATE_DIRECTORY", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert (cache_dir(), state_dir()) == (tmp_path / ".cache/edgeseg", tmp_path / ".local/state/edgeseg")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative, so ignored")
    monkeypatch.setenv("XDG_STATE_HOME", "/elsewhere")
    assert (cache_dir(), state_dir()) == (tmp_path / ".cache/edgeseg", Path("/elsewhere/edgeseg"))
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/edgeseg:/var/lib/other")
    assert cache_dir() == state_dir() == Path("/var/lib/edgeseg")
    monkeypatch.setenv("EDGESEG_CACHE", "/cache")
    assert (cache_dir(), state_dir()) == (Path("/cache"), Path("/var/lib/edgeseg"))
