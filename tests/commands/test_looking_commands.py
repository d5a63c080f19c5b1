"""``edgeseg segment`` and ``edgeseg demo``: what they print and what they leave behind."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
from jsonschema import Draft202012Validator

from edgeseg import config
from edgeseg.cli import main
from edgeseg.commands import segment
from edgeseg.commands.demo.clip import find_clip
from edgeseg.commands.demo.pipeline_file import write_demo_pipeline
from edgeseg.errors import EdgesegError
from edgeseg.system import paths
from tests.support.tiny_models import Convention, picture, write_model

WRITTEN = ("labels.png", "overlay.jpg")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny", Convention())


def test_a_picture_gives_an_overlay_labels_and_a_table(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "blocks.png"), picture()[..., ::-1])
    out = tmp_path / "out"
    arguments = [
        "segment",
        str(tmp_path / "blocks.png"),
        "--model",
        str(model),
        "--output",
        str(out),
        "--json",
    ]
    assert main(arguments) == 0
    answer = json.loads(capsys.readouterr().out)
    Draft202012Validator(segment.JSON_SCHEMA).validate(answer)
    assert answer["pictures"] == 1
    # Each block is 8 x 16 pixels of 64 x 48.
    assert answer["coverage"]["red"] == {"mean": 0.0417, "most": 0.0417}
    assert sorted(path.name for path in out.iterdir()) == ["blocks-labels.png", "blocks-overlay.jpg"]
    seen = cv2.imread(str(out / "blocks-labels.png"))[..., ::-1]
    assert (seen == picture()).all(), "the palette is red, green, blue, as the blocks are"
    assert {path.name for path in tmp_path.iterdir()} == {"tiny", "blocks.png", "out"}


def test_the_network_may_see_another_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_model(tmp_path / "any", Convention(multiple_of=16))
    cv2.imwrite(str(tmp_path / "blocks.png"), picture()[..., ::-1])
    arguments = ["segment", str(tmp_path / "blocks.png"), "--model", str(model), "--input"]
    out = tmp_path / "out"
    assert main([*arguments, "32x32", "--output", str(out), "--engine", "onnxruntime"]) == 0
    said = capsys.readouterr().out
    assert f"wrote {out / 'blocks-overlay.jpg'} and {out / 'blocks-labels.png'}\n" in said
    for size, answer in (("32", "--input: got '32', expected width x height"), ("40x32", "40x32")):
        assert main([*arguments, size]) == 2
        assert answer in capsys.readouterr().err


def test_a_folder_gives_files_by_their_names(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("b.png", "a.png", "a.jpg"):
        cv2.imwrite(str(folder / name), np.zeros((48, 64, 3), np.uint8))
    out = tmp_path / "out"
    assert main(["segment", str(folder), "--model", str(model), "--output", str(out)]) == 0
    assert "3 pictures through tiny" in capsys.readouterr().out
    names = sorted(path.name for path in out.iterdir())
    assert names == [f"{stem}-{what}" for stem in ("a.jpg", "a.png", "b") for what in WRITTEN]


def test_a_clip_gives_a_video_and_labels(model: Path, tmp_path: Path, tiny_clip: Path) -> None:
    out = tmp_path / "out"
    arguments = ["segment", str(tiny_clip), "--model", str(model), "--output", str(out), "--rate", "2"]
    assert main(arguments) == 0
    names = sorted(path.name for path in out.iterdir())
    labels = [f"square-labels-{number:06d}.png" for number in range(6)]
    assert names == [*labels, "square-overlay.mp4"]
    (out / "square-labels-notes.txt").write_text("mine")
    arguments[arguments.index("2")] = "1"
    assert main(arguments) == 0
    again = sorted(path.name for path in out.iterdir())
    assert again == [*labels[:3], "square-labels-notes.txt", "square-overlay.mp4"], "a coarser run replaces"


def test_a_folder_without_pictures(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    assert main(["segment", str(tmp_path / "empty"), "--model", str(model), "--output", str(out)]) == 2
    assert "no picture" in capsys.readouterr().err
    assert not out.exists()


def test_the_demo_on_a_clip_of_ones_own(
    data_dir: Path,
    pulled_models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGESEG_CACHE", str(pulled_models))
    clip = data_dir / "video" / "car-detection.mp4"
    out = tmp_path / "demo"
    assert main(["demo", "--clip", str(clip), "--seconds", "10", "--output", str(out)]) == 0
    said = capsys.readouterr().out
    assert "left/vehicle occupied" in said
    assert "next steps" in said
    # The command that leads to the dashboard, and the file it takes.
    assert f"run {out}/demo.yaml > {out}/live.jsonl" in said
    assert "open http://127.0.0.1:8088/" in said
    own = config.load(out / "demo.yaml")
    assert own.web is not None
    assert [(camera.name, camera.repeat) for camera in own.cameras] == [("yours", True)]
    assert own.cameras[0].source.template == str(clip.resolve())
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert any(event["topic"] == "edgeseg/demo/alert" for event in events)
    written = {path.name for path in out.iterdir()}
    assert written == {"overlay.mp4", "overlay.jpg", "events.jsonl", "demo.yaml"}


@pytest.mark.parametrize("camera", ["room", "yard", "yours"])
def test_each_demo_has_a_file_to_go_on_with(tmp_path: Path, camera: str) -> None:
    demo = config.load(paths.folder("pipelines") / "demo.yaml")
    chosen = next(one for one in demo.cameras if one.name == camera)
    file = tmp_path / "demo.yaml"
    assert write_demo_pipeline(Path(demo.file), camera, tmp_path / "a: clip.mp4", chosen.model, file)
    (own,) = config.load(file).cameras
    assert (own.model, own.zones) == (chosen.model, chosen.zones)
    file.write_text(file.read_text() + "# mine\n")
    assert not write_demo_pipeline(Path(demo.file), camera, tmp_path / "b.mp4", chosen.model, file)
    assert "# mine" in file.read_text()


def test_a_demo_clip_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--clip", str(tmp_path / "gone.mp4")]) == 2
    assert "EDGESEG_DEMO_CLIP" in capsys.readouterr().err


def test_a_demo_clip_that_cannot_be_fetched_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    cache = tmp_path / "cache"
    # Neither the network nor apt-get is there.
    monkeypatch.setenv("PATH", "")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(EdgesegError, match="name one of your own with EDGESEG_DEMO_CLIP"):
            find_clip(None, cache, said.append)
    assert "no download (cannot connect to" in said[1]
    assert list(cache.iterdir()) == []


def test_a_demo_clip_that_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("EDGESEG_DEMO_CLIP", raising=False)
    # Nobody makes folders in /proc, so nothing is fetched either.
    monkeypatch.setenv("EDGESEG_CACHE", "/proc/edgeseg")
    assert main(["demo", "--output", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "cannot be written" in said[0]
    assert "EDGESEG_CACHE" in said[0]
    assert not (tmp_path / "out").exists()
