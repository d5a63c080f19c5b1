"""The networks that travel with edgeseg: what their cards claim, on real pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg.cli import main
from edgeseg.engines import open_engine
from edgeseg.frames import FrameTime, Picture
from edgeseg.models import registry
from edgeseg.models.model import Precision
from edgeseg.stages import postprocess
from edgeseg.stages.preprocess import Preprocess
from edgeseg.zoo.data import read_picture
from tests.conftest import TESTS

GOLDEN = TESTS / "golden"
DEEPLAB = "deeplabv3plus-mnv2-camvid"
ICNET = "icnet-mnv2-camvid"
SEGFORMER = "segformer-b0-camvid"
# Validation mIoU of the int8 file as measured at (736x544, 480x384); half a point is left to other kernels.
MEASURED = {DEEPLAB: (0.7703, 0.7440), ICNET: (0.6876, 0.6715), SEGFORMER: (0.6154, 0.6114)}
OTHER_KERNELS = 0.005
# What the networks were made for: validation mIoU of the default size.
BARS = {DEEPLAB: 0.74, ICNET: 0.65, SEGFORMER: 0.52}
# Two pictures of CamVid's validation part, the ones in the card.
PICTURES = ("0016E5_07997", "0016E5_08097")
# Another CPU's int8 kernels round a few cells along borders the other way. A wrong normalisation, channel
# order or half a cell of shift costs far more: 2 % of the cells lie on a border.
LEAST_AGREEMENT = 0.99


def scores(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    assert main(["eval", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", MEASURED)
def test_the_weights_are_here_and_the_pinned_ones(name: str) -> None:
    assert {found.state for found in registry.inspect(registry.find(name))} == {"ok"}


@pytest.mark.parametrize(
    ("engine", "precision"), [("onnxruntime", "int8"), ("onnxruntime", "float"), ("litert", None)]
)
@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("name", MEASURED)
def test_label_maps_are_the_golden_ones(
    name: str, picture: str, engine: str, precision: Precision | None, data_dir: Path
) -> None:
    if engine == "litert":
        pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed (extra litert)")
    model = registry.find(name)
    loaded = open_engine(model, engine, precision=precision)
    rgb = read_picture(data_dir / "camvid" / "val" / f"{picture}.jpg")
    fit, views = Preprocess(model.fit, loaded.input_size_px)(
        Picture((rgb,), "rgb", True, "bt601", FrameTime(0.0, 0.0))
    )
    label_map = postprocess.label_map(loaded.run(views), fit, model)
    loaded.close()
    golden = cv2.imread(str(GOLDEN / f"{name}-{picture}.png"), cv2.IMREAD_UNCHANGED)
    assert label_map.labels[0].shape == golden.shape
    int8 = precision == "int8" or (engine == "litert" and name != SEGFORMER)
    assert np.mean(label_map.labels[0] == golden) >= LEAST_AGREEMENT - (0.0 if int8 else 0.005)
    assert label_map.confidence is not None
    # Where two artefacts differ is where they are unsure.
    unsure = label_map.confidence[0][label_map.labels[0] != golden]
    assert not unsure.size or unsure.mean() < label_map.confidence[0].mean()


@pytest.mark.parametrize("name", MEASURED)
def test_validation_reaches_what_the_card_says(
    name: str, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camvid = str(data_dir / "camvid")
    default = scores([name, camvid, "--engine", "onnxruntime"], capsys)
    assert (default["pictures"], default["input"], default["fit"]) == (101, "736x544", "letterbox")
    assert default["mean_iou"] >= max(MEASURED[name][0] - OTHER_KERNELS, BARS[name])
    assert default["iou"]["road"] >= 0.955
    small = scores([name, camvid, "--engine", "onnxruntime", "--input", "480x384"], capsys)
    assert small["mean_iou"] >= max(MEASURED[name][1] - OTHER_KERNELS, BARS[name])


@pytest.mark.parametrize("name", MEASURED)
def test_int8_agrees_with_float(name: str, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = str(data_dir / "camvid" / "val")
    found = scores([name, pictures, "--engine", "onnxruntime", "--pictures", "24"], capsys)
    assert found["agreement"] >= 0.985
    assert found["occupancy_error"]["mean"] < 1.0
    assert max(map(abs, found["shift_cells"])) < 0.5


def test_they_are_small_enough_to_travel() -> None:
    folders = [registry.find(name).folder for name in MEASURED]
    assert sum(file.stat().st_size for folder in folders for file in folder.iterdir()) <= 45e6
