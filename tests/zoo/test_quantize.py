"""int8 deploy graphs: close to the float one, free in size, and refused without frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.errors import ModelError
from edgeseg.frames import U8

torch = pytest.importorskip("torch", reason="torch is not installed (extra zoo)")
pytest.importorskip("transformers", reason="transformers is not installed (extra zoo)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra zoo)")

from edgeseg.zoo import export, surgery  # noqa: E402
from edgeseg.zoo.gate import judge  # noqa: E402
from edgeseg.zoo.onnx_session import Session  # noqa: E402
from edgeseg.zoo.quantize import quantize  # noqa: E402
from tests.zoo.test_export import small_graph, small_segformer  # noqa: E402


@pytest.fixture(scope="module")
def views() -> list[U8]:
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (6, 6, 8, 3), np.uint8)
    return [np.asarray(cv2.resize(one, (128, 96), interpolation=cv2.INTER_CUBIC), np.uint8) for one in small]


def test_a_convolutional_graph(views: list[U8], tmp_path: Path) -> None:
    model = small_graph()
    surgery.to_deploy(model, surgery.Normalisation())
    export.save_model(model, tmp_path / "float.onnx")
    for flavour in ("cpu", "tensorrt"):
        target = tmp_path / f"{flavour}.onnx"
        quantize(tmp_path / "float.onnx", views, target, flavour)
        kinds = {node.op_type for node in export.load_model(target).graph}
        assert {"QuantizeLinear", "DequantizeLinear", "Conv", "ArgMax"} <= kinds
        before, after = Session(tmp_path / "float.onnx"), Session(target)
        maps = [[session.run(view[None])["labels"][0] for view in views] for session in (before, after)]
        assert judge(maps[0], maps[1], 4).agreement > 0.97
    # Of a size that calibration never saw.
    assert after.run(np.zeros((2, 64, 160, 3), np.uint8))["labels"].shape == (2, 16, 40)


def test_a_transformer_keeps_its_attention_in_float(views: list[U8], tmp_path: Path) -> None:
    network = small_segformer().merged()
    model = export.to_onnx(network)
    surgery.to_deploy(model, surgery.Normalisation())
    export.save_model(model, tmp_path / "float.onnx")
    quantize(tmp_path / "float.onnx", views, tmp_path / "int8.onnx")
    graph = export.load_model(tmp_path / "int8.onnx").graph
    for node in graph:
        made_by = {value.producer().op_type for value in node.inputs if value and value.producer()}
        if node.op_type in ("Softmax", "LayerNormalization", "Erf"):
            assert "DequantizeLinear" not in made_by
    assert sum(node.op_type == "DequantizeLinear" for node in graph) > 20
    before, after = Session(tmp_path / "float.onnx"), Session(tmp_path / "int8.onnx")
    maps = [[session.run(view[None])["labels"][0] for view in views] for session in (before, after)]
    assert judge(maps[0], maps[1], 6).agreement > 0.9


def test_no_frames(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no frames to calibrate on"):
        quantize(tmp_path / "float.onnx", [], tmp_path / "int8.onnx")


def test_a_graph_that_is_no_deploy_graph(views: list[U8], tmp_path: Path) -> None:
    export.save_model(small_graph(), tmp_path / "float.onnx")
    with pytest.raises(ModelError, match=r"float\.onnx: input input, expected a deploy graph"):
        quantize(tmp_path / "float.onnx", views, tmp_path / "int8.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["float.onnx"]
