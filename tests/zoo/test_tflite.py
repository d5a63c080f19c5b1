"""TFLite files answer as torch does, and hold nothing that falls off an Edge TPU."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.errors import ModelError
from edgeseg.frames import U8

torch = pytest.importorskip("torch", reason="torch is not installed (extra zoo)")
pytest.importorskip("litert_torch", reason="litert-torch is not installed")
pytest.importorskip("ai_edge_quantizer", reason="ai-edge-quantizer is not installed")

from ai_edge_litert.interpreter import Interpreter  # noqa: E402

from edgeseg.zoo import build_tflite, gate, tflite  # noqa: E402
from edgeseg.zoo.data import to_input  # noqa: E402
from edgeseg.zoo.networks import build  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def views() -> list[U8]:
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (6, 6, 8, 3), np.uint8)
    return [np.asarray(cv2.resize(one, (128, 96), interpolation=cv2.INTER_CUBIC), np.uint8) for one in small]


def answer(model: bytes, view: U8) -> np.ndarray:
    loaded = Interpreter(model_content=model, num_threads=1)
    loaded.allocate_tensors()
    (entry,), (exit_,) = loaded.get_input_details(), loaded.get_output_details()
    x = to_input(view[None])
    scale, zero = entry["quantization"]
    if entry["dtype"] is np.int8:
        x = np.clip(np.round(x / scale) + zero, -128, 127).astype(np.int8)
    loaded.set_tensor(entry["index"], x)
    loaded.invoke()
    return loaded.get_tensor(exit_["index"])[0]


@pytest.mark.parametrize("name", ["deeplabv3plus", "deeplabv3plus_pooled", "icnet"])
def test_float_and_int8_answer_as_torch(name: str, views: list[U8]) -> None:
    torch.manual_seed(1)
    network = build(name, 5).eval()
    model = tflite.convert(network, (128, 96))
    with torch.inference_mode():
        x = torch.from_numpy(to_input(views[0][None])).permute(0, 3, 1, 2)
        expected = network(x).main[0].permute(1, 2, 0).numpy()
    got = answer(model, views[0])
    assert np.abs(got - expected).max() < 1e-3 * np.abs(expected).max()
    small = tflite.quantize(model, views)
    assert tflite.edge_tpu_problems(small) == ()
    # Random weights leave small leads, which eight bits may turn; a wrong graph agrees on a fifth.
    assert (answer(small, views[0]).argmax(-1) == expected.argmax(-1)).mean() > 0.8


def test_the_linter_names_what_falls_off(views: list[U8]) -> None:
    model = tflite.convert(build("deeplabv3plus", 5), (96, 64))
    said = " ".join(tflite.edge_tpu_problems(model))
    assert "tensors are not integers" in said
    assert "TRANSPOSE" not in said


def test_a_file_that_fails_is_written_only_by_force(views: list[U8], tmp_path: Path) -> None:
    torch.manual_seed(2)
    network, out = build("deeplabv3plus", 5).eval(), tmp_path / "int8.tflite"
    unreachable = gate.Thresholds(agreement=1.01)
    with pytest.raises(ModelError, match=r"int8\.tflite: labels agree on .*: not written; --force overrules"):
        build_tflite.build(network, 5, views, out, unreachable, keep_float=False)
    assert not out.exists()
    build_tflite.build(network, 5, views, out, unreachable, keep_float=False, force=True)
    assert tflite.edge_tpu_problems(out.read_bytes()) == ()


def test_no_frames() -> None:
    with pytest.raises(ModelError, match="no frames to calibrate on"):
        tflite.quantize(b"", [])
