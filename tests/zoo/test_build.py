"""From a checkpoint to artefacts in one command; and views from pictures and clips."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.errors import EdgesegError, ModelError
from edgeseg.zoo.views import views_of


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(9):
        small = random.integers(0, 256, (6, 8, 3), np.uint8)
        cv2.imwrite(
            str(folder / f"{index}.png"), cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC)
        )
    return folder


def test_views_are_placed_as_the_daemon_places_them(pictures: Path) -> None:
    views = views_of(pictures, (160, 128))
    assert len(views) == 9
    assert all(view.shape == (128, 160, 3) and view.dtype == np.uint8 for view in views)
    # 120 rows in 128: four of padding above and below.
    assert (views[0][:4] == 127).all()
    assert not (views[0][4:124] == 127).all()
    assert not np.shares_memory(views[0], views[1])


def test_views_of_a_long_clip_are_thinned_out_evenly(tiny_clip: Path) -> None:
    views = views_of(tiny_clip, (64, 64), count=8)
    assert 8 <= len(views) < 16
    # The bright square moves from left to right over the whole clip.
    places = [int(np.argmax(view[32, :, 0] > 128)) for view in views]
    assert places == sorted(places)
    assert places[-1] - places[0] > 30


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(EdgesegError):
        views_of(tmp_path, (64, 64))


# Two exports, each 20 seconds of one core.
@pytest.mark.timeout(400)
def test_a_checkpoint_becomes_artefacts(pictures: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed (extra zoo)")
    pytest.importorskip("transformers", reason="transformers is not installed (extra zoo)")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra zoo)")
    from edgeseg.zoo import build, gate
    from edgeseg.zoo.networks import build as fresh
    from edgeseg.zoo.onnx_session import Session
    from edgeseg.zoo.recipe import Recipe
    from edgeseg.zoo.state import State

    torch.manual_seed(0)
    State.around(Recipe("icnet", ("a", "b", "c"), 1), fresh("icnet", 3)).save(tmp_path / "last.pt")
    out, views = tmp_path / "out", views_of(pictures, (160, 128))
    with pytest.raises(ModelError, match=r"int8\.onnx: labels agree on .*: not installed; --force overrules"):
        build.build(tmp_path / "last.pt", views, out, gate.Thresholds(agreement=1.01))
    assert not list(out.iterdir())
    verdict = build.build(tmp_path / "last.pt", views, out, gate.Thresholds(agreement=1.01), force=True)
    assert sorted(path.name for path in out.iterdir()) == ["figures.json", "float.onnx", "int8.onnx"]
    assert json.loads((out / "figures.json").read_text())["gate"]["agreement"] == verdict.agreement
    maps = [Session(out / f"{name}.onnx").run(np.stack(views))["labels"] for name in ("float", "int8")]
    # The file's weights are float16, the judged ones were float32.
    assert (maps[0] == maps[1]).mean() == pytest.approx(verdict.agreement, abs=0.02)
    code = build.main(
        [str(tmp_path / "last.pt"), "--size", "100x64", "--frames", str(pictures), "--out", "o"]
    )
    assert code == 2
